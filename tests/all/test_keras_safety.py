"""Nothing that a Keras file or a SavedModel holds is executed as Python; broken ones are told."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xbackend.converters.keras.safety import check_h5_file, check_keras_file, refuse_code
from xbackend.errors import ModelError

FORMATS = [("keras", "onnx"), ("keras", "tflite"), ("h5", "onnx"), ("h5", "tflite")]

WITHOUT_TENSORFLOW = """
import sys
from pathlib import Path
from xbackend.plugins.converter import ConversionRequest
from xbackend.converters.keras_to_onnx import convert
from xbackend.errors import ModelError
path = Path(sys.argv[1])
try:
    convert(ConversionRequest(path, path.suffix[1:], "onnx", path.parent))
except ModelError:
    print([name for name in ("tensorflow", "keras") if name in sys.modules])
"""


@pytest.fixture
def rewritten(keras_models: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write a harmless .keras file again with another configuration, or with more files."""

    def write(change: Callable[[dict[str, Any]], None], **more: bytes) -> Path:
        path = tmp_path / "changed.keras"
        with zipfile.ZipFile(keras_models / "small.keras") as source:
            files = {name: source.read(name) for name in source.namelist()}
        config = json.loads(files["config.json"])
        change(config)
        files["config.json"] = json.dumps(config).encode()
        with zipfile.ZipFile(path, "w") as target:
            for name, data in {**files, **more}.items():
                target.writestr(name, data)
        return path

    return write


def _first_layer(config: dict[str, Any]) -> dict[str, Any]:
    layer: dict[str, Any] = config["config"]["layers"][1]
    return layer


def test_the_harmful_models_do_harm_where_nothing_stops_them(keras_models: Path) -> None:
    assert json.loads((keras_models / "harmful.json").read_text()) == ["keras", "h5"]


@pytest.mark.parametrize(("source_format", "target"), FORMATS)
def test_a_lambda_layer_is_refused_and_not_executed(
    keras_models: Path, convert: Any, source_format: str, target: str
) -> None:
    source = keras_models / f"lambda.{source_format}"
    with pytest.raises(ModelError) as caught:
        convert(f"keras_to_{target}", source, source_format, target)
    assert not (keras_models / "lambda-was-here").exists()
    assert str(caught.value) == (
        f"{source} holds a Lambda ('harm'), which is Python code, and code in a model is never "
        "executed. Replace it with Keras layers, or export the model to ONNX."
    )


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_lambda_layer_is_refused_before_tensorflow_is_imported(
    keras_models: Path, suffix: str
) -> None:
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, str(keras_models / f"lambda.{suffix}")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["small", "norm", "exotic"])
def test_harmless_models_pass(keras_models: Path, name: str) -> None:
    check_keras_file(keras_models / f"{name}.keras")
    if (keras_models / f"{name}.h5").exists():
        check_h5_file(keras_models / f"{name}.h5")


IN_KERAS = """
import inspect, json, sys
import keras, keras.src.ops as ops
parts = ("layers", "initializers", "regularizers", "constraints", "dtype_policies", "losses",
         "metrics")
def classes(part):
    return sorted(n for n, v in vars(part).items() if inspect.isclass(v) and n[0] != "_")
found = {name: classes(getattr(keras, name)) for name in parts}
found["optimizers"] = sorted({*classes(keras.optimizers), *classes(keras.optimizers.schedules)})
def functions(part):
    return sorted(n for n, v in vars(part).items() if inspect.isfunction(v) and n[0] != "_")
print("#" + json.dumps([found, {n: functions(getattr(keras, n)) for n in ("activations", "ops")}]))
"""


def test_what_a_keras_file_may_name_is_what_keras_offers_to_models() -> None:
    from xbackend.converters.keras.known import CLASSES, FUNCTIONS

    done = subprocess.run(
        [sys.executable, "-c", IN_KERAS], capture_output=True, text=True, check=True
    )
    classes, functions = json.loads(done.stdout.rpartition("#")[2])
    code = {"Lambda", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "TFSMLayer"}
    assert {part: sorted(CLASSES[part]) for part in classes} == {
        part: sorted(set(names) - code) for part, names in classes.items()
    }
    assert set(functions["activations"]) - FUNCTIONS["activations"] == {
        "get", "serialize", "deserialize",
    }  # fmt: skip
    assert set(functions["ops"]) - FUNCTIONS["ops"] == {
        "map", "scan", "associative_scan", "switch", "while_loop", "fori_loop", "cond",
        "vectorized_map", "vectorize", "custom_gradient", "jvp", "convert_to_numpy", "is_tensor",
    }  # fmt: skip


REACHED_BY_PATH = [
    ("keras.datasets.mnist", "load_data"),
    ("keras.datasets", "mnist.load_data"),
    ("keras.utils", "plot_model"),
    ("keras.utils", "get_file"),
    ("keras.saving", "load_model"),
    ("keras.layers", "deserialize"),
    ("keras.layers", "TFSMLayer"),
    ("keras.src.saving.saving_lib", "load_model"),
    ("keras.src.utils.file_utils", "get_file"),
    ("keras.src.layers.layer_test", "Dense"),
    ("keras.config", "enable_unsafe_deserialization"),
    ("keras.activations", "get"),
    ("keras", "utils.plot_model"),
]


@pytest.mark.parametrize("as_function", [True, False])
@pytest.mark.parametrize(("module", "name"), REACHED_BY_PATH)
def test_a_path_of_the_file_leads_to_nothing_but_layers_and_functions(
    rewritten: Callable[..., Path], module: str, name: str, as_function: bool
) -> None:
    entry = {"module": module, "class_name": name, "config": {}, "registered_name": None}
    if as_function:
        entry.update(class_name="function", config=name, registered_name=name)

    def replace(config: dict[str, Any]) -> None:
        _first_layer(config)["config"]["activation"] = entry

    with pytest.raises(ModelError):
        check_keras_file(rewritten(replace))


def test_what_keras_itself_writes_of_functions_and_operations_passes() -> None:
    def entry(module: str | None, kind: str, config: Any, name: str | None) -> dict[str, Any]:
        return {"module": module, "class_name": kind, "config": config, "registered_name": name}

    layers = [
        entry("keras.layers", "Dense", {"units": 3}, None),
        entry("keras.src.models.functional", "Functional", {}, "Functional"),
        entry("keras.src.engine.functional", "Functional", {}, "Functional"),
        entry("keras.src.ops.numpy", "GetItem", {}, "GetItem"),
        entry("keras", "DTypePolicy", {"name": "float32"}, None),
        entry("builtins", "function", "relu", "function"),
        entry("keras.activations", "function", "mish", "mish"),
        entry(None, "Conv2D", {}, None),
        {"class_name": "__keras_tensor__", "config": {"shape": [1]}},
    ]
    refuse_code({"config": {"layers": layers}}, Path("m.keras"))


def test_an_h5_file_names_no_function_by_its_path(keras_models: Path, tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "path.h5"
    shutil.copyfile(keras_models / "small.h5", path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][1]["config"]["activation"] = {
            "module": "keras.utils", "class_name": "function", "config": "plot_model",
            "registered_name": "plot_model",
        }  # fmt: skip
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(ModelError, match="'keras.utils.plot_model', which is none of the layers"):
        check_h5_file(path)


def test_a_keras_file_that_unpacks_to_too_much_is_refused_at_once(
    rewritten: Callable[..., Path], tmp_path: Path
) -> None:
    path = rewritten(lambda config: None)
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("assets/zeros", "w") as file,
    ):
        for _ in range(50):
            file.write(bytes(4 << 20))
    with pytest.raises(ModelError, match="unpacks to .* more than 200 times"):
        check_keras_file(path)


@pytest.mark.parametrize("how", ["never written", "compressed"])
def test_weights_that_are_larger_than_their_file_are_refused(tmp_path: Path, how: str) -> None:
    import h5py

    path = tmp_path / "bomb.h5"
    options = {"compression": "gzip"} if how == "compressed" else {}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {}})
        file.create_dataset("w", (1 << 26,), "f4", chunks=(1 << 20,), **options)
    with pytest.raises(ModelError, match="compressed" if how == "compressed" else "200 times"):
        check_h5_file(path)


def test_groups_that_hold_each_other_end(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "circle.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {}})
        file.create_group("a")["b"] = file["/"]
    check_h5_file(path)


def test_a_custom_layer_is_named(keras_models: Path) -> None:
    with pytest.raises(
        ModelError, match=r"custom object 'elsewhere>Doubled', whose Python code is not"
    ):
        check_keras_file(keras_models / "custom.keras")


def test_a_lambda_within_a_wrapper_is_found(rewritten: Callable[..., Path]) -> None:
    inner = {"class_name": "Lambda", "config": {"name": "deep"}, "module": "keras.layers"}

    def wrap(config: dict[str, Any]) -> None:
        _first_layer(config)["config"]["layer"] = inner

    with pytest.raises(ModelError, match=r"holds a Lambda \('deep'\)"):
        check_keras_file(rewritten(wrap))


def test_a_lambda_as_activation_is_found(rewritten: Callable[..., Path]) -> None:
    code = {"class_name": "__lambda__", "config": {"code": "4wAAAA==", "defaults": None}}

    def replace(config: dict[str, Any]) -> None:
        _first_layer(config)["config"]["activation"] = code

    with pytest.raises(ModelError, match="holds a __lambda__"):
        check_keras_file(rewritten(replace))


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"module": "os", "class_name": "system", "config": {}}, "os.system"),
        ({"module": "builtins", "class_name": "function", "config": "eval"}, "builtins.eval"),
        (
            {"module": "keras.utils", "class_name": "function", "config": "get_file"},
            "keras.utils.get_file",
        ),
        ({"module": "kerasx.layers", "class_name": "Dense", "config": {}}, "kerasx.layers.Dense"),
    ],
)
def test_an_object_of_another_module_is_refused_without_importing_it(
    rewritten: Callable[..., Path], entry: dict[str, Any], named: str
) -> None:
    def replace(config: dict[str, Any]) -> None:
        _first_layer(config)["config"]["kernel_initializer"] = entry

    with pytest.raises(ModelError, match=f" '{named}'"):
        check_keras_file(rewritten(replace))


def test_how_a_model_was_trained_does_not_matter() -> None:
    loss = {"module": "builtins", "class_name": "function", "config": "my_loss"}
    refuse_code({"class_name": "Sequential", "compile_config": {"loss": loss}}, Path("m.keras"))
    nested = {"class_name": "Sequential", "config": {"compile_config": {"loss": loss}}}
    with pytest.raises(ModelError, match=r"builtins\.my_loss"):
        refuse_code(nested, Path("m.keras"))


def test_a_marshalled_function_of_old_keras_is_refused() -> None:
    layer = {"class_name": "Anything", "function": ["4wEA", None], "function_type": "lambda"}
    with pytest.raises(ModelError, match="a Python function"):
        refuse_code({"config": {"layers": [layer]}}, Path("old.h5"))


@pytest.mark.parametrize(
    ("kind", "inner", "said"),
    [
        ("TFSMLayer", {"filepath": "/elsewhere"}, "loads another file"),
        ("StringLookup", {"vocabulary": "/etc/passwd"}, "reads a vocabulary from '/etc/passwd'"),
        ("TorchModuleWrapper", {"module": "gASV"}, "a TorchModuleWrapper"),
    ],
)
def test_layers_that_read_elsewhere_are_refused(
    rewritten: Callable[..., Path], kind: str, inner: dict[str, Any], said: str
) -> None:
    def replace(config: dict[str, Any]) -> None:
        _first_layer(config).update(class_name=kind, config=inner)

    with pytest.raises(ModelError, match=said):
        check_keras_file(rewritten(replace))


def test_a_layer_that_keras_does_not_have_is_named(
    rewritten: Callable[..., Path], convert: Any
) -> None:
    def rename(config: dict[str, Any]) -> None:
        _first_layer(config)["class_name"] = "Conv2Dx"

    with pytest.raises(ModelError, match="Conv2Dx"):
        convert("keras_to_onnx", rewritten(rename), "keras", "onnx")


def test_a_file_that_would_be_unpacked_elsewhere_is_refused(
    rewritten: Callable[..., Path],
) -> None:
    with pytest.raises(ModelError, match=r"put elsewhere: '\.\./\.\./x'"):
        check_keras_file(rewritten(lambda config: None, **{"../../x": b""}))


def test_weights_in_another_file_are_refused(
    rewritten: Callable[..., Path], tmp_path: Path
) -> None:
    import h5py

    path = tmp_path / "linked.h5"
    with h5py.File(path, "w") as file:
        file["group/weights"] = h5py.ExternalLink("/etc/passwd", "/")
    with pytest.raises(ModelError, match="takes 'weights' from another file, '/etc/passwd'"):
        check_keras_file(rewritten(lambda config: None, **{"model.weights.h5": path.read_bytes()}))


def test_a_truncated_keras_file_is_refused(keras_models: Path, tmp_path: Path) -> None:
    whole = (keras_models / "small.keras").read_bytes()
    path = tmp_path / "cut.keras"
    for length in (0, 10, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match=r"cut\.keras is not a whole \.keras file"):
            check_keras_file(path)


def test_a_damaged_keras_file_is_refused(keras_models: Path, tmp_path: Path) -> None:
    data = bytearray((keras_models / "small.keras").read_bytes())
    place = data.find(b"model.weights.h5") + 200
    data[place : place + 40] = bytes(byte ^ 255 for byte in data[place : place + 40])
    path = tmp_path / "damaged.keras"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"damaged\.keras is not a whole \.keras file"):
        check_keras_file(path)


def test_a_truncated_h5_file_is_refused(keras_models: Path, tmp_path: Path) -> None:
    whole = (keras_models / "small.h5").read_bytes()
    path = tmp_path / "cut.h5"
    for length in (0, 100, len(whole) // 2):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match=r"cut\.h5 is not a whole HDF5 file"):
            check_h5_file(path)


def test_files_that_are_no_models_are_told(keras_models: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("readme.txt", "Nothing here.")
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        check_keras_file(tmp_path / "other.keras")
    with pytest.raises(ModelError, match="weights alone have no layers"):
        check_h5_file(keras_models / "only.weights.h5")
    for check, name in ((check_keras_file, "none.keras"), (check_h5_file, "none.h5")):
        with pytest.raises(ModelError, match="Cannot read the model"):
            check(tmp_path / name)


@pytest.mark.parametrize("text", ["{", "[]", '{"a":' * 30000, "\x00"])
def test_a_configuration_that_is_not_json_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "text.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", text)
    with pytest.raises(ModelError, match="has a configuration that is not"):
        check_keras_file(path)

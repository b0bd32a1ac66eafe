"""A SavedModel holds only operations that compute, wherever they stand; broken ones are told."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from xbackend.errors import ModelError

IN_THE_CONVERTER = """
import json
import tf2onnx, tf2onnx.tfonnx
from tf2onnx.handler import tf_op
from tensorflow.python.framework import op_def_registry
names = {n for versions in tf_op.get_opsets().values() for v in versions for n in v}
known = {n for n in names if op_def_registry.get(n) is not None}
print("#" + json.dumps(sorted(n for n in known if "Queue" not in n and "Iterator" not in n)))
"""


def test_python_in_a_savedmodel_is_refused_and_not_executed(
    keras_models: Path, convert: Any
) -> None:
    with pytest.raises(ModelError, match=r"calls Python code \(EagerPyFunc\)"):
        convert("keras_to_onnx", keras_models / "pyfunc", "savedmodel", "onnx")
    assert not (keras_models / "pyfunc-was-here").exists()


def test_a_savedmodel_that_writes_files_is_refused_and_not_run(
    keras_models: Path, convert: Any
) -> None:
    with pytest.raises(ModelError, match=r"not known to only compute \(WriteFile\)"):
        convert("keras_to_tflite", keras_models / "writes", "savedmodel", "tflite")
    assert not (keras_models / "written").exists()


def test_a_savedmodel_that_writes_while_it_is_loaded_is_refused_and_not_loaded(
    keras_models: Path, convert: Any
) -> None:
    assert json.loads((keras_models / "writer.json").read_text()), "it does so where nothing stops"
    with pytest.raises(ModelError, match="only compute .CreateSummaryFileWriter, SummaryWriter"):
        convert("keras_to_onnx", keras_models / "writer", "savedmodel", "onnx")
    assert not (keras_models / "events").exists()


def test_a_savedmodel_may_save_only_where_nothing_runs(keras_models: Path, convert: Any) -> None:
    with pytest.raises(ModelError, match=r"only compute \(SaveV2\)"):
        convert("keras_to_onnx", keras_models / "saver", "savedmodel", "onnx")
    assert not list(keras_models.glob("saved*"))


@pytest.mark.parametrize("name", ["small", "norm", "table"])
def test_harmless_savedmodels_pass_with_the_parts_that_save_and_restore(
    keras_models: Path, name: str
) -> None:
    from xbackend.converters.keras.savedmodel_operations import RESTORING, SAVING
    from xbackend.converters.keras.savedmodel_safety import check_saved_model

    check_saved_model(keras_models / name)
    data = (keras_models / name / "saved_model.pb").read_bytes()
    assert all(each.encode() in data for each in RESTORING | SAVING - {"ShardedFilename"})


@pytest.mark.parametrize("place", ["node", "function", "called", "named after an operation"])
def test_an_operation_is_refused_wherever_it_stands(
    keras_models: Path, tmp_path: Path, place: str
) -> None:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    from xbackend.converters.keras.savedmodel_safety import check_saved_model

    folder = tmp_path / "planted"
    shutil.copytree(keras_models / "small", folder)
    model = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    graph = model.meta_graphs[0].graph_def
    library = graph.library.function
    if place == "node":
        graph.node.add(name="planted", op="ReadFile")
    elif place == "named after an operation":
        library.add().signature.name = "ReadFile"
        graph.node.add(name="planted", op="ReadFile")
    else:
        planted = library.add()
        planted.signature.name = "planted"
        planted.node_def.add(name="inner", op="ReadFile")
    if place == "called":
        graph.node.add(name="caller", op="planted")
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"only compute \(ReadFile\)"):
        check_saved_model(folder)


def test_a_function_that_saves_may_not_be_called_by_what_runs(
    keras_models: Path, tmp_path: Path
) -> None:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    from xbackend.converters.keras.savedmodel_safety import check_saved_model

    folder = tmp_path / "planted"
    shutil.copytree(keras_models / "small", folder)
    model = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    library = model.meta_graphs[0].graph_def.library.function
    (saves,) = [f.signature.name for f in library if "traced_save" in f.signature.name]
    served = next(f for f in library if "signature_wrapper" in f.signature.name)
    called = served.node_def.add(name="planted", op="PartitionedCall")
    called.attr["f"].func.name = saves
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="SaveV2"):
        check_saved_model(folder)


def test_a_savedmodel_in_parts_is_refused(keras_models: Path, tmp_path: Path) -> None:
    from xbackend.converters.keras.savedmodel_safety import check_saved_model

    shutil.copytree(keras_models / "small", tmp_path / "parts")
    (tmp_path / "parts" / "saved_model.cpb").write_bytes(b"")
    with pytest.raises(ModelError, match="saved_model.cpb"):
        check_saved_model(tmp_path / "parts")


def test_what_a_savedmodel_may_hold_is_what_the_converter_takes() -> None:
    from xbackend.converters.keras.savedmodel_operations import COMPUTING, CONVERTED

    pytest.importorskip("tf2onnx")
    done = subprocess.run(
        [sys.executable, "-c", IN_THE_CONVERTER], capture_output=True, text=True, check=True
    )
    assert sorted(CONVERTED) == json.loads(done.stdout.rpartition("#")[2])
    acts = ("File", "Summary", "Save", "Restore", "PyFunc", "Iterator", "Dataset", "Queue", "Rpc")
    assert not [name for name in CONVERTED | COMPUTING if any(word in name for word in acts)]


def test_a_truncated_savedmodel_is_refused(
    keras_models: Path, convert: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(keras_models / "small", folder)
    graph = folder / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:500])
    with pytest.raises(ModelError, match="is truncated or not a SavedModel"):
        convert("keras_to_onnx", folder, "savedmodel", "onnx")


def test_a_savedmodel_without_its_weights_is_refused(
    keras_models: Path, convert: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "empty"
    shutil.copytree(keras_models / "small", folder)
    shutil.rmtree(folder / "variables")
    with pytest.raises(ModelError, match="TensorFlow cannot load"):
        convert("keras_to_onnx", folder, "savedmodel", "onnx")

"""What a user gets wrong: one sentence with the value and the cure, exit status 2, nothing lost."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from xbackend.plugins import registry

Write = Callable[..., Path]
RELU = helper.make_node("Relu", ["x"], ["y"])


@pytest.mark.parametrize("name", ["none.onnx", "no/such/folder/m.keras", "cifar11-small"])
def test_a_missing_model_is_named(refused, name: str) -> None:
    sentence = refused(name)
    assert f"'{name}'" in sentence
    assert "cifar10-small" in sentence


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_model_is_named(refused, sound: Path, share: float) -> None:
    data = sound.read_bytes()
    sound.write_bytes(data[: int(len(data) * share)])
    assert str(sound) in refused(sound)


@pytest.mark.parametrize("seed", range(3))
def test_a_model_with_flipped_bits_runs_or_is_refused_in_one_sentence(
    xbackend, sound: Path, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    data = bytearray(sound.read_bytes())
    for place in generator.integers(0, len(data), 4):
        data[place] ^= 1 << int(generator.integers(0, 8))
    sound.write_bytes(data)
    done = xbackend("run", sound, "--backends", "good")
    assert "Traceback" not in done.err
    assert done.status in (0, 2, 3)
    assert done.status == 0 or "xbackend: " in done.err or "failed" in done.out


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 100, b"PK\x03\x04rest", b"\x89HDF\r\n\x1a\n", b"import os\n", b"\xff" * 999],
)
def test_bytes_that_are_no_model_are_refused(refused, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    assert str(path) in refused(path)


def test_a_folder_that_is_no_model_says_what_it_lacks(refused, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    sentence = refused(tmp_path / "folder")
    assert "saved_model.pb" in sentence
    assert "model.json" in sentence


def test_a_suffix_that_nobody_knows_is_told_with_those_there_are(refused, tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text("hello")
    sentence = refused(tmp_path / "m.txt")
    assert "m.txt" in sentence
    assert ".onnx" in sentence


@pytest.mark.parametrize("suffix", ["pt", "pth", "pkl", "ckpt"])
def test_a_pickled_file_is_refused_and_never_opened(refused, tmp_path: Path, suffix: str) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str, str]]:
            return Path.write_text, (Path(tmp_path / "sprung"), "executed")

    path = tmp_path / f"model.{suffix}"
    path.write_bytes(pickle.dumps(Trap()))
    sentence = refused(path)
    assert "pickled" in sentence
    assert "torch.export.save" in sentence
    assert not (tmp_path / "sprung").exists()


def test_a_pickle_under_another_name_is_never_opened(refused, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str, str]]:
            return Path.write_text, (Path(tmp_path / "sprung"), "executed")

    path = tmp_path / "model.onnx"
    path.write_bytes(pickle.dumps(Trap()))
    assert str(path) in refused(path)
    assert not (tmp_path / "sprung").exists()


def test_an_unknown_operator_is_named(refused, write_model: Write) -> None:
    path = write_model(helper.make_node("Frobnicate", ["x"], ["y"]))
    assert "Frobnicate" in refused(path)


def test_an_operator_of_a_foreign_domain_is_named(refused, write_model: Write) -> None:
    path = write_model(helper.make_node("Relu", ["x"], ["y"], domain="my.domain"))
    sentence = refused(path)
    assert "Relu" in sentence
    assert "my.domain" in sentence


def test_a_cycle_is_told_with_a_value_on_it(refused, write_model: Write) -> None:
    path = write_model(
        helper.make_node("Add", ["x", "b"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Relu", ["b"], ["y"]),
    )
    sentence = refused(path)
    assert "cycle" in sentence
    assert "a, b" in sentence


def test_a_value_that_nothing_computes_is_named(refused, write_model: Write) -> None:
    sentence = refused(write_model(helper.make_node("Add", ["x", "nowhere"], ["y"])))
    assert "nowhere" in sentence


def test_an_output_that_nothing_computes_is_named(refused, write_model: Write) -> None:
    assert "'y'" in refused(write_model(helper.make_node("Relu", ["x"], ["other"])))


def test_a_value_that_is_computed_twice_is_named(refused, write_model: Write) -> None:
    assert "'y'" in refused(write_model(RELU, RELU))


def external(location: str, offset: str = "0", length: str = "16") -> onnx.TensorProto:
    """Return an initializer whose bytes are in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1, 4])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=value)
    return tensor


ADD = helper.make_node("Add", ["x", "w"], ["y"])


@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "sub/../../secret.bin", "{absolute}", "./../secret.bin", "/dev/zero"],
)
def test_external_data_outside_the_models_folder_is_never_read(
    refused, write_model: Write, tmp_path: Path, location: str
) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.arange(4, dtype=np.float32).tobytes())
    (tmp_path / "inner" / "sub").mkdir(parents=True)
    tensor = external(location.format(absolute=secret))
    path = write_model(ADD, name="inner/m.onnx", initializer=[tensor])
    sentence = refused(path)
    assert "'w'" in sentence
    assert "outside" in sentence or "folder" in sentence


def test_a_link_out_of_the_models_folder_is_never_followed(
    refused, write_model: Write, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.arange(4, dtype=np.float32).tobytes())
    (tmp_path / "inner").mkdir()
    link = tmp_path / "inner" / "w.bin"
    link.symlink_to(secret)
    sentence = refused(write_model(ADD, name="inner/m.onnx", initializer=[external("w.bin")]))
    assert "'w'" in sentence


@pytest.mark.parametrize(
    ("offset", "length"), [("0", "17"), ("8", "16"), ("-4", "16"), ("0", "-1"), ("x", "16"),
                           ("99999999999999999999", "16"), ("0", "99999999999999999999")],
)  # fmt: skip
def test_external_data_that_does_not_fit_is_refused(
    refused, write_model: Write, tmp_path: Path, offset: str, length: str
) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(16))
    path = write_model(ADD, initializer=[external("w.bin", offset, length)])
    assert str(path) in refused(path)


def test_external_data_that_is_not_there_is_named(refused, write_model: Write) -> None:
    assert "w.bin" in refused(write_model(ADD, initializer=[external("w.bin")]))


def test_a_tensor_of_absurd_extents_is_refused_at_once(refused, write_model: Write) -> None:
    huge = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2**40, 2**20], raw_data=b"1234")
    assert "4611686018427387904 bytes" in refused(write_model(ADD, initializer=[huge]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--backends", "tensorflow"], ["'tensorflow'", "good", "absent"]),
        (["--backends", "good,nope"], ["'nope'"]),
        (
            ["--backends", "absent"],
            ["a_framework_that_nobody_has", "pip install 'xbackend[absent]'"],
        ),
        (["--platform", "moon"], ["'moon'", "native"]),
        (["--platform", "cores:0"], ["cores:0"]),
        (["--platform", "cores:9999"], ["cores:9999"]),
        (["--platform", "native:3"], ["native"]),
        (["--platform", "python:/no/such/python"], ["/no/such/python"]),
        (["--platform", "python:"], ["python:"]),
        (["--platform", ""], ["native"]),
        (["--precision", "float8"], ["'float8'", "bfloat16"]),
        (["--threads", "0"], ["--threads 0"]),
        (["--threads", "1,two"], ["--threads two"]),
        (["--repeats", "0"], ["--repeats 0"]),
        (["--jobs", "-3"], ["--jobs -3"]),
        (["--timeout", "0"], ["--timeout 0"]),
        (["--timeout", "nan"], ["--timeout nan"]),
        (["--set", "bad.nothing=1"], ["'nothing'", "does"]),
        (["--set", "bad.at=never"], ["never", "prepare"]),
        (["--set", "bad.depth=deep"], ["deep"]),
        (["--set", "bad"], ["bad"]),
        (["--set", "other.key=1"], ["other"]),
        (["--taps", "zzz*"], ["zzz*", "h"]),
    ],
)
def test_a_wrong_word_is_told_with_those_there_are(
    xbackend, sound: Path, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    backends = [] if "--backends" in arguments else ["--backends", "good,bad"]
    done = xbackend("run", sound, *backends, *arguments)
    assert done.status == 2, done
    for word in words:
        assert word in done.sentence
    runs = tmp_path / "store" / "runs"
    assert not runs.is_dir() or not any(runs.iterdir())


@pytest.mark.parametrize(
    "arguments", [["--repeats", "many"], ["--jobs", "1.5"], ["--no-such-option"], ["a", "b"]]
)
def test_what_argparse_refuses_has_status_2(xbackend, arguments: list[str]) -> None:
    done = xbackend("run", *arguments)
    assert done.status == 2
    assert "Traceback" not in done.err
    assert done.err.startswith("xbackend: '")
    assert arguments[-1] in done.err
    assert done.err.endswith("\nSee 'xbackend run --help'.\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", "--store", "nowhere"], ["nowhere"]),
        (["compare", "--format", "yaml"], ["'yaml'", "json"]),
        (["convert", "none.onnx", "--to", "onnx"], ["none.onnx"]),
        (["convert", "{sound}", "--to", "svg"], ["svg"]),
        (["convert", "{sound}", "--to", ","], ["--to"]),
        (["convert", "{sound}", "--to", "onnx-int8", "--option", "x"], ["--option x"]),
        (["convert", "{sound}", "--to", "onnx", "--option", "a.b=1"], ["'a'", "onnx_to_int8"]),
        (["models", "show", "vgg"], ["'vgg'", "cifar10-small"]),
        (["models", "show", "../cifar10_small"], ["cifar10-small"]),
        (["models", "train", "vgg", "--digits", "--output", "o"], ["'vgg'"]),
    ],
)
def test_other_commands_refuse_in_one_sentence_too(
    xbackend, sound: Path, arguments: list[str], words: list[str]
) -> None:
    done = xbackend(*[text.format(sound=sound) for text in arguments])
    assert done.status == 2, done
    for word in words:
        assert word in done.sentence


def test_a_refusal_loses_nothing_that_was_done_before(
    xbackend, sound: Path, tmp_path: Path
) -> None:
    assert xbackend("run", sound, "--backends", "good").status == 0
    before = {path: path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()}
    assert xbackend("run", "none.onnx", "--backends", "good").status == 2
    assert xbackend("run", sound, "--backends", "nope").status == 2
    assert xbackend("run", sound, "--inputs", "none.npy", "--backends", "good").status == 2
    after = {path: path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()}
    assert before.items() <= after.items()


@pytest.mark.parametrize(
    "name", ["a b.onnx", "ünï.onnx", "-dash.onnx", "new\nline.onnx", "%s{0}.onnx"]
)
def test_an_odd_file_name_is_a_file_name(xbackend, sound: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    os.rename(sound, path)
    done = xbackend("run", path, "--backends", "good")
    assert done.status == 0, done
    done = xbackend("compare")
    assert done.status == 0, done


def test_a_name_that_is_no_unicode_can_be_written_into_every_report(
    xbackend, sound: Path, tmp_path: Path
) -> None:
    path = os.fsencode(tmp_path) + b"/\xff.onnx"
    os.rename(sound, path)
    assert xbackend("run", os.fsdecode(path), "--backends", "good").status == 0
    page = () if registry.missing_for("html") else ("html",)
    for name in ("table", "json", "markdown", "csv", *page):
        done = xbackend("compare", "--format", name, "--output", f"out.{name}")
        assert done.status == 0
        assert all(line.startswith("not checked: ") for line in done.err.splitlines())
        assert (tmp_path / f"out.{name}").stat().st_size > 100


def test_a_package_that_cannot_be_imported_is_told_with_what_it_raised(
    refused, tmp_path: Path
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "__init__.py").write_text("1 / 0\n")
    sentence = refused("broken.models:make")
    assert "'broken.models:make'" in sentence
    assert "ZeroDivisionError: division by zero" in sentence


def test_a_home_that_cannot_be_written_costs_nothing(xbackend, sound: Path) -> None:
    env = {"XDG_CACHE_HOME": "/dev/null/cache", "HOME": "/dev/null"}
    assert xbackend("run", sound, "--backends", "good", env=env).status == 0


def test_a_locale_that_knows_only_ascii_costs_nothing(xbackend, sound: Path) -> None:
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert xbackend("run", sound, "--backends", "good", env=env).status == 0
    assert xbackend("compare", env=env).status == 0


def test_an_empty_model_name_is_not_taken_for_none(xbackend) -> None:
    assert xbackend("run", "", "--backends", "good").status == 2

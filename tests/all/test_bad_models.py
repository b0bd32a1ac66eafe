"""Models of the frameworks that are broken or mean harm: one sentence, and nothing executed."""

from __future__ import annotations

import base64
import json
import marshal
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xbackend.models import catalogue

PROGRAM = "import sys; from xbackend.commands.main import main; sys.exit(main())"
FILES = catalogue.builtin("cifar10-small").files


def command(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
        env={**os.environ, "XBACKEND_STORE": str(folder / "store")},
    )


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., str]:
    """Run a model and return the one sentence of its refusal."""

    def run(model: object, *arguments: object) -> str:
        done = command(tmp_path, "run", model, "--backends", "ort", *arguments)
        assert done.returncode in (2, 3), done
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        assert not (tmp_path / "sprung").exists()
        told = [line for line in done.stderr.splitlines() if line.startswith("xbackend: ")]
        told += [line for line in done.stderr.splitlines() if ": failed" in line]
        assert len(told) == 1, done.stderr
        assert len(told[0]) < 1000
        return told[0]

    return run


class Trap:
    """What writes a file if it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[Path, str]]:
        return Path.write_text, (self.folder / "sprung", "executed")


def code_that_springs(folder: Path) -> str:
    """Return a function as Keras keeps one in a file: marshalled, in base 64."""
    source = f"lambda x: open({str(folder / 'sprung')!r}, 'w').write('executed') and x"
    code = compile(source, "evil", "eval").co_consts[0]
    return base64.b64encode(marshal.dumps(code)).decode()


@pytest.fixture
def edited(tmp_path: Path) -> Callable[..., Path]:
    """Write the built-in .keras file with a changed configuration or changed members."""

    def write(change: Callable[[dict[str, Any]], None], **members: bytes) -> Path:
        with zipfile.ZipFile(FILES["keras"].path) as archive:
            inner = {name: archive.read(name) for name in archive.namelist()}
        config = json.loads(inner["config.json"])
        change(config)
        inner["config.json"] = json.dumps(config).encode()
        path = tmp_path / "edited.keras"
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in {**inner, **members}.items():
                archive.writestr(name, data)
        return path

    return write


def with_layer(layer: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """Return a change that adds a layer before the last."""

    def change(config: dict[str, Any]) -> None:
        config["config"]["layers"].insert(-1, layer)

    return change


def test_a_lambda_layer_is_refused_and_its_code_never_run(refused, edited, tmp_path: Path) -> None:
    function = {
        "class_name": "__lambda__",
        "config": {"code": code_that_springs(tmp_path), "defaults": None, "closure": None},
    }
    layer = {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"name": "evil", "trainable": True, "function": function, "arguments": {}},
        "registered_name": None,
    }
    sentence = refused(edited(with_layer(layer)))
    assert "Lambda" in sentence
    assert "edited.keras" in sentence


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("subprocess", "Popen"), ("pathlib", "Path"), ("my_package.layers", "Mine")],
)
def test_an_object_that_is_not_kerass_own_is_refused(
    refused, edited, module: str, name: str
) -> None:
    layer = {"module": module, "class_name": name, "config": {}, "registered_name": name}
    assert name in refused(edited(with_layer(layer)))


def test_a_layer_that_reads_another_file_is_refused(refused, edited, tmp_path: Path) -> None:
    layer = {
        "module": "keras.layers",
        "class_name": "TFSMLayer",
        "config": {"name": "outside", "filepath": str(tmp_path), "call_endpoint": "serve"},
        "registered_name": None,
    }
    assert "TFSMLayer" in refused(edited(with_layer(layer)))


def test_a_layer_that_keras_does_not_have_is_named(refused, edited) -> None:
    layer = {
        "module": "keras.layers",
        "class_name": "Frobnicate",
        "config": {"name": "frob"},
        "registered_name": None,
    }
    assert "Frobnicate" in refused(edited(with_layer(layer)))


def test_weights_that_do_not_fit_the_layers_are_told(refused, edited) -> None:
    def widen(config: dict[str, Any]) -> None:
        dense = [row for row in config["config"]["layers"] if row["class_name"] == "Dense"]
        dense[0]["config"]["units"] = 7

    assert "edited.keras" in refused(edited(widen))


@pytest.mark.parametrize("format_", ["keras", "onnx", "tflite"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_named(refused, tmp_path: Path, format_: str, share: float) -> None:
    data = FILES[format_].path.read_bytes()
    path = tmp_path / f"cut{FILES[format_].path.suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    assert path.name in refused(path)


@pytest.mark.parametrize("suffix", ["keras", "h5", "tflite", "pt2", "onnx"])
def test_a_pickle_under_any_name_is_refused_and_never_opened(
    refused, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"model.{suffix}"
    path.write_bytes(pickle.dumps(Trap(tmp_path)))
    assert path.name in refused(path)


def test_a_pickle_that_torch_saved_is_refused_and_never_opened(refused, tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps(Trap(tmp_path)))
        archive.writestr("model/version", "3\n")
    sentence = refused(path)
    assert "model.pt2" in sentence
    assert "torch.export.save" in sentence


@pytest.mark.parametrize("suffix", ["keras", "h5", "tflite", "pt2", "onnx"])
def test_bytes_of_chance_are_refused(refused, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"noise.{suffix}"
    path.write_bytes(np.random.default_rng(3).bytes(4096))
    assert path.name in refused(path)


@pytest.mark.parametrize(
    ("format_", "suffix"),
    [("onnx", "tflite"), ("tflite", "onnx"), ("keras", "pt2"), ("onnx", "h5")],
)
def test_a_model_under_the_suffix_of_another_format_is_refused(
    refused, tmp_path: Path, format_: str, suffix: str
) -> None:
    path = tmp_path / f"wrong.{suffix}"
    path.write_bytes(FILES[format_].path.read_bytes())
    assert path.name in refused(path)


@pytest.mark.parametrize("data", [b"", b"\x08\x01", b"\xff" * 1000])
def test_a_saved_model_that_is_none_is_refused(refused, tmp_path: Path, data: bytes) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(data)
    assert "saved" in refused(folder)


CALLABLES = """
import sys, torch

def raises():
    raise RuntimeError("no weights today")

def number():
    return 42

def leaves():
    sys.exit("goodbye")

def bare():
    return torch.nn.ReLU()
"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("makers:raises", ["makers:raises", "no weights today"]),
        ("makers:number", ["makers:number"]),
        ("makers:nothing", ["makers:nothing"]),
        ("makers:leaves", ["goodbye"]),
        ("makers:bare", ["makers:bare"]),
        ("no_such_module:make", ["no_such_module"]),
    ],
)
def test_a_callable_that_makes_no_model_is_told(
    refused, tmp_path: Path, name: str, words: list[str]
) -> None:
    (tmp_path / "makers.py").write_text(CALLABLES)
    sentence = refused(name)
    for word in words:
        assert word in sentence


def test_a_bad_model_loses_no_run_that_was_made_before(refused, tmp_path: Path) -> None:
    done = command(tmp_path, "run", "--backends", "ort", "--taps", "outputs")
    assert done.returncode == 0, done
    before = {p: p.read_bytes() for p in (tmp_path / "store/runs").iterdir()}
    (tmp_path / "bad.tflite").write_bytes(b"nothing")
    refused(tmp_path / "bad.tflite")
    assert (
        before.items() <= {p: p.read_bytes() for p in (tmp_path / "store/runs").iterdir()}.items()
    )
    assert command(tmp_path, "compare").returncode == 0

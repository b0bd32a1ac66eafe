"""Writes models that are objects in memory, of the frameworks' own classes, as files to run."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xbackend.errors import ModelError, UsageError

UNDATED = (1980, 1, 1, 0, 0, 0)
"""One time for all members of an archive: the same model gives the same file."""


def save_onnx(model: Any, example_inputs: Any, folder: Path) -> Path:
    """Write an `onnx.ModelProto` as .onnx. Raises UsageError for another class of onnx's."""
    import onnx

    if not isinstance(model, onnx.ModelProto):
        raise UsageError(f"A {type(model).__name__} is no model. Give an onnx.ModelProto.")
    path = folder / f"{_file_name(model.graph.name)}.onnx"
    try:
        path.write_bytes(model.SerializeToString(deterministic=True))
    except Exception as error:  # protobuf raises its own for more than 2 GiB
        raise ModelError(
            f"The ONNX model '{model.graph.name}' cannot be written as one file ({error}). Save it "
            "with external data and give its path."
        ) from error
    return path


def save_torch(model: Any, example_inputs: Any, folder: Path) -> Path:
    """Export a `torch.nn.Module` in inference, or keep an exported program, as .pt2.

    Raises UsageError without example inputs, ModelError where PyTorch cannot export it.
    """
    import torch

    path = folder / f"{_file_name(type(model).__name__)}.pt2"
    if isinstance(model, torch.export.ExportedProgram):
        torch.export.save(model, path)
        return path
    if not isinstance(model, torch.nn.Module):
        raise UsageError(
            f"A {type(model).__name__} is no model. Give a torch.nn.Module or what "
            "torch.export.export made of it."
        )
    if isinstance(model, torch.jit.ScriptModule):
        raise UsageError(
            f"A {type(model).__name__} is what torch.jit made, which is not taken. Give the "
            "torch.nn.Module that it was made of."
        )
    if example_inputs is None:
        raise UsageError(
            f"The module {type(model).__name__} needs example inputs to be exported with: "
            "example_inputs=, one tensor or a tuple of them, of the shapes that it takes."
        )
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with _quiet():
            program = torch.export.export(model, _tensors(example_inputs))
    except Exception as error:  # the user's own code raises anything
        raise ModelError(
            f"PyTorch cannot export {type(model).__name__}: {_first_line(error)}. Give the ONNX "
            "file that you made of it, or a module without what it complains of."
        ) from error
    finally:
        for module in training:
            module.training = True
    torch.export.save(program, path)
    return path


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep off standard error what PyTorch says while it exports; what it raises says enough."""
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "torch"]
    handlers = {handler for name in names for handler in logging.getLogger(name).handlers}
    for handler in handlers:
        handler.addFilter(_nothing)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        for handler in handlers:
            handler.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    """Let no message through."""
    return False


def save_keras(model: Any, example_inputs: Any, folder: Path) -> Path:
    """Write a Keras model as .keras. Raises UsageError for another class of Keras's."""
    import keras

    if not isinstance(model, keras.Model):
        raise UsageError(f"A {type(model).__name__} is no model. Give a keras.Model.")
    path = folder / f"{_file_name(str(model.name))}.keras"
    dated = folder / "dated.keras"
    try:
        model.save(dated)
    except Exception as error:  # layers of the user's own raise anything
        raise ModelError(
            f"Keras cannot save the model '{model.name}': {_first_line(error)}. Build it by "
            "calling it once, and give every layer of your own a configuration."
        ) from error
    _undate(dated, path)
    dated.unlink()
    return path


def _undate(source: Path, target: Path) -> None:
    """Write a .keras file again without when it was saved."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "metadata.json":
                known = json.loads(data)
                known.pop("date_saved", None)
                data = json.dumps(known).encode()
            new.writestr(zipfile.ZipInfo(name, UNDATED), data)


def _tensors(examples: Any) -> tuple[Any, ...]:
    """Return example inputs as tensors: one, several, or arrays."""
    import torch

    several = examples if isinstance(examples, (tuple, list)) else (examples,)
    return tuple(
        each if isinstance(each, torch.Tensor) else torch.as_tensor(each) for each in several
    )


def _file_name(text: str) -> str:
    """Return a name without what a path or a table could stumble over."""
    return re.sub(r"[^\w.-]+", "_", text).strip("._-")[:60] or "model"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(". ")[:300]

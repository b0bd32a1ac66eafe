"""Reads a Keras file without Keras and refuses one that would execute Python or read elsewhere.

A `.keras` file is a zip with `config.json`, a `.h5` file has the same as an attribute. Keras would
unmarshal the code of a Lambda layer, import the module that an object names, and follow paths in
a file, some of it in spite of its `safe_mode`. Here the configuration is read as plain JSON before
TensorFlow is imported, and only objects that are Keras's own pass.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from xbackend.errors import ModelError

from .sentence import first_line

CODE_CLASSES = frozenset({"Lambda", "__lambda__", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"})
"""What Keras deserializes into Python code."""

OUTSIDE_CLASSES = frozenset({"TFSMLayer"})
"""What Keras loads from another file that the configuration names."""

VOCABULARY_CLASSES = frozenset({"StringLookup", "IntegerLookup", "TextVectorization"})
"""What reads a vocabulary from the file that the configuration names, if it names one."""

FUNCTION_MODULES = ("keras.activations", "keras.ops", "keras.src.activations", "keras.src.ops")
"""Where a function that a layer calls may come from: others read files or change settings."""

WEIGHTS = "model.weights.h5"


def check_keras_file(path: Path) -> None:
    """Raise ModelError unless a `.keras` file is whole and holds nothing but Keras's own layers."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check_archive(archive, path)
            config = _parsed(archive.read("config.json"), path)
            refuse_code(config, path)
            if WEIGHTS in archive.namelist():
                _refuse_references(io.BytesIO(archive.read(WEIGHTS)), path)
    except OSError as error:
        raise ModelError(f"Cannot read the model {path}: {error.strerror or error}.") from error
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError) as error:
        raise ModelError(
            f"{path} is not a whole .keras file ({path.stat().st_size} bytes): {error}. "
            "Save it again with model.save."
        ) from error


def check_h5_file(path: Path) -> None:
    """Raise ModelError unless an `.h5` file is whole and holds nothing but Keras's own layers."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            config = file.attrs.get("model_config")
            if config is None:
                raise ModelError(
                    f"{path} holds no Keras model: weights alone have no layers. Save the whole "
                    "model with model.save."
                )
            text = config if isinstance(config, bytes) else str(config).encode()
            refuse_code(_parsed(text, path), path)
        with path.open("rb") as stream:
            _refuse_references(stream, path)
    except FileNotFoundError as error:
        raise ModelError(f"Cannot read the model {path}: there is no such file.") from error
    except OSError as error:
        raise ModelError(f"{path} is not a whole HDF5 file: {first_line(error)}") from error


def refuse_code(config: dict[str, Any], path: Path) -> None:
    """Raise ModelError if a model's configuration holds code or an object that is not Keras's.

    The outermost `compile_config` is skipped, since the model is loaded without its training.
    """
    inner = {key: value for key, value in config.items() if key != "compile_config"}
    for entry in _dictionaries(inner):
        kind = entry.get("class_name")
        if isinstance(kind, str):
            _refuse_class(kind, entry, path)
        if "function_type" in entry:
            raise ModelError(_code_sentence(path, "a Python function", _name(entry)))


def _refuse_class(kind: str, entry: dict[str, Any], path: Path) -> None:
    if kind in CODE_CLASSES:
        raise ModelError(_code_sentence(path, f"a {kind}", _name(entry)))
    if kind in OUTSIDE_CLASSES:
        raise ModelError(
            f"{path} holds a {kind} ({_name(entry)}), which loads another file. Save the model "
            "without it."
        )
    inner = entry.get("config")
    vocabulary = inner.get("vocabulary") if isinstance(inner, dict) else None
    if kind in VOCABULARY_CLASSES and isinstance(vocabulary, str):
        raise ModelError(
            f"{path} reads a vocabulary from {vocabulary!r}, outside of the model. "
            "Save the model with its vocabulary."
        )
    if _is_custom(entry):
        raise ModelError(
            f"{path} holds the custom object '{_full(kind, entry)}', whose Python code "
            "is not in the file and is not loaded. Use Keras's own layers, or export to ONNX."
        )


def _is_custom(entry: dict[str, Any]) -> bool:
    """Tell whether an object is of a module or a registered package that is not Keras's."""
    module, registered = entry.get("module"), str(entry.get("registered_name") or "")
    if module is not None and entry["class_name"] == "function":
        return not str(module).startswith(FUNCTION_MODULES)
    if module is not None:
        return module != "keras" and not str(module).startswith("keras.")
    package, mark, _ = registered.partition(">")
    return bool(mark) and package.lower() != "keras"


def _full(kind: str, entry: dict[str, Any]) -> str:
    """Return the whole name of a custom object, for a message."""
    if entry.get("module") is None:
        return str(entry["registered_name"])
    inner = entry.get("config")
    named = inner if kind == "function" and isinstance(inner, str) else kind
    return f"{entry['module']}.{named}"


def _code_sentence(path: Path, what: str, name: str) -> str:
    return (
        f"{path} holds {what} ({name}), which is Python code, and code in a model is never "
        "executed. Replace it with Keras layers, or export the model to ONNX."
    )


def _name(entry: dict[str, Any]) -> str:
    """Return the name of an object in a configuration, for a message."""
    inner = entry.get("config")
    named = inner.get("name") if isinstance(inner, dict) else None
    return f"'{named or entry.get('name') or 'without a name'}'"


def _dictionaries(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every JSON object within a value."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _check_archive(archive: zipfile.ZipFile, path: Path) -> None:
    names = archive.namelist()
    if "config.json" not in names:
        raise ModelError(f"{path} is a zip file but no Keras model: it holds no config.json.")
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ModelError(f"{path} holds a file that would be put elsewhere: '{name}'.")
    try:
        damaged = archive.testzip()
    except Exception as error:  # zlib and lzma each raise their own error for damaged data
        raise zipfile.BadZipFile(first_line(error)) from error
    if damaged is not None:
        raise zipfile.BadZipFile(f"the file '{damaged}' within it is damaged")


def _parsed(text: bytes, path: Path) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{path} has a configuration that is not JSON: {first_line(error)}"
        ) from error
    if not isinstance(config, dict):
        raise ModelError(f"{path} has a configuration that is not a JSON object.")
    return config


def _refuse_references(stream: BinaryIO, path: Path) -> None:
    """Raise ModelError if an HDF5 file takes data from another file."""
    import h5py

    def visit(group: Any) -> None:
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise ModelError(f"{path} takes '{name}' from another file, '{link.filename}'.")
            if isinstance(link, h5py.HardLink):
                _visit_item(group[name], visit, path)

    with h5py.File(stream, "r") as file:
        visit(file)


def _visit_item(item: Any, visit: Any, path: Path) -> None:
    import h5py

    if isinstance(item, h5py.Group):
        visit(item)
    elif isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
        raise ModelError(f"{path} takes the weight '{item.name}' from another file.")

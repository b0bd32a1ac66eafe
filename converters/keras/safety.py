"""Reads a Keras file without Keras and refuses one that would execute Python or read elsewhere.

A `.keras` file is a zip with `config.json`, a `.h5` file has the same as an attribute. Keras would
unmarshal the code of a Lambda layer, import the module that an object names, and follow paths in
a file, some of it in spite of its `safe_mode`. Here the configuration is read as plain JSON before
TensorFlow is imported, and only layers, initializers and functions pass that are listed.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xbackend.errors import ModelError
from xbackend.preparation.archive import archive_fault

from ..libraries.sentence import clause, first_line
from .hdf5_safety import inspect_apart
from .known import CLASSES, FUNCTIONS

CODE_CLASSES = frozenset({"Lambda", "__lambda__", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"})
"""What Keras deserializes into Python code."""

OUTSIDE_CLASSES = frozenset({"TFSMLayer"})
"""What Keras loads from another file that the configuration names."""

VOCABULARY_CLASSES = frozenset({"StringLookup", "IntegerLookup", "TextVectorization"})
"""What reads a vocabulary from the file that the configuration names, if it names one."""

VALUES = frozenset(
    {
        "__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__",
        "__tuple__", "__complex__",
    }
)  # fmt: skip
"""What stands for a value in a configuration and not for an object."""

PARTS = {
    "engine": "models",
    "trainers": "models",
    "backend": "random",
    "dtype_policies": "dtype_policies",
    "mixed_precision": "dtype_policies",
}
"""Parts of Keras's source by which files name classes of another part."""

ANY_CLASS = frozenset().union(*CLASSES.values())
ANY_FUNCTION = frozenset().union(*FUNCTIONS.values())

CONFIG_BYTES = 64 << 20
"""How long a configuration may be: a network of 10,000 layers takes a tenth of it."""

WEIGHTS = "model.weights.h5"


def check_keras_file(path: Path) -> None:
    """Raise ModelError unless a `.keras` file is whole and holds nothing but Keras's own layers."""
    try:
        fault = archive_fault(path)
        if fault:
            raise ModelError(f"{path} {fault}. Save it again with model.save.")
        with zipfile.ZipFile(path) as archive:
            _check_archive(archive, path)
            config = _parsed(archive.read("config.json"), path)
            refuse_code(config, path)
            if WEIGHTS in archive.namelist():
                _check_weights(archive.read(WEIGHTS), path)
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"Cannot read the model {path}: {error.strerror or error}.") from error
    except Exception as error:  # of a damaged archive zipfile and zlib raise whatever comes
        raise ModelError(
            f"{path} is not a whole .keras file ({path.stat().st_size} bytes): {clause(error)}. "
            "Save it again with model.save."
        ) from error


def check_h5_file(path: Path) -> None:
    """Raise ModelError unless an `.h5` file is whole and holds nothing but Keras's own layers."""
    if not path.exists():
        raise ModelError(f"Cannot read the model {path}: there is no such file.")
    check_h5_config(inspect_apart(path, path), path)


def check_h5_config(config: str | None, path: Path) -> None:
    """Raise ModelError unless the configuration in an `.h5` file holds nothing but layers."""
    if config is None:
        raise ModelError(
            f"{path} holds no Keras model: weights alone have no layers. Save the whole model "
            "with model.save."
        )
    refuse_code(_parsed(config.encode("utf-8", "replace"), path), path)


def _check_weights(data: bytes, path: Path) -> None:
    """Raise ModelError where the weights of a `.keras` file are no whole HDF5 file, see there."""
    with tempfile.NamedTemporaryFile(suffix=".h5") as file:
        file.write(data)
        file.flush()
        inspect_apart(Path(file.name), path)


def refuse_code(config: dict[str, Any], path: Path) -> None:
    """Raise ModelError if a model's configuration holds code or an object that is not Keras's.

    The outermost `compile_config` is skipped, since the model is loaded without its training.
    """
    inner = {key: value for key, value in config.items() if key != "compile_config"}
    for entry in _dictionaries(inner):
        if "function_type" in entry:
            raise ModelError(_code_sentence(path, "a Python function", _name(entry)))
        kind = entry.get("class_name")
        if isinstance(kind, str):
            _refuse_class(kind, entry, path)


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
    if not _is_listed(kind, entry):
        raise ModelError(_unlisted_sentence(kind, entry, path))


def _is_listed(kind: str, entry: dict[str, Any]) -> bool:
    """Tell whether an object is a class or a function of the part of Keras that it names."""
    if kind in VALUES:
        return True
    inner, module = entry.get("config"), entry.get("module")
    function = kind == "function"
    name = inner if function and isinstance(inner, str) else kind
    package, mark, last = str(entry.get("registered_name") or "").rpartition(">")
    if (mark and package.lower() != "keras") or last not in ("", kind, name):
        return False
    if module is None or (function and module == "builtins"):
        return name in (ANY_FUNCTION if function else ANY_CLASS)
    return name in _listed(str(module), FUNCTIONS if function else CLASSES)


def _listed(module: str, known: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Return the names that a module of Keras may be asked for; none for any other.

    >>> (
    ...     "Dense" in _listed("keras.layers", CLASSES),
    ...     "load_data" in _listed("keras.datasets", CLASSES),
    ... )
    (True, False)
    """
    first, *rest = module.split(".")
    if first != "keras" or not all(part.isidentifier() for part in rest):
        return frozenset()
    rest = rest[1:] if rest[:1] == ["src"] else rest
    if not rest:
        return known.get("models", frozenset()) | known.get("dtype_policies", frozenset())
    if rest[-1].endswith("_test"):
        return frozenset()
    return known.get(PARTS.get(rest[0], rest[0]), frozenset())


def _unlisted_sentence(kind: str, entry: dict[str, Any], path: Path) -> str:
    full, module = _full(kind, entry), entry.get("module")
    if module is None or str(module).partition(".")[0] != "keras":
        return (
            f"{path} holds the custom object '{full}', whose Python code "
            "is not in the file and is not loaded. Use Keras's own layers, or export to ONNX."
        )
    return (
        f"{path} names '{full}', which is none of the layers and functions that a model is made "
        "of. Use Keras's own layers, or export to ONNX."
    )


def _full(kind: str, entry: dict[str, Any]) -> str:
    """Return the whole name of an object, for a message."""
    if entry.get("module") is None:
        return str(entry.get("registered_name") or kind)
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
    if archive.getinfo("config.json").file_size > CONFIG_BYTES:
        raise ModelError(f"{path} has a configuration of more than {CONFIG_BYTES} bytes.")
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

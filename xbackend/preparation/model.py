"""A model as the user names it: a file, a folder, `module:callable`, or a built-in name."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from xbackend.errors import ModelError, did_you_mean

if TYPE_CHECKING:
    from xbackend.models.catalogue import BuiltinModel

SUFFIXES = {
    ".onnx": "onnx",
    ".keras": "keras",
    ".h5": "h5",
    ".hdf5": "h5",
    ".pt2": "pt2",
    ".tflite": "tflite",
}
"""File name suffix to file format."""

PICKLED = frozenset({".pt", ".pth", ".pkl", ".pickle", ".joblib", ".ckpt"})
"""Suffixes of files that hold Python objects, which reading would execute."""

CALLABLE = "callable"
"""The format of a model that the user's own function makes: code that the user trusts, which may
download its weights, and so runs in no sandbox."""

DEFAULT_MODEL = "cifar10-small"
BLOCK = 1 << 20


@dataclass(frozen=True)
class Model:
    """A model's files and what identifies it."""

    name: str
    """A short name for tables: the file's stem or the built-in's name."""
    digest: str
    """SHA-256 of the source's bytes."""
    source: str
    """What the user named."""
    files: dict[str, Path] = field(default_factory=dict)
    """File format to where the model is in it; a built-in model has several."""
    samples: Path | None = None
    """Built-in sample inputs: an .npy with samples along axis 0."""
    sample_names: tuple[str, ...] = ()
    digests: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each file, by format."""


def find_model(text: str) -> Model:
    """Find the model that a user names. Raises ModelError in one sentence."""
    from xbackend.models import catalogue

    path = Path(text)
    if os.path.exists(path):  # false also of a name that is too long for a file's
        return _from_path(path, text)
    if catalogue.is_builtin(text):
        return _from_builtin(catalogue.builtin(text), text)
    if is_callable(text):
        return _from_callable(text)
    raise ModelError(
        f"There is no model '{text}': neither a file nor a built-in name "
        f"({', '.join(catalogue.names())})."
        f"{did_you_mean(text, [*catalogue.names(), *_models_beside(path)])}"
    )


def _models_beside(path: Path) -> list[str]:
    """Return the files of models in the folder in which a path would be, named as it is."""
    try:
        return sorted(
            str(path.parent / each.name)
            for each in path.parent.iterdir()
            if each.suffix in SUFFIXES
        )
    except OSError:
        return []


def _from_builtin(builtin: BuiltinModel, text: str) -> Model:
    return Model(
        name=builtin.name,
        digest=builtin.digest,
        source=text,
        files={kind: file.path for kind, file in builtin.files.items()},
        digests={kind: file.digest for kind, file in builtin.files.items()},
        samples=builtin.samples,
        sample_names=builtin.sample_names,
    )


def _from_path(path: Path, text: str) -> Model:
    if path.is_dir():
        return _from_folder(path, text)
    suffix = path.suffix.lower()
    if suffix in PICKLED:
        raise ModelError(
            f"{path} is a pickled file, and reading it would execute what it holds. Save the "
            "model with torch.export.save (.pt2), or export it to ONNX."
        )
    if suffix not in SUFFIXES:
        known = ", ".join(sorted(SUFFIXES))
        raise ModelError(
            f"{path} has no suffix of a model ({known}; a folder is read as a SavedModel)."
        )
    digest = file_digest(path)
    kind = SUFFIXES[suffix]
    return Model(path.stem, digest, text, {kind: path.resolve()}, digests={kind: digest})


def _from_folder(path: Path, text: str) -> Model:
    manifest = path / "model.json"
    if manifest.is_file():
        from xbackend.models.catalogue import read_model

        return _from_builtin(read_model(path), text)
    if not (path / "saved_model.pb").is_file():
        raise ModelError(
            f"The folder {path} is neither a SavedModel (it has no saved_model.pb) nor a model "
            "that 'xbackend models train' wrote (it has no model.json)."
        )
    found = source_digest(path)
    return Model(
        path.name,
        found,
        text,
        {"savedmodel": path.resolve()},
        digests={"savedmodel": found},
    )


def is_callable(text: str) -> bool:
    """Tell whether a text names a function that makes a model, as `module:callable`."""
    module, colon, name = text.partition(":")
    return bool(colon) and name.isidentifier() and all(p.isidentifier() for p in module.split("."))


def _from_callable(text: str) -> Model:
    """Identify a `module:callable` by its module's source, which the user asks to have executed."""
    import sys
    from importlib.util import find_spec

    module, _, name = text.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        spec = find_spec(module)
    except (Exception, SystemExit) as error:  # finding it imports the packages around it
        said = f"{type(error).__name__}: {error}".rstrip(". :")
        raise ModelError(f"Cannot find the module of '{text}' ({said}).") from error
    if spec is None or not spec.origin or not Path(spec.origin).is_file():
        raise ModelError(f"Cannot find the module '{module}' of '{text}' on this Python's path.")
    digest = hashlib.sha256(f"{text}\0{file_digest(Path(spec.origin))}".encode()).hexdigest()
    return Model(name, digest, text, {CALLABLE: Path(text)}, digests={CALLABLE: digest})


def source_digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's files and their names."""
    if not path.is_dir():
        return file_digest(path)
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(path)}\0{file_digest(file)}\n".encode())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file. Raises ModelError where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
    except OSError as error:
        raise ModelError(f"Cannot read {path}: {error.strerror or error}.") from error
    return digest.hexdigest()

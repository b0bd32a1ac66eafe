"""Models that are objects in memory: kept in the store as files, under their digest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from xbackend.errors import ModelError, StoreError
from xbackend.plugins import registry
from xbackend.preparation.model import file_digest
from xbackend.store.store import Store


def model_source(model: object, store: Store, example_inputs: Any = None) -> str:
    """Return what names a model: a text or a path as it is, an object's file in the store.

    A package brings what writes its models by an entry point of the group `xbackend.savers`, whose
    name is the top-level package of their class, such as `torch`. Raises ModelError for an object
    that no installed package can write.
    """
    if isinstance(model, (str, os.PathLike)):
        return os.fspath(model) if isinstance(model, str) else str(model)
    packages = dict.fromkeys(each.__module__.partition(".")[0] for each in type(model).__mro__)
    save = next((found for name in packages if (found := registry.saver(name))), None)
    if save is None:
        module, kind = type(model).__module__, type(model).__qualname__
        name = kind if module == "builtins" else f"{module}.{kind}"
        raise ModelError(
            f"An object of the type {name} is no model that can be run. Give a path, "
            "a built-in name, an onnx.ModelProto, a torch.nn.Module with example_inputs=, or a "
            "Keras model."
        )
    import tempfile

    with tempfile.TemporaryDirectory(prefix="xbackend-") as folder:
        try:
            path = save(model, example_inputs, Path(folder))
        except ImportError as error:
            raise ModelError(
                f"A {type(model).__name__} cannot be written without {error.name}. Install it, or "
                "give the model as a file."
            ) from error
        return str(_keep(path, store))


def handing_notes(model: object) -> tuple[str, ...]:
    """Return what a user must know of how an object was made a file, a sentence each.

    Modules of PyTorch are exported in eval mode.
    """
    modules = getattr(model, "modules", None)
    if not callable(modules) or not any(getattr(each, "training", False) for each in modules()):
        return ()
    name = type(model).__name__
    text = f"The module {name} was handed over in train mode; its eval mode was exported and run."
    return (text,)


def _keep(path: Path, store: Store) -> Path:
    """Copy a file into the store, under its digest."""
    store.create()
    target = store.folder / "models" / file_digest(path) / path.name
    if target.is_file():
        return target.absolute()
    import shutil

    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, partial)
        os.replace(partial, target)
    except OSError as error:
        raise StoreError(
            f"Cannot write {target}: {error.strerror or error}. Free space or permissions there, "
            "or name another store."
        ) from error
    return target.absolute()

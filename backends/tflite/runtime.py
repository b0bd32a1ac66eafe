"""Which package runs a flat graph: tflite-runtime or LiteRT, loaded when it is asked for."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Dict, Tuple, Union

import numpy as np

from xbackend.worker.contract import Unsupported

PACKAGES: Dict[str, Tuple[str, str]] = {
    "tflite-runtime": ("tflite_runtime", "tflite-runtime"),
    "litert": ("ai_edge_litert", "ai-edge-litert"),
}
"""Value of the setting `runtime` to import name and distribution, in the order of `auto`."""

INFO = ".dist-info"
"""The end of the name of the folder that pip writes beside a package."""

LAST_TFLITE = (2, 14)
"""The last tflite-runtime on the package index, built for the interface of NumPy 1.23."""


@dataclass(frozen=True)
class Runtime:
    """A package that is imported and can make interpreters."""

    word: str
    """The setting's value, never `auto`."""
    version: str
    module: Any
    """Its `interpreter` module."""

    def interpreter(self, model: Union[str, bytes], delegate: str, threads: int) -> Any:
        """Load a model, from its path or its bytes, with the kernels of `delegate`."""
        kinds = self.module.OpResolverType
        resolver = {
            "xnnpack": kinds.AUTO,
            "none": kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            "reference": kinds.BUILTIN_REF,
        }[delegate]
        return self.module.Interpreter(
            **{"model_path" if isinstance(model, str) else "model_content": model},
            num_threads=threads,
            experimental_op_resolver_type=resolver,
        )


def resolve(word: str) -> str:
    """Return the runtime that a setting means here: `auto` is the first that is installed.

    A tflite-runtime that cannot load under this NumPy counts as not installed for `auto`.
    """
    if word != "auto":
        return word
    usable = [name for name in PACKAGES if _is_installed(name) and not _numpy_conflict(name)]
    installed = usable or [name for name in PACKAGES if _is_installed(name)]
    if not installed:
        raise Unsupported(
            "Backend 'tflite' needs tflite-runtime or ai-edge-litert. "
            "Install one with: pip install 'xbackend[tflite]'"
        )
    return installed[0]


def newer_runtime(word: str) -> str:
    """Return the installed runtime that came after one and knows more operations, or nothing."""
    names = list(PACKAGES)
    after = names[names.index(word) + 1 :]
    return next((name for name in after if _is_installed(name)), "")


def load(word: str) -> Runtime:
    """Import the runtime that a setting means. Raises Unsupported where it cannot be loaded."""
    name = resolve(word)
    module, distribution = PACKAGES[name]
    if not _is_installed(name):
        raise Unsupported(
            f"The runtime '{name}' needs {distribution}. "
            f"Install it with: pip install {distribution}"
        )
    conflict = _numpy_conflict(name)
    if conflict:
        raise Unsupported(conflict)
    return Runtime(name, version(name), importlib.import_module(f"{module}.interpreter"))


def version(name: str) -> str:
    """Return the version of an installed runtime.

    It stands in the name of a folder beside the package. `importlib.metadata`, which reads it
    wherever else it may be, is slow to import: under an emulator slower than the model.
    """
    module, distribution = PACKAGES[name]
    found = find_spec(module)
    places = list(found.submodule_search_locations or ()) if found else []
    beginning = f"{distribution.replace('-', '_')}-"
    for place in places:
        for entry in sorted(os.listdir(os.path.dirname(place))):
            if entry.startswith(beginning) and entry.endswith(INFO):
                return entry[len(beginning) : -len(INFO)]
    from importlib import metadata

    return metadata.version(distribution)


def _is_installed(name: str) -> bool:
    return find_spec(PACKAGES[name][0]) is not None


def _numpy_conflict(name: str) -> str:
    """Return the sentence that says why a runtime cannot load under this NumPy, or nothing."""
    numpy = _numbers(np.__version__)
    if name != "tflite-runtime" or _numbers(version(name))[:2] != LAST_TFLITE:
        return ""
    if (1, 23) <= numpy < (2,):
        return ""
    return (
        f"tflite-runtime {version(name)} needs NumPy from 1.23 to below 2, this environment has "
        f"{np.__version__}. Use --set tflite.runtime=litert, or pip install 'numpy>=1.23,<2'."
    )


def _numbers(text: str) -> Tuple[int, ...]:
    """Return the leading numbers of a version.

    >>> _numbers("2.14.0rc1")
    (2, 14)
    """
    parts = []
    for part in text.split("."):
        if not part.isdigit():
            break
        parts.append(int(part))
    return tuple(parts)

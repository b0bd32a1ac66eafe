"""Plugins of all kinds by name: the only door to the wings."""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from xbackend.errors import UsageError, did_you_mean
from xbackend.plugins.installed import importable, installed
from xbackend.worker.contract import BackendSpec

if TYPE_CHECKING:
    from xbackend.plugins.converter import ConverterSpec
    from xbackend.plugins.importer import ImporterSpec
    from xbackend.plugins.mitigation import Mitigation, MitigationContext

Spec = TypeVar("Spec")

REPORT_NEEDS = {"html": ("jinja2", "altair", "vl_convert")}
"""What a report imports that not every installation has."""


def known_backends() -> list[str]:
    """Return the words of all backends that have an entry point, built-in ones first."""
    order = ["tf", "ort", "torch", "tflite", "fixed"]
    names = list(installed().entry_points["xbackend.backends"])
    return sorted(names, key=lambda name: (order.index(name) if name in order else 99, name))


def backend(word: str) -> BackendSpec:
    """Return what is known of a backend. Raises UsageError for an unknown word."""
    if word not in known_backends():
        raise UsageError(
            f"There is no backend '{word}'. Known backends: {', '.join(known_backends())}."
            f"{did_you_mean(word, known_backends(), other_words())}"
        )
    return _spec("backend", word, known_backends(), BackendSpec)


def other_words() -> dict[str, str]:
    """Return what else people call the backends, in lower case, with the word of each.

    These are the framework's own name and what it is imported and installed by.
    """
    found: dict[str, str] = {}
    for spec in backends():
        named = (spec.title.lower(), *spec.modules, *spec.distributions, *spec.sources)
        for name in named:
            for form in (
                name,
                name.replace(" ", ""),
                name.replace(" ", "-"),
                name.replace("_", "-"),
            ):
                found.setdefault(form.lower(), spec.word)
    return found


def is_available(spec: BackendSpec) -> bool:
    """Tell whether one of the backend's frameworks could be imported in this Python."""
    return not spec.modules or any(importable(module) for module in spec.modules)


def backends() -> list[BackendSpec]:
    """Return all backends, installed or not.

    One whose plugin is broken is named on standard error and passed over: others may do.
    """
    found = []
    for word in known_backends():
        try:
            found.append(backend(word))
        except UsageError as error:
            print(f"xbackend: {error}", file=sys.stderr)
    return found


def available_backends() -> list[str]:
    """Return the words of the backends whose framework is installed in this Python."""
    return [spec.word for spec in backends() if is_available(spec)]


def float_backends() -> list[str]:
    """Return the words of those that people use floats with: integers are not their own."""
    return [word for word in available_backends() if backend(word).default_precision != "int8"]


def install_hint(spec: BackendSpec) -> str:
    """Return the sentence that says what a missing backend needs.

    >>> spec = BackendSpec("tf", "TensorFlow", "a:B", ("tensorflow",), (), {})
    >>> install_hint(spec)
    "Backend 'tf' needs tensorflow. Install it with: pip install 'xbackend[tf]'"
    """
    needs = " or ".join(spec.modules) or "numpy"
    return (
        f"Backend '{spec.word}' needs {needs}. Install it with: pip install 'xbackend[{spec.word}]'"
    )


@functools.cache
def converters() -> list[ConverterSpec]:
    """Return all converters, whether or not their packages are installed.

    One that is broken is named on standard error and passed over: others may do.
    """
    from xbackend.plugins.converter import ConverterSpec

    found = []
    for name in installed().entry_points["xbackend.converters"]:
        try:
            spec = _load("xbackend.converters", name)
        except UsageError as error:
            print(f"xbackend: {error}", file=sys.stderr)
            continue
        if isinstance(spec, ConverterSpec):
            found.append(spec)
    return found


def converters_digest() -> str:
    """Return a digest of all installed versions and of the converters' files.

    As long as it stays the same, a converter gives what it gave, so none has to be imported.
    """
    state = hashlib.sha256(json.dumps(sorted(installed().versions.items())).encode())
    for name, path in sorted(installed().entry_points["xbackend.converters"].items()):
        state.update(f"{name} {path} {_changed(path.partition(':')[0])}\n".encode())
    return state.hexdigest()


def _changed(module: str) -> int:
    """Return when a module's file was changed last, 0 for one that is not there."""
    from importlib.util import find_spec

    try:
        spec = find_spec(module)
        return os.stat(spec.origin).st_mtime_ns if spec and spec.origin else 0
    except Exception:  # finding it imports the packages around it, which raise anything
        return 0


def report_formats() -> list[str]:
    """Return the names of the reports."""
    return sorted(installed().entry_points["xbackend.reports"])


def missing_for(name: str) -> list[str]:
    """Return the modules that a report needs and that are not installed."""
    return [module for module in REPORT_NEEDS.get(name, ()) if not importable(module)]


def report(name: str) -> Callable[..., str]:
    """Return the function that lays out a comparison.

    Raises UsageError for an unknown name, and where a package is missing that it needs: before
    anything is computed that would then not be shown.
    """
    if name not in installed().entry_points["xbackend.reports"]:
        raise UsageError(
            f"There is no report '{name}'. Known reports: {', '.join(report_formats())}."
            f"{did_you_mean(name, report_formats())}"
        )
    missing = missing_for(name)
    if missing:
        raise UsageError(
            f"The report '{name}' needs {' and '.join(missing)}. Install it with: "
            "pip install 'xbackend[report]'"
        )
    render: Callable[..., str] = _load("xbackend.reports", name)
    return render


def renderer(name: str) -> Callable[..., str]:
    """Return the function that lays out what a command found. Raises UsageError for no such name.

    It takes the value, and keyword arguments for how it is to look.
    """
    if name not in installed().entry_points["xbackend.renderers"]:
        raise UsageError(
            f"There is no layout of '{name}' in this installation. Install xbackend again, whole."
        )
    render: Callable[..., str] = _load("xbackend.renderers", name)
    return render


def saver(name: str) -> Callable[..., Any] | None:
    """Return what writes a model of a framework's own class to a file, None where there is none."""
    known = name in installed().entry_points["xbackend.savers"]
    save: Callable[..., Any] | None = _load("xbackend.savers", name) if known else None
    return save


def plots() -> list[str]:
    """Return the names of the plots."""
    return sorted(installed().entry_points["xbackend.plots"])


def plot(name: str) -> Callable[..., None]:
    """Return the function that draws what a command found, with matplotlib.

    Raises UsageError for an unknown one, and where matplotlib is missing: before anything is run
    that would then not be drawn.
    """
    if name not in installed().entry_points["xbackend.plots"]:
        raise UsageError(
            f"There is no plot '{name}' in this installation. Install xbackend again, whole."
        )
    if not importable("matplotlib"):
        raise UsageError("A plot needs matplotlib. Install it with: pip install 'xbackend[plot]'")
    draw: Callable[..., None] = _load("xbackend.plots", name)
    return draw


def importer(name: str) -> ImporterSpec:
    """Return what is known of an importer. Raises UsageError for an unknown name."""
    from xbackend.plugins.importer import ImporterSpec

    known = sorted(installed().entry_points["xbackend.importers"])
    return _spec("importer", name, known, ImporterSpec)


def mitigations(context: MitigationContext) -> list[Mitigation]:
    """Return all mitigations of the entry points, in their order.

    A plugin that is broken is named on standard error and passed over: others may do.
    """
    found: dict[str, Mitigation] = {}
    for name in installed().entry_points["xbackend.mitigations"]:
        try:
            for each in _unpacked(name, context):
                found.setdefault(each.name, each)
        except UsageError as error:
            print(f"xbackend: {error}", file=sys.stderr)
    return list(found.values())


def _unpacked(name: str, context: MitigationContext) -> list[Mitigation]:
    """Return the mitigations of an entry point: one, several, or a function that makes them."""
    from xbackend.plugins.mitigation import Mitigation

    plugin: Any = _load("xbackend.mitigations", name)
    try:
        made = plugin(context) if callable(plugin) else plugin
        several = [made] if isinstance(made, Mitigation) else list(made)
    except Exception as error:  # a stranger's function raises anything
        raise UsageError(f"The mitigation '{name}' cannot be made: {error!r}.") from error
    if not all(isinstance(each, Mitigation) for each in several):
        raise UsageError(f"The entry point of mitigation '{name}' is not a Mitigation.")
    return several


def _spec(kind: str, name: str, known: Sequence[str], wanted: type[Spec]) -> Spec:
    """Return what an entry point of a kind of plugin says. Raises UsageError for another name."""
    if name not in known:
        raise UsageError(
            f"There is no {kind} '{name}'. Known {kind}s: {', '.join(known)}."
            f"{did_you_mean(name, known)}"
        )
    spec = _load(f"xbackend.{kind}s", name)
    if not isinstance(spec, wanted):
        article = "an" if wanted.__name__[0] in "AEIO" else "a"
        raise UsageError(f"The entry point of {kind} '{name}' is not {article} {wanted.__name__}.")
    return spec


def load_object(path: str) -> Any:
    """Import `package.module:attribute`. Raises ImportError or AttributeError."""
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _load(group: str, name: str) -> Any:
    path = installed().entry_points[group][name]
    try:
        return load_object(path)
    except (Exception, SystemExit) as error:  # a stranger's module raises anything
        said = " ".join(str(error).split())[:300].rstrip(".") or "it says nothing"
        raise UsageError(
            f"The plugin '{name}' ({path}) cannot be loaded ({type(error).__name__}: {said}). "
            "Mend or uninstall the package that brings it."
        ) from error

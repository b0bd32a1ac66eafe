"""Which operators of a model a backend lacks: told from its table, before anything is converted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from xbackend.errors import UnsupportedOperators
from xbackend.plugins import registry
from xbackend.preparation.conversion.convert import (
    ArtifactBuilder,
    MissingPackages,
    find_conversion_path,
)
from xbackend.worker.artifact import read_artifact
from xbackend.worker.contract import BackendSpec

GRAPH = "graph"
"""What the formats of the ONNX graph begin with."""


def check_operators(spec: BackendSpec, precision: str, builder: ArtifactBuilder) -> None:
    """Raise UnsupportedOperators, which names them, where a backend lacks what a model has.

    The table is the backend's own, or that of the executor that converts the model for it.
    """
    known = _table(spec, precision, builder)
    hub = builder.hub() if known else None
    if not known or hub is None:
        return
    steps = read_artifact(hub.folder).manifest["steps"]
    notes = steps[-1]["notes"]
    lacking = missing_operators(notes.get("operators", ()), notes.get("spelled", {}), known)
    if lacking:
        raise UnsupportedOperators(
            f"Backend '{spec.word}' has no {', '.join(lacking)}, which this model uses. "
            "Choose other backends with --backends."
        )


def missing_operators(
    used: Sequence[str], spelled: Mapping[str, Sequence[str]], known: Collection[str]
) -> list[str]:
    """Return the operators that a table lacks and that are not made of ones that it has, sorted.

    >>> missing_operators(["Relu", "Det", "Gelu"], {"Gelu": ["Erf", "Mul"]}, {"Erf", "Mul", "Relu"})
    ['Det']
    """
    lacking: set[str] = set()
    waiting = list(used)
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in known or name in seen:
            continue
        seen.add(name)
        inner = spelled.get(name, ())
        waiting += inner
        if not inner:
            lacking.add(name)
    return sorted(lacking)


def _table(spec: BackendSpec, precision: str, builder: ArtifactBuilder) -> frozenset[str]:
    """Return the operators of who walks the graph, none where nobody does or it has been done."""
    target = spec.formats[precision]
    if spec.operators and target.partition("-")[0] == GRAPH:
        return spec.operators
    if builder.kept(target) is not None:
        return frozenset()
    try:
        steps = find_conversion_path(set(builder.model.files) - {target}, target)
    except MissingPackages:
        return frozenset()
    words = [step.converter.executor for step in steps if step.converter.executor]
    return registry.backend(words[0]).operators if words else frozenset()

"""The layers of a run whose bodies were computed several times: one for each iteration."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from xbackend.worker.subgraphs import layer_of

Record = dict[str, Any]


def layers_with_iterations(
    layers: Sequence[Record], results: Sequence[Mapping[str, Any]]
) -> list[Record]:
    """Put a layer for each iteration that was recorded in place of the one that stands for all.

    What was recorded of an operator that was spelled out counts as a part of that operator's layer,
    and comes before what it gives.

    >>> row = {"tap": "loop[]/y", "layer": 3, "operator": "Add", "inputs": None}
    >>> made = layers_with_iterations([row], [{"taps": [{"name": "loop[0]/y"}]}])
    >>> [(each["tap"], each["layer"]) for each in made]
    [('loop[0]/y', 3)]
    """
    names = dict.fromkeys(tap["name"] for result in results for tap in result.get("taps", ()))
    known = {row["tap"] for row in layers}
    if known.issuperset(names):
        return list(layers)
    found: dict[str, list[str]] = {}
    parts: dict[str, list[str]] = {}
    for name in names:
        layer = layer_of(name)
        if layer in known:
            found.setdefault(layer, []).append(name)
        elif owner := _owner(layer, known):
            parts.setdefault(owner, []).append(name)
    return [
        {**row, "tap": name, **({} if name in of_layer else {"inputs": None})}
        for row in layers
        for of_layer in [found.get(row["tap"], [row["tap"]])]
        for name in [*parts.get(row["tap"], ()), *of_layer]
    ]


def _owner(name: str, known: Collection[str]) -> str:
    """Return the layer that a value is a part of, by its name; empty if it is none's.

    >>> _owner("lstm/y/Scan[]/lstm/y/Add_3", {"x", "lstm/y"})
    'lstm/y'
    """
    while "/" in name:
        name = name.rpartition("/")[0]
        if name in known:
            return name
    return ""

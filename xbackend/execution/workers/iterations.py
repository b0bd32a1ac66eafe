"""The layers of a run whose bodies were computed several times: one for each iteration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Record = dict[str, Any]


def layers_with_iterations(
    layers: Sequence[Record], results: Sequence[Mapping[str, Any]]
) -> list[Record]:
    """Put a layer for each iteration that was recorded in place of the one that stands for all.

    >>> row = {"tap": "loop[]/y", "layer": 3, "operator": "Add", "inputs": None}
    >>> made = layers_with_iterations([row], [{"taps": [{"name": "loop[0]/y"}]}])
    >>> [(each["tap"], each["layer"]) for each in made]
    [('loop[0]/y', 3)]
    """
    if not any("[]/" in row["tap"] for row in layers):
        return list(layers)
    from xbackend.worker.subgraphs import layer_of  # with NumPy, which few runs need here

    names = dict.fromkeys(tap["name"] for result in results for tap in result.get("taps", ()))
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(layer_of(name), []).append(name)
    return [{**row, "tap": name} for row in layers for name in found.get(row["tap"], [row["tap"]])]

"""What `xbackend saturation` does: the exposed layers of an int8 model, and what inputs reach."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xbackend.errors import UsageError
from xbackend.plugins import registry
from xbackend.preparation.saturation import SaturationRisk, measure_saturation, saturation_reach
from xbackend.store.store import Store, open_store
from xbackend.worker.graph import read_graph

Record = dict[str, Any]


def saturation(options: argparse.Namespace) -> int:
    """Run the model in exact integers and print its exposed layers; 3 if nothing could be run."""
    from xbackend.commands.commands import execution_context
    from xbackend.execution.execute import execute
    from xbackend.execution.progress import progress
    from xbackend.execution.request import RunRequest

    store = open_store(options.store)
    request = RunRequest(
        model=options.model or RunRequest.model,
        backends=(_exact_backend(),),
        inputs=Path(options.inputs) if options.inputs else None,
        precisions=("int8",),
        options=tuple(options.option or ()),
    )
    with progress(sys.stderr) as display:
        (record,) = execute(request, execution_context(options, store, display))
    if record["artifact"] is None:
        print(f"xbackend: {record['error']['message']}", file=sys.stderr)
        return 3
    found = exposed_layers(store, record)
    print(json.dumps([each.to_dict() for each in found]) if options.json else _text(found, record))
    return 0


def _exact_backend() -> str:
    """Return the word of a backend whose integers are exact."""
    word = next((spec.word for spec in registry.backends() if spec.exact_integers), None)
    if word is None:
        raise UsageError("No installed backend has exact integers; xbackend brings one, 'fixed'.")
    return word


def exposed_layers(store: Store, record: Mapping[str, Any]) -> tuple[SaturationRisk, ...]:
    """Return the exposed layers of a run's model, with what its samples reach.

    That is known of a run in exact integers that kept its layers; of others only what any input
    can reach is.
    """
    rows = [
        row for result in record["results"] for kind in ("inputs", "taps") for row in result[kind]
    ]

    def activations(name: str) -> Iterator[np.ndarray[Any, Any]]:
        return (store.read_tensor(row).array for row in rows if row["name"] == name)

    folder = store.folder / "artifacts" / record["artifact"]["digest"]
    return measure_saturation(read_graph(folder), activations)


def _text(found: Sequence[SaturationRisk], record: Mapping[str, Any]) -> str:
    from tabulate import tabulate

    name = f"{record['model']['name']}, int8"
    name += f", {record['conversion']}" if record["conversion"] else ""
    if not found:
        return f"{name}: no two neighbouring products can be too much for 16 bits."
    head = ["layer", "operator", "farthest for any input", "reached", "elements that overflow"]
    rows = [[e.tap, e.operator, e.possible, *_seen(e)] for e in found]
    table = tabulate(rows, head, disable_numparse=True, colalign=("left", "left", *["right"] * 3))
    return f"{name}: 16 bits hold -32768 to 32767.\n\n{table}\n\n{_verdict(found, record)}"


def _seen(exposure: SaturationRisk) -> tuple[str, str]:
    if exposure.reached is None or exposure.share is None:
        return "?", "?"
    return str(exposure.reached), f"{exposure.share:.3%}" if exposure.share else "none"


def _verdict(found: Sequence[SaturationRisk], record: Mapping[str, Any]) -> str:
    if record["status"] != "ok":
        return f"What the inputs reach is not known: {record['error']['message']}"
    reach = saturation_reach(found)
    unknown = f" Of {', '.join(reach.unknown)} it is not known, as what they read was not recorded."
    said = unknown if reach.unknown else ""
    if reach.over:
        return f"These inputs overflow in {', '.join(reach.over)}.{said}"
    if reach.clear:
        which = "none of the others" if reach.unknown else "none of them"
        return f"These inputs overflow in {which}; others may.{said}"
    return said.strip()

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
from xbackend.preparation.saturation import Exposure, reached
from xbackend.store.store import Store, open_store
from xbackend.worker.graph import read_graph

Record = dict[str, Any]


def saturation(options: argparse.Namespace) -> int:
    """Run the model in exact integers and print its exposed layers; 3 if nothing could be run."""
    from xbackend.commands.commands import means
    from xbackend.execution.execute import carry_out
    from xbackend.execution.progress import progress
    from xbackend.execution.request import Order

    store = open_store(options.store)
    order = Order(
        model=options.model or Order.model,
        backends=(_judge(),),
        inputs=Path(options.inputs) if options.inputs else None,
        precisions=("int8",),
        options=tuple(options.option or ()),
    )
    with progress(sys.stderr) as display:
        (record,) = carry_out(order, means(options, store, display))
    if record["artifact"] is None:
        print(f"xbackend: {record['error']['message']}", file=sys.stderr)
        return 3
    found = reached_in(store, record)
    print(json.dumps([each.document() for each in found]) if options.json else _text(found, record))
    return 0


def _judge() -> str:
    """Return the word of a backend whose integers are exact."""
    word = next((spec.word for spec in registry.backends() if spec.exact), None)
    if word is None:
        raise UsageError("No installed backend has exact integers; xbackend brings one, 'fixed'.")
    return word


def reached_in(store: Store, record: Mapping[str, Any]) -> tuple[Exposure, ...]:
    """Return the exposed layers of a run's model, with what its samples reach.

    That is known of a run in exact integers that kept its layers; of others only what any input
    can reach is.
    """
    rows = [row for result in record["results"] for row in result["taps"]]

    def activations(name: str) -> Iterator[np.ndarray[Any, Any]]:
        return (store.tensor(row).array for row in rows if row["name"] == name)

    folder = store.folder / "artifacts" / record["artifact"]["digest"]
    return reached(read_graph(folder), activations)


def _text(found: Sequence[Exposure], record: Mapping[str, Any]) -> str:
    from tabulate import tabulate

    name = f"{record['model']['name']}, int8"
    name += f", {record['conversion']}" if record["conversion"] else ""
    if not found:
        return f"{name}: no two neighbouring products can be too much for 16 bits."
    head = ["layer", "operator", "farthest for any input", "reached", "elements that overflow"]
    rows = [[e.tap, e.operator, e.possible, *_seen(e)] for e in found]
    table = tabulate(rows, head, disable_numparse=True, colalign=("left", "left", *["right"] * 3))
    return f"{name}: 16 bits hold -32768 to 32767.\n\n{table}\n\n{_verdict(found, record)}"


def _seen(exposure: Exposure) -> tuple[str, str]:
    if exposure.reached is None or exposure.share is None:
        return "?", "?"
    return str(exposure.reached), f"{exposure.share:.3%}" if exposure.share else "none"


def _verdict(found: Sequence[Exposure], record: Mapping[str, Any]) -> str:
    if record["status"] != "ok":
        return f"What the inputs reach is not known: {record['error']['message']}"
    over = [each.tap for each in found if each.share]
    if not over:
        return "These inputs overflow in none of them; others may."
    return f"These inputs overflow in {', '.join(over)}."

"""Runs an int8 model in exact integers, to see what inputs reach in layers that may saturate."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xbackend.errors import UsageError, XbackendError
from xbackend.execution.execute import ExecutionContext, execute
from xbackend.execution.request import RunRequest
from xbackend.plugins import registry
from xbackend.preparation.saturation import SaturationRisk, measure_saturation
from xbackend.store.artifact_files import artifact_folder
from xbackend.store.store import Store
from xbackend.worker.graph import read_graph

Record = dict[str, Any]


@dataclass(frozen=True)
class SaturationReport:
    """Which layers of a model can overflow 16 bits, and how far certain inputs go."""

    layers: tuple[SaturationRisk, ...]
    """The layers that overflow for some input, in graph order."""
    record: Record
    """The run in exact integers; failed where only what any input can reach is known."""

    def __str__(self) -> str:
        """Return the text for a terminal."""
        return registry.renderer("saturation")(self)


def measure_run(request: RunRequest, context: ExecutionContext) -> SaturationReport:
    """Run the request's model in exact integers and return its exposed layers.

    Raises UsageError without a backend that has exact integers, XbackendError where the model
    could not be converted.
    """
    exact = dataclasses.replace(request, backends=(_exact_backend(),), precisions=())
    (record,) = execute(exact, context)
    if record["artifact"] is None:
        raise XbackendError(str(record["error"]["message"]))
    return SaturationReport(exposed_layers(context.store, record), record)


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

    folder = artifact_folder(store, record["artifact"]["digest"])
    return measure_saturation(read_graph(folder), activations)

"""A run as its record tells of it: what a comparison needs, checked when it is read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from xbackend.errors import StoreError
from xbackend.store.packed_results import PackedResults

Record = dict[str, Any]

HARDWARE: Record = {
    "vendor": None,
    "device": None,
    "microarchitecture": None,
    "cores": None,
    "memory_bytes": None,
    "flags": [],
}
"""What is told of the hardware of a run whose worker never said any."""

EXTRAS = (
    "created", "xbackend", "software", "versions", "artifact", "worker", "inputs_digest", "facts",
    "conversion", "export", "saturation", "emulation_unsafe", "emulation_reasons",
)  # fmt: skip
"""Keys of a record that are told as they are, if it has them."""


@dataclass(frozen=True)
class Run:
    """One run: what a comparison tells of it, and the digests that it is compared by."""

    row: Record
    """The keys of the contract and more, JSON values only."""
    layers: tuple[Record, ...]
    """`tap`, `layer`, `operator` and `inputs` of every ONNX value, in graph order."""
    results: Sequence[Record]
    """One for each sample: `input`, `outputs`, `taps`, `taps_neutral`."""

    @property
    def id(self) -> str:
        """The name of its record."""
        return str(self.row["id"])

    @property
    def ok(self) -> bool:
        """Whether it gave outputs that can be compared."""
        return bool(self.row["status"] == "ok" and self.results)

    @property
    def samples(self) -> tuple[str, ...]:
        """The names of its samples."""
        if isinstance(self.results, PackedResults):
            return self.results.template.names
        return tuple(str(result["input"]) for result in self.results)

    @cached_property
    def emulation_unsafe(self) -> frozenset[str]:
        """Names of the tensors whose bits are an emulator's, perhaps not a real processor's."""
        return frozenset(self.row.get("emulation_unsafe") or ())

    @property
    def conversion(self) -> Record:
        """What converters were told, as a key of a group; nothing where they were told nothing."""
        told = self.row.get("conversion")
        return {"conversion": told} if told else {}

    @property
    def inputs_digest(self) -> str:
        """What tells sets of inputs apart; by the tensors where the record does not say."""
        digest = self.row.get("inputs_digest")
        if digest is not None:
            return str(digest)
        tensors = (tensor for result in self.results for tensor in result.get("inputs", ()))
        return " ".join(str(tensor["digest"]) for tensor in tensors)


def read_run(record: Record) -> Run:
    """Take what a comparison needs from a record. Raises StoreError for one that lacks a key."""
    try:
        row = {
            "id": record["id"],
            "model": record["model"]["name"],
            "model_digest": record["model"]["digest"],
            "model_source": record["model"].get("source"),
            **{key: record[key] for key in ("backend", "backend_version", "precision")},
            **{key: record[key] for key in ("settings", "platform", "repeat")},
            "hardware": {**HARDWARE, **record["hardware"]},
            **{key: record[key] for key in ("status", "error", "seconds", "taps_neutral")},
            **{key: record[key] for key in EXTRAS if key in record},
        }
        layers, results = tuple(record["layers"]), tuple(record["results"])
        _check_rows(layers, results)
        return Run(_finite(row), layers, results)
    except KeyError as error:
        raise _unsound(record, f"lacks {error}") from error
    except (TypeError, AttributeError) as error:
        raise _unsound(record, f"is damaged ({error})") from error


def _unsound(record: Record, what: str) -> StoreError:
    return StoreError(
        f"The record of run {record.get('id', 'without id')} {what}: "
        "delete it from the store's runs/ and run again."
    )


def _check_rows(layers: Sequence[Record], results: Sequence[Record]) -> None:
    """Raise KeyError or TypeError where a row lacks what a comparison looks up in it."""
    for layer in layers:
        _ = layer["tap"], layer["layer"], layer["operator"]
    for result in results:
        _ = result["input"]
        for tensor in (*result["outputs"], *result["taps"]):
            _ = tensor["name"], tensor["dtype"], tensor["shape"], tensor["digest"]


def _finite(value: Any) -> Any:
    """Return JSON values with null for the numbers that JSON cannot write."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

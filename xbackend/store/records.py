"""A run as its record tells of it: what a comparison needs, checked when it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from xbackend.errors import StoreError, UsageError
from xbackend.store.escaping import quoted
from xbackend.store.packed_results import PackedResults
from xbackend.store.schema.kinds import Mismatch
from xbackend.store.schema.record import check_record, readable_values

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
    "conversion", "quantizer", "export", "saturation", "emulation_unsafe", "emulation_reasons",
    "samples", "purpose", "kept",
)  # fmt: skip
"""Keys of a record that are told as they are, if it has them."""


KEEP = ("all", "differing", "none")
"""Which tensors of layers a store keeps of a run; their digests stay in its record always."""


@dataclass(frozen=True)
class Run:
    """One run: what a comparison tells of it, and the digests that it is compared by."""

    row: Record
    """The keys of the contract and more, JSON values only."""
    layers: tuple[Record, ...] = field(repr=False)
    """`tap`, `layer`, `operator` and `inputs` of every ONNX value, in graph order."""
    results: Sequence[Record] = field(repr=False)
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
    def purpose(self) -> str:
        """What a command made it for, such as `mitigation`; empty for a run of the user's own."""
        return str(self.row.get("purpose") or "")

    @property
    def kept(self) -> str:
        """Which of its layers' tensors the store still has, see `KEEP`."""
        return str(self.row.get("kept") or "all")

    def check_kept(self) -> None:
        """Raise UsageError where the store no longer has all tensors of its layers."""
        if self.kept != "all":
            what = "only those that differed" if self.kept == "differing" else "none"
            raise UsageError(
                f"Of the layers of run {self.id} the store was told to keep {what}. Repeat it with "
                "--fresh."
            )

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


def read_run(record: Record, file: Path | None = None) -> Run:
    """Take what a comparison needs from a record, which was read from `file` if from any.

    Raises StoreError, which names the file, for a record that the schema does not allow.
    """
    try:
        check_record(record)
        if file is not None and file.stem != record["id"]:
            raise Mismatch(f"'id' is '{record['id']}', which is not the file's name")
    except Mismatch as error:
        raise _unsound(record, file, error) from error
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
    return Run(readable_values(row), tuple(record["layers"]), tuple(record["results"]))


def _unsound(record: Record, file: Path | None, error: Mismatch) -> StoreError:
    where = file or f"The record of run {quoted(str(record.get('id', '')))}"
    return StoreError(
        f"{where} is not a sound record of a run: {error}. "
        "Delete it from the store's runs/ and run again."
    )

"""Distances between tensors of a store, each set of them measured once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from xbackend.errors import MissingObjectError
from xbackend.numerics.blocks import FileBlocks, blocks_of_file
from xbackend.numerics.label_flips import label_flips
from xbackend.numerics.metrics import Metrics, identical_metrics, measure
from xbackend.numerics.pair_metrics import PairMetrics, measure_pair
from xbackend.numerics.partition import partition
from xbackend.store.records import Run
from xbackend.store.schema.record import byte_count
from xbackend.store.store import Store

Record = dict[str, Any]
Key = tuple[tuple[str, str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Measurement:
    """What is known of the representatives of some classes."""

    metrics: Metrics
    remaining_to_first: tuple[int | None, ...] = ()
    """For each class, the mantissa bits that it shares with class 1."""
    flips: tuple[bool, ...] = ()
    """For each class, whether a label is not that of class 1."""
    is_measured: bool = True
    """Whether the store has the bytes; if not, all distances are None."""


UNKNOWN = Measurement(Metrics(None, None, None, None), is_measured=False)
"""Of tensors that are not kept: other bits, as their digests say, and nothing is known of them."""


@dataclass
class Measurer:
    """Reads tensors of a store, checks each once against its digest, remembers what was found."""

    store: Store
    partial: bool = False
    """Whether runs keep only some of their tensors, so that one which is not there is no fault."""
    checked: set[str] = field(default_factory=set)
    metrics: dict[Key, Metrics] = field(default_factory=dict)
    measured: dict[Key, Measurement] = field(default_factory=dict)
    pairs: dict[Key, PairMetrics | None] = field(default_factory=dict)

    @classmethod
    def of(cls, store: Store, runs: Iterable[Run]) -> Measurer:
        """Return what measures the tensors of some runs, which may keep only some of them."""
        return cls(store, any(run.kept != "all" for run in runs))

    def measure_tap(self, rows: Sequence[Record]) -> Measurement:
        """Measure one tensor of each class, given by dtype, shape and digest.

        Raises StoreError for a damaged one, and for one that is lost and should not be.
        """
        try:
            return Measurement(self._metrics(rows))
        except MissingObjectError:
            if not self.partial:
                raise
            return UNKNOWN

    def measure_outputs(self, rows: Sequence[Record]) -> Measurement:
        """Measure one output of each class, with what each shares with class 1."""
        key = _key(rows)
        if key not in self.measured:
            self.measured[key] = self._measure_outputs(rows)
        return self.measured[key]

    def measure_pair(self, one: Record, other: Record) -> PairMetrics | None:
        """Measure two tensors with everything that is known; None where they do not fit.

        None, too, where one of them is not kept.
        """
        key = _key((one, other))
        if key not in self.pairs:
            self.pairs[key] = self._measure_pair(one, other)
        return self.pairs[key]

    def _measure_pair(self, one: Record, other: Record) -> PairMetrics | None:
        try:
            return measure_pair(self._open(one), self._open(other))
        except MissingObjectError:
            if not self.partial:
                raise
            return None

    def _measure_outputs(self, rows: Sequence[Record]) -> Measurement:
        whole = identical_metrics(rows[0]["dtype"]).remaining_precision
        if len(rows) == 1:
            return Measurement(self._metrics(rows), (whole,), (False,))
        tensors = [self._open(row) for row in rows]
        shared = partition(tensors).shared_bits
        return Measurement(self._metrics(rows), shared, tuple(label_flips(tensors)))

    def _metrics(self, rows: Sequence[Record]) -> Metrics:
        """Return the metrics; one class alone is identical, and no tensor is read."""
        if len(rows) == 1:
            return identical_metrics(rows[0]["dtype"])
        key = _key(rows)
        if key not in self.metrics:
            self.metrics[key] = measure([self._open(row) for row in rows])
        return self.metrics[key]

    def _open(self, row: Record) -> FileBlocks:
        digest = row["digest"]
        if digest not in self.checked:
            self.store.verify_object(digest, byte_count(row))
            self.checked.add(digest)
        return blocks_of_file(self.store.object_path(digest), row["dtype"], tuple(row["shape"]))


def _key(rows: Sequence[Record]) -> Key:
    return tuple((row["digest"], row["dtype"], tuple(row["shape"])) for row in rows)

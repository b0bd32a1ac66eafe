"""How many labels are right, of runs whose samples have labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from xbackend.comparison.summary import Summary
from xbackend.numerics.label_flips import argmax_label, has_label
from xbackend.store.records import Run
from xbackend.store.store import Store


@dataclass(frozen=True)
class LabelAccuracy:
    """How many samples some runs, of one row of a report, put into the right class."""

    runs: tuple[str, ...]
    """Their ids."""
    tap: str
    """The output whose label it is: the first that is a row of scores."""
    right: int
    labelled: int
    """The samples that these runs computed and that have a label."""

    def to_dict(self) -> Mapping[str, Any]:
        """Return an entry of `label_accuracy` of a section in the JSON report."""
        return {**asdict(self), "runs": list(self.runs)}


def label_accuracies(summary: Summary, store: Store) -> tuple[LabelAccuracy, ...]:
    """Return the accuracy of each row of runs; nothing where no sample has a label.

    Reads outputs from the store. Raises StoreError for a damaged one.
    """
    labels = _labels(summary)
    if not labels:
        return ()
    by_id = {run.id: run for run in summary.cohort.runs}
    known: dict[str, int] = {}
    found = (_accuracy(row.ids, by_id[row.ids[0]], labels, store, known) for row in summary.rows)
    return tuple(each for each in found if each is not None)


def _labels(summary: Summary) -> dict[str, int]:
    """Return the right classes by the sample's name, as the last run tells them."""
    found: dict[str, int] = {}
    for run in summary.cohort.runs:
        found.update((run.row.get("samples") or {}).get("labels") or {})
    return found


def _accuracy(
    ids: tuple[str, ...],
    run: Run,
    labels: Mapping[str, int],
    store: Store,
    known: dict[str, int],
) -> LabelAccuracy | None:
    tap, right, count = "", 0, 0
    for result in run.results:
        scores = [row for row in result["outputs"] if has_label(row["dtype"], row["shape"])]
        if result["input"] not in labels or not scores:
            continue
        row = scores[0]
        if row["digest"] not in known:
            known[row["digest"]] = argmax_label(store.read_tensor(row))
        tap, count = str(row["name"]), count + 1
        right += known[row["digest"]] == labels[result["input"]]
    return LabelAccuracy(ids, tap, right, count) if count else None

"""Sections: the runs that can be compared at all, of one model, precision and set of inputs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from xbackend.store.query import value_of
from xbackend.store.records import Run

Record = dict[str, Any]


@dataclass(frozen=True)
class Cohort:
    """The runs that can be compared at all: one model, one precision, one set of inputs."""

    group: Record
    """`model_digest`, `precision`, `conversion` where converters were told something, `quantizer`
    where several chose scales, and the keys that were asked for, with their values."""
    model: str
    inputs_digest: str
    runs: tuple[Run, ...] = field(repr=False)
    """Those that gave outputs, in the store's order."""
    files: tuple[tuple[str, str], ...] = ()
    """Where runs of different files are one section: each run's id, and what its file is called."""

    @property
    def key(self) -> str:
        """What only tells sections apart."""
        return json.dumps([self.group, self.inputs_digest], sort_keys=True)


def cohorts(runs: Iterable[Run], group_by: Sequence[str]) -> list[Cohort]:
    """Put the runs that gave outputs into sections, ordered by their first run.

    Models that different converters quantized have other scales, so they are other functions.
    """
    found: dict[str, list[Run]] = {}
    for run in runs:
        if run.ok:
            key = json.dumps([_group(run, group_by), run.inputs_digest], sort_keys=True)
            found.setdefault(key, []).append(run)
    return [
        Cohort({**_group(of[0], group_by), **more}, of[0].row["model"], of[0].inputs_digest, of)
        for together in found.values()
        for more, of in _by_quantizer(together)
    ]


def _by_quantizer(runs: Sequence[Run]) -> list[tuple[Record, tuple[Run, ...]]]:
    """Tell runs apart by who chose their scales, where that is not the same for all."""
    found: dict[str | None, list[Run]] = {}
    for run in runs:
        found.setdefault(run.row.get("quantizer"), []).append(run)
    if len(found) == 1:
        return [({}, tuple(runs))]
    return [({"quantizer": name}, tuple(of)) for name, of in found.items()]


def number_format(group: Record) -> str:
    """Return a group's precision in words, with what the converters were told.

    >>> number_format({"precision": "int8", "conversion": "onnx_to_int8.weight=uint8"})
    'int8, onnx_to_int8.weight=uint8'
    """
    return ", ".join([group["precision"], *filter(None, [group.get("conversion")])])


def _group(run: Run, group_by: Sequence[str]) -> Record:
    conversion = ["conversion"] if value_of(run, "conversion") else []
    keys = dict.fromkeys(["model_digest", "precision", *conversion, *group_by])
    return {key: value_of(run, key) for key in keys}


def sample_names(runs: Sequence[Run]) -> list[str]:
    """Return the names of all samples, as they are first met."""
    return list(dict.fromkeys(name for run in runs for name in run.samples))

"""Which runs recorded the same bits, tensor by tensor: arrays over all runs of a cohort.

Digests of all runs stand in matrices, one for each way in which runs recorded, and a tensor's
classes are a grouping of a column. So a million digests take a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from xbackend.store.packed_results import (
    SIZE,
    PackedResults,
    ResultsTemplate,
    extra_of_sample,
    results_key,
)
from xbackend.store.records import Run

Record = dict[str, Any]
Array = np.ndarray[Any, Any]
WORDS = SIZE // 8
"""Integers of 64 bits in a digest."""
NO_CLASS = -1
"""The label of a run that has no such tensor."""


@dataclass(frozen=True)
class DigestMatrix:
    """Runs that recorded the same tensors of the same samples."""

    template: ResultsTemplate
    places: Array
    """Where the runs stand in the cohort."""
    words: Array
    """Digests as integers: run by tensor by word."""


class Digests:
    """The digests of all runs of a cohort."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = runs
        self.stacks = _stacks(runs)

    def sample(self, name: str) -> SampleDigests:
        """Return one sample's."""
        return SampleDigests(self, name)


def _stacks(runs: Sequence[Run]) -> tuple[DigestMatrix, ...]:
    templates: dict[str, ResultsTemplate] = {}
    places: dict[str, list[int]] = {}
    parts: dict[str, list[bytes]] = {}
    for place, run in enumerate(runs):
        template, digests = results_key(run.results)
        templates.setdefault(template.text, template)
        places.setdefault(template.text, []).append(place)
        parts.setdefault(template.text, []).append(digests)
    return tuple(
        DigestMatrix(template, np.array(places[text]), _matrix(parts[text]))
        for text, template in templates.items()
    )


def _matrix(parts: Sequence[bytes]) -> Array:
    flat = np.frombuffer(b"".join(parts), np.uint64)
    return flat.reshape(len(parts), len(parts[0]) // SIZE, WORDS)


@dataclass(frozen=True)
class SampleDigests:
    """The digests of one sample."""

    digests: Digests
    name: str

    @cached_property
    def computed(self) -> Array:
        """Whether a run has the sample, run by run."""
        found = np.zeros(len(self.digests.runs), bool)
        for stack in self.stacks:
            found[stack.places] = True
        return found

    @cached_property
    def stacks(self) -> tuple[DigestMatrix, ...]:
        """Those whose runs have the sample."""
        return tuple(each for each in self.digests.stacks if self.name in each.template.names)

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """Names of all outputs, as they are first met."""
        return self._names("outputs")

    @cached_property
    def taps(self) -> tuple[str, ...]:
        """Names of all taps, as they are first met."""
        return self._names("taps")

    def _names(self, kind: str) -> tuple[str, ...]:
        found = (name for each in self.stacks for name in each.template.places(self.name, kind))
        return tuple(dict.fromkeys(found))

    def has(self, stack: DigestMatrix, name: str) -> bool:
        """Tell whether the runs of a stack recorded a tensor, or were given it."""
        return self._column(stack, name) is not None

    def _column(self, stack: DigestMatrix, name: str) -> int | None:
        """Return where a tensor's digests stand: an output's is that of the untapped inference."""
        for kind in ("outputs", "taps", "inputs"):
            place = stack.template.places(self.name, kind).get(name)
            if place is not None:
                return place
        return None

    def labels(self, name: str) -> Array:
        """Return a tensor's class for each run, from 0 by first appearance; -1 without it."""
        if name not in self._labels:
            self._labels[name] = self._label(name)
        return self._labels[name]

    @cached_property
    def _labels(self) -> dict[str, Array]:
        return {}

    def _label(self, name: str) -> Array:
        words = np.zeros((len(self.digests.runs), WORDS), np.uint64)
        having = np.zeros(len(words), bool)
        for stack in self.stacks:
            column = self._column(stack, name)
            if column is not None:
                words[stack.places] = stack.words[:, column]
                having[stack.places] = True
        labels = np.full(len(words), NO_CLASS)
        labels[having] = label_rows(words[having])
        return labels

    @cached_property
    def not_neutral(self) -> Array:
        """Whether recording changed the bits of a run's outputs, run by run."""
        found = np.zeros(len(self.digests.runs), bool)
        for place in np.flatnonzero(self.computed).tolist():
            run = self.digests.runs[place]
            said = extra_of_sample(run.results, self.name)
            found[place] = said.get("taps_neutral", run.row["taps_neutral"]) is False
        return found

    def record(self, name: str, place: int) -> Record:
        """Return a tensor of one run as it is recorded: name, dtype, shape and digest."""
        results = self.digests.runs[place].results
        if isinstance(results, PackedResults):
            places = [results.template.places(self.name, kind) for kind in ("outputs", "taps")]
            return results.tensor(next(each[name] for each in places if name in each))
        result = next(each for each in results if str(each["input"]) == self.name)
        rows = {row["name"]: row for row in (*result["taps"], *result["outputs"])}
        return dict(rows[name])


def label_rows(words: Array) -> Array:
    """Return the class of each row, from 0 by first appearance; equal rows are one class.

    Rows are told apart by their first word, as two digests that differ hardly ever share it;
    where some do, by all words.

    >>> label_rows(np.array([[7, 1], [9, 1], [7, 1], [7, 2]])).tolist()
    [0, 1, 0, 2]
    """
    _, first, inverse = np.unique(words[:, 0], return_index=True, return_inverse=True)
    if not np.array_equal(words[first[inverse]], words):
        _, first, inverse = np.unique(words, axis=0, return_index=True, return_inverse=True)
    return _by_appearance(first, inverse.reshape(-1))


def combine_labels(labels: Sequence[Array]) -> Array:
    """Return the class of each run by several tensors together, from 0 by first appearance.

    >>> combine_labels([np.array([0, 0, 1]), np.array([0, 1, 1])]).tolist()
    [0, 1, 2]
    """
    found = np.zeros(len(labels[0]), np.int64)
    for each in labels:
        span = int(each.max(initial=0)) + 1
        _, first, inverse = np.unique(found * span + each, return_index=True, return_inverse=True)
        found = _by_appearance(first, inverse)
    return found


def combine_known_labels(labels: Sequence[Array]) -> Array:
    """Return the class of each run by several tensors together, a gap setting nobody apart.

    A run that lacks a tensor, -1, is not told from another by it: it joins the first class of no
    member of which it is seen to differ.

    >>> combine_known_labels([np.array([0, 0, 1]), np.array([0, -1, -1])]).tolist()
    [0, 0, 1]
    """
    if not labels:
        return np.zeros(0, np.int64)
    if all(int(each.min(initial=0)) >= 0 for each in labels):
        return combine_labels(labels)
    table = np.stack(labels, axis=1)
    _, first, inverse = np.unique(table, axis=0, return_index=True, return_inverse=True)
    pattern = _by_appearance(first, inverse.reshape(-1))
    found: list[list[Array]] = []
    classes = [_join(found, table[place]) for place in np.sort(first).tolist()]
    return np.array(classes, np.int64)[pattern]


def _join(found: list[list[Array]], row: Array) -> int:
    """Put a row into the first class whose members agree where both are known; return which."""
    for number, rows in enumerate(found):
        there = np.stack(rows)
        if not ((there != row) & (there >= 0) & (row >= 0)).any():
            rows.append(row)
            return number
    found.append([row])
    return len(found) - 1


def _by_appearance(first: Array, inverse: Array) -> Array:
    """Return the groups numbered by where they first appear."""
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    ranked: Array = rank[inverse]
    return ranked


def members(labels: Array) -> list[Array]:
    """Return the places of each class, in order; those without a label are in none.

    >>> [places.tolist() for places in members(np.array([0, -1, 1, 0]))]
    [[0, 3], [2]]
    """
    places = np.argsort(labels, kind="stable")
    counts = np.bincount(labels + 1, minlength=1)
    return np.split(places, np.cumsum(counts)[:-1])[1:]


def class_count(labels: Array) -> int:
    """Return the number of classes."""
    return int(labels.max(initial=NO_CLASS)) + 1


class RunIdClasses:
    """The ids of runs by class, the same tuples for the same classes."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.names = [run.id for run in runs]
        self.known: dict[bytes, tuple[tuple[str, ...], ...]] = {}

    def classes(self, labels: Array) -> tuple[tuple[str, ...], ...]:
        """Return the ids of each class."""
        key = labels.tobytes()
        if key not in self.known:
            self.known[key] = tuple(self.at(places) for places in members(labels))
        return self.known[key]

    def at(self, places: Array) -> tuple[str, ...]:
        """Return the ids of some runs."""
        return tuple(self.names[place] for place in places.tolist())

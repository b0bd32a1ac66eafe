"""Where classes are born and where they collapse: those of a layer against those of its inputs.

Runs whose inputs of a layer have the same bits and whose outputs do not were parted by the layer's
own arithmetic: classes are *born*. Runs whose inputs differ and whose outputs have the same bits
were joined: classes *collapse*. With both counted, classes after = before + born - collapsed.

What a layer reads is an edge of the graph. Where a run did not record what is read, the layers that
compute it count as part of this one, back to tensors that it did record; where edges are not known
nothing is said. Only runs that get to a tensor by the same layers are held against each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xbackend.comparison.equivalence import (
    Array,
    DigestMatrix,
    RunIdClasses,
    SampleDigests,
    class_count,
    combine_labels,
)
from xbackend.store.records import Run

Record = dict[str, Any]


@dataclass(frozen=True)
class ClassChange:
    """What a layer did to the classes of one sample."""

    born: int | None = None
    """How many classes its own arithmetic added; None where no two runs can be held together."""
    collapsed: int | None = None
    """How many classes of its inputs it joined with others."""
    born_by_emulation: int = 0
    """How many of those born rest on emulated operators that are not faithful."""
    through: tuple[str, ...] = ()
    """Layers before it that some run did not record and that are counted with it."""
    unknown: tuple[str, ...] = ()
    """Ids of runs of which it is not known what the layer read."""
    compared_within_subgraphs: bool = False
    """Whether runs got to the tensor in several ways, and were held together within each only."""

    def to_dict(self) -> Record:
        """Return keys of an entry of `comparisons`."""
        return {
            "classes_born": self.born,
            "classes_collapsed": self.collapsed,
            "born_by_emulation": self.born_by_emulation,
            "born_through": list(self.through),
            "origin_unknown": list(self.unknown),
            "origin_apart": self.compared_within_subgraphs,
        }


@dataclass(frozen=True)
class Subgraph:
    """How runs get to a tensor from tensors that they recorded."""

    operator: str
    reads: tuple[str, ...]
    """Names of recorded tensors, or of the model's inputs, sorted."""
    through: tuple[str, ...] = ()
    """Names of layers between that were not recorded."""
    operators: frozenset[str] = frozenset()
    """Those of this layer and of the layers between."""


@dataclass(frozen=True)
class GraphRuns:
    """Runs of one graph that recorded the same tensors."""

    places: Array
    stack: DigestMatrix
    layers: Mapping[str, Record]
    """By tap."""
    subgraphs: dict[str, Subgraph | None] = field(default_factory=dict)


class ClassChanges:
    """The origins of all tensors of one sample."""

    def __init__(
        self, sample: SampleDigests, runs: Sequence[Run], not_neutral: Array, ids: RunIdClasses
    ) -> None:
        self.sample = sample
        self.not_neutral = not_neutral
        self.ids = ids
        self.groups = list(_groups(sample, runs))
        self.unfaithful = {
            place: frozenset(run.row.get("emulation_reasons") or ())
            for place, run in enumerate(runs)
            if run.row.get("emulation_reasons")
        }

    def of(self, tap: str) -> ClassChange:
        """Return what the layer that computes a tensor did."""
        subgraphs: dict[Subgraph, list[Array]] = {}
        unknown = []
        labels = self.sample.labels(tap)
        for group in self.groups:
            here = group.places[labels[group.places] >= 0]
            subgraph = self._subgraph(group, tap)
            if subgraph is None:
                unknown.append(here)
                continue
            sound = here[~self.not_neutral[here]] if self._crosses(tap, subgraph) else here
            unknown.append(np.setdiff1d(here, sound))
            subgraphs.setdefault(subgraph, []).append(sound)
        found = {subgraph: _merge(parts) for subgraph, parts in subgraphs.items()}
        known = {subgraph: places for subgraph, places in found.items() if places.size}
        return self._origin(tap, known, _merge(unknown))

    def _origin(self, tap: str, subgraphs: Mapping[Subgraph, Array], unknown: Array) -> ClassChange:
        known = sum(places.size for places in subgraphs.values())
        told = any(places.size > 1 for places in subgraphs.values()) or (
            known == 1 and not unknown.size
        )
        if not told:
            return ClassChange(
                unknown=self.ids.at(unknown), compared_within_subgraphs=len(subgraphs) > 1
            )
        counts = [self._counts(tap, subgraph, places) for subgraph, places in subgraphs.items()]
        sure = [
            self._counts(tap, subgraph, self._faithful(subgraph, each))[0]
            for subgraph, each in subgraphs.items()
        ]
        through = dict.fromkeys(name for subgraph in subgraphs for name in subgraph.through)
        born = sum(each for each, _ in counts)
        return ClassChange(
            born=born,
            collapsed=sum(each for _, each in counts),
            born_by_emulation=born - sum(sure),
            through=tuple(through),
            unknown=self.ids.at(unknown),
            compared_within_subgraphs=len(subgraphs) > 1,
        )

    def _counts(self, tap: str, subgraph: Subgraph, places: Array) -> tuple[int, int]:
        """Return how many classes are born among some runs, and how many collapse."""
        labels = [self.sample.labels(name)[places] for name in (tap, *subgraph.reads)]
        if all(bool((each == each[:1]).all()) for each in labels):
            return 0, 0
        after = combine_labels(labels[:1])
        before = combine_labels([np.zeros_like(places), *labels[1:]])
        both = class_count(combine_labels([before, after]))
        return both - class_count(before), both - class_count(after)

    def _faithful(self, subgraph: Subgraph, places: Array) -> Array:
        """Return the runs on which every operator of a subgraph is a real processor's."""
        nothing: frozenset[str] = frozenset()
        keep = [not subgraph.operators & self.unfaithful.get(p, nothing) for p in places.tolist()]
        return places[keep] if self.unfaithful else places

    def _crosses(self, tap: str, subgraph: Subgraph) -> bool:
        """Tell whether it leads between the tapped inference and the untapped one."""
        return any(name in self.sample.outputs for name in (tap, *subgraph.reads))

    def _subgraph(self, group: GraphRuns, tap: str) -> Subgraph | None:
        if tap not in group.subgraphs:
            group.subgraphs[tap] = _trace(self.sample, group, tap)
        return group.subgraphs[tap]


def _merge(parts: Sequence[Array]) -> Array:
    """Return the places of all parts in order."""
    return np.sort(np.concatenate([np.empty(0, int), *parts]))


def _trace(sample: SampleDigests, group: GraphRuns, tap: str) -> Subgraph | None:
    """Follow edges back to what was recorded; None where one is not known."""
    reads, operators = set(), set()
    through: dict[str, None] = {}
    pending = [tap]
    while pending:
        name = pending.pop()
        row = group.layers.get(name)
        if row is None or row.get("inputs") is None:
            return None
        operators.add(str(row["operator"]))
        for read in row["inputs"]:
            if sample.has(group.stack, read):
                reads.add(read)
            elif read not in through:
                through[read] = None
                pending.append(read)
    operator = str(group.layers[tap]["operator"])
    return Subgraph(operator, tuple(sorted(reads)), tuple(through), frozenset(operators))


def _groups(sample: SampleDigests, runs: Sequence[Run]) -> Iterator[GraphRuns]:
    """Put the runs of each stack together by their graph."""
    texts: dict[int, str] = {}
    known: dict[str, Mapping[str, Record]] = {}
    for stack in sample.stacks:
        found: dict[str, list[int]] = {}
        for place in stack.places.tolist():
            layers = runs[place].layers
            if id(layers) not in texts:
                texts[id(layers)] = json.dumps(layers, sort_keys=True)
            text = texts[id(layers)]
            known.setdefault(text, {str(row["tap"]): row for row in layers})
            found.setdefault(text, []).append(place)
        for text, places in found.items():
            yield GraphRuns(np.array(places), stack, known[text])

"""Makes one section of runs of different files with the same inputs and outputs of one shape."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xbackend.comparison.across.files import AcrossSection, FileLayers, ModelFile, model_files
from xbackend.comparison.across.matching import (
    NAME,
    PART,
    VALUES,
    LayerMatch,
    match_layers,
    taps_of,
)
from xbackend.comparison.across.tensors import Step, TensorReader
from xbackend.comparison.across.weights import compare_weights
from xbackend.comparison.compare import compare_cohorts, compare_runs
from xbackend.comparison.comparison import Comparison
from xbackend.numerics.alignment import Perm, distance, perms
from xbackend.store.cohort import Cohort, cohorts
from xbackend.store.query import value_of
from xbackend.store.records import Record, Run
from xbackend.store.store import Store

Turn = tuple[str, Perm | None, Step | None]
"""What a tensor is called in the section, its order of axes, and what its integers stand for."""


def compare_across(store: Store, runs: Sequence[Run], group_by: Sequence[str] = ()) -> Comparison:
    """Compare runs, those of different files with one another where they fit.

    They fit if they computed a sample with the same inputs, in whatever order of axes, in one
    precision, and as many outputs of the same shapes. Raises StoreError for a damaged tensor.
    """
    reader = TensorReader(store)
    sections: list[Cohort] = []
    facts: list[AcrossSection] = []
    for group in _groups([run for run in runs if run.ok], group_by, reader):
        if len({str(each.run.row["model_digest"]) for each in group}) == 1:
            sections += cohorts([each.run for each in group], group_by)
            continue
        cohort, fact = _section(group, group_by, reader)
        sections.append(cohort)
        facts.append(fact)
    found = compare_cohorts(store, runs, sections)
    return dataclasses.replace(found, across=tuple(facts))


def compare_what_can_be(
    store: Store, runs: Sequence[Run], group_by: Sequence[str] = ()
) -> Comparison:
    """Compare runs of one model with each other, and across files where nothing else can be."""
    found = compare_runs(store, runs, group_by)
    alone = all(len(sample.cohort.runs) < 2 for sample in found.samples)
    models = {str(run.row["model_digest"]) for run in runs if run.ok}
    return compare_across(store, runs, group_by) if alone and len(models) > 1 else found


@dataclass(frozen=True)
class Member:
    """A run of a group, and how its samples and outputs are those of the group's first."""

    run: Run
    samples: Mapping[str, str]
    """Its samples' names to those of the first run."""
    outputs: Mapping[str, tuple[str, Perm | None]] = field(default_factory=dict)
    """Its outputs' names to those of the first run, with the order of axes."""


def _groups(
    runs: Sequence[Run], group_by: Sequence[str], reader: TensorReader
) -> list[list[Member]]:
    groups: list[list[Member]] = []
    keys = ["precision", *group_by]
    for run in runs:
        for group in groups:
            first = group[0].run
            if all(value_of(first, key) == value_of(run, key) for key in keys):
                member = _member(first, run, reader)
                if member is not None:
                    group.append(member)
                    break
        else:
            names = {name: name for name in run.samples}
            groups.append([Member(run, names, _own_outputs(run))])
    return groups


def _own_outputs(run: Run) -> dict[str, tuple[str, Perm | None]]:
    """Return a run's outputs as they are."""
    return {str(row["name"]): (str(row["name"]), None) for row in run.results[0]["outputs"]}


def _member(first: Run, run: Run, reader: TensorReader) -> Member | None:
    """Return how a run belongs to the group of another one; None where it does not."""
    if first.row["model_digest"] == run.row["model_digest"]:
        same = first.inputs_digest == run.inputs_digest and first.conversion == run.conversion
        own = {name: name for name in run.samples}
        return Member(run, own, _own_outputs(run)) if same else None
    samples = _same_samples(first, run, reader)
    outputs = _same_outputs(first, run, samples, reader) if samples else None
    return None if not outputs else Member(run, samples, outputs)


def _same_samples(first: Run, run: Run, reader: TensorReader) -> dict[str, str]:
    """Return the samples with the same inputs, by the names of the second and of the first."""
    left: dict[str, list[str]] = {}
    for name, key in _input_keys(first, reader):
        left.setdefault(key, []).append(name)
    found = {}
    for name, key in _input_keys(run, reader):
        if left.get(key):
            found[name] = left[key].pop(0)
    return found


def _input_keys(run: Run, reader: TensorReader) -> list[tuple[str, str]]:
    """Return for each sample what runs with the same inputs share."""
    found = []
    for result in run.results:
        rows = result.get("inputs") or ()
        parts = [reader.content_key(row) for row in rows] if rows else [run.inputs_digest]
        extra = [] if rows else [str(result["input"])]
        found.append((str(result["input"]), json.dumps([*sorted(parts), *extra])))
    return found


def _same_outputs(
    first: Run, run: Run, samples: Mapping[str, str], reader: TensorReader
) -> dict[str, tuple[str, Perm | None]] | None:
    """Return which output is which: of one name, else of one place; None where shapes differ."""
    theirs_name = next(iter(samples))
    ours = _rows_of(first, samples[theirs_name])
    theirs = _rows_of(run, theirs_name)
    if len(ours) != len(theirs):
        return None
    named = {name: name for name in theirs if name in ours}
    rest = [name for name in ours if name not in named]
    named |= dict(zip((name for name in theirs if name not in named), rest, strict=True))
    found = {}
    for name, mine in named.items():
        orders = list(perms(theirs[name]["shape"], ours[mine]["shape"]))
        if not orders:
            return None
        found[name] = (mine, _nearest(reader, theirs[name], ours[mine], orders))
    return found


def _rows_of(run: Run, sample: str) -> dict[str, Record]:
    result = next(each for each in run.results if str(each["input"]) == sample)
    return {str(row["name"]): row for row in result["outputs"]}


def _nearest(
    reader: TensorReader, theirs: Record, ours: Record, orders: Sequence[Perm | None]
) -> Perm | None:
    if len(orders) == 1:
        return orders[0]
    pair = ([reader.reals(theirs, None)], [reader.reals(ours, None)])
    return min(orders, key=lambda perm: distance(*pair, perm, True))


def _section(
    group: Sequence[Member], group_by: Sequence[str], reader: TensorReader
) -> tuple[Cohort, AcrossSection]:
    """Return the cohort of runs of several files, under the names of the first."""
    runs = [each.run for each in group]
    files = model_files(runs)
    members = {file.digest: [m for m in group if m.run.id in file.runs] for file in files}
    ours = members[files[0].digest]
    layers, weights, turned = [], [], {}
    for file in files:
        matches = _matches(ours, members[file.digest], reader, file is files[0])
        for member in members[file.digest]:
            turned[member.run.id] = _renamed(member, matches, ours[0].run, reader)
        if file is not files[0]:
            layers.append(_file_layers(file, members[file.digest], matches))
            weights.append(compare_weights(ours[0].run, members[file.digest][0].run, reader, runs))
    first = runs[0]
    cohort = Cohort(
        {
            "model_digest": "+".join(file.digest for file in files),
            **{key: value_of(first, key) for key in ("precision", *group_by)},
        },
        ", ".join(file.name for file in files),
        first.inputs_digest,
        tuple(turned[run.id] for run in runs),
        tuple((name, file.name) for file in files for name in file.runs),
    )
    return cohort, AcrossSection(cohort.key, files, tuple(layers), tuple(weights))


def _matches(
    ours: Sequence[Member], theirs: Sequence[Member], reader: TensorReader, first: bool
) -> tuple[LayerMatch, ...]:
    """Return how the layers of a file are matched with those of the first."""
    steps = reader.steps(theirs[0].run)
    if first:
        names = {str(row["name"]) for each in ours for r in each.run.results for row in r["taps"]}
        return tuple(LayerMatch(name, name, None, steps.get(name), NAME) for name in sorted(names))
    shared = dict(theirs[0].samples)
    alike = [each for each in theirs if dict(each.samples) == shared]
    wanted = list(shared.values())
    mine = [each for each in ours if set(wanted) <= set(each.run.samples)]
    return match_layers(
        taps_of([each.run for each in mine], reader, [wanted for _ in mine]),
        taps_of([each.run for each in alike], reader, [list(shared) for _ in alike]),
        reader,
    )


def _file_layers(
    file: ModelFile, members: Sequence[Member], matches: Sequence[LayerMatch]
) -> FileLayers:
    outputs = {name for each in members for name in each.outputs}
    matched = {match.theirs for match in matches}
    recorded = dict.fromkeys(
        str(row["name"]) for each in members for r in each.run.results for row in r["taps"]
    )
    counts = {by: sum(match.by == by for match in matches) for by in (NAME, VALUES, PART)}
    return FileLayers(
        file=file,
        by_name=counts[NAME],
        by_values=counts[VALUES],
        by_part=counts[PART],
        left_out=tuple(name for name in recorded if name not in matched and name not in outputs),
        turned=sum(match.perm is not None for match in matches),
        integers=sum(match.step is not None for match in matches),
    )


def _renamed(
    member: Member, matches: Sequence[LayerMatch], first: Run, reader: TensorReader
) -> Run:
    """Return a run under the names, and in the layout, of the first file."""
    steps = reader.steps(member.run)
    turns: dict[str, Turn] = {m.theirs: (m.ours, m.perm, m.step) for m in matches}
    outputs: dict[str, Turn] = {
        name: (ours, perm, steps.get(name)) for name, (ours, perm) in member.outputs.items()
    }
    turns |= outputs
    results = [
        _result(result, member.samples[str(result["input"])], turns, outputs, reader)
        for result in member.run.results
        if str(result["input"]) in member.samples
    ]
    row: dict[str, Any] = dict(member.run.row)
    if row.get("emulation_unsafe"):
        row["emulation_unsafe"] = [
            turns[name][0] for name in row["emulation_unsafe"] if name in turns
        ]
    return Run(row, first.layers, results)


def _result(
    result: Record,
    sample: str,
    turns: Mapping[str, Turn],
    outputs: Mapping[str, Turn],
    reader: TensorReader,
) -> Record:
    return {
        **result,
        "input": sample,
        "outputs": [_tensor(row, outputs[str(row["name"])], reader) for row in result["outputs"]],
        "taps": [
            _tensor(row, turns[str(row["name"])], reader)
            for row in result["taps"]
            if str(row["name"]) in turns and reader.has(row)
        ],
    }


def _tensor(row: Record, turn: Turn, reader: TensorReader) -> Record:
    name, perm, step = turn
    return {"name": name, **reader.derived(row, perm, step)}

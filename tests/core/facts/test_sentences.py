"""Every sentence on a cohort against an oracle that counts by itself, on random comparisons.

`XBACKEND_DRAWS=300000 pytest tests/core/facts/test_sentences.py` draws more of them.
"""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.summary import summaries
from xbackend.facts.changes import change_facts
from xbackend.facts.cohorts import facts_of
from xbackend.facts.gates import gate_failures, parse_gate
from xbackend.facts.outcome import count_runs
from xbackend.reports import answer, explain, terminal
from xbackend.reports.wording import sentences
from xbackend.store.records import Run
from xbackend.store.store import Store
from xbackend.testing.random_comparisons import (
    SAMPLES,
    Array,
    Pool,
    RandomComparison,
    write_pool,
)
from xbackend.testing.store_builder import StoreBuilder

Record = dict[str, Any]
DRAWS = int(os.environ.get("XBACKEND_DRAWS", "2000"))
SEED = int(os.environ.get("XBACKEND_SEED", "0"))
BATCH = 50
"""Draws that one test makes, so that a failure names its seed."""


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Pool]:
    """A store with a few tensors of each kind, and how records name them."""
    store = StoreBuilder(Path(tmp_path_factory.mktemp("pool"))).store
    return store, write_pool(store)


def bits(array: Array) -> tuple[Any, ...]:
    """Return all that tells an array from another one."""
    return (array.dtype.str, array.shape, array.tobytes())


def tensors(drawn: RandomComparison, names: Sequence[str]) -> Iterator[dict[str, Array]]:
    """Yield each tensor of each sample that anybody recorded."""
    for sample in SAMPLES:
        for name in names:
            if having := drawn.having(sample, name):
                yield having


def differ(one: Array, other: Array) -> bool:
    return bits(one) != bits(other)


def oracle_classes(drawn: RandomComparison) -> list[list[str]]:
    """Put each run into the first class of no member of which an output differs that both have."""
    found: list[list[str]] = []
    outputs = list(tensors(drawn, list(drawn.outputs)))
    for name in drawn.arrays:
        for members in found:
            pairs = [(t[name], t[m]) for t in outputs for m in members if name in t and m in t]
            if not any(differ(*pair) for pair in pairs):
                members.append(name)
                break
        else:
            found.append([name])
    return found


MANTISSA = {"float32": ("<f", "<I", 23), "float16": ("<e", "<H", 10)}


def oracle_shared(one: Array, other: Array) -> int:
    """Count the leading mantissa bits that all elements share, number by number."""
    _, code, width = MANTISSA[one.dtype.name]
    least = width
    size = one.dtype.itemsize
    for place in range(one.size):
        pair = [each.tobytes()[place * size : (place + 1) * size] for each in (one, other)]
        (a,), (b,) = (struct.unpack(code, each) for each in pair)
        if a >> width != b >> width:
            return 0
        equal = 0
        while equal < width and a >> (width - 1 - equal) & 1 == b >> (width - 1 - equal) & 1:
            equal += 1
        least = min(least, equal)
    return least


def oracle_distances(drawn: RandomComparison) -> dict[str, int | bool]:
    """Return the clauses on distances: fewest shared bits, most steps, what cannot be compared."""
    found: dict[str, Any] = {}
    for having in tensors(drawn, list(drawn.outputs)):
        arrays = list(having.values())
        pairs = [pair for pair in combinations(arrays, 2) if differ(*pair)]
        if len({(each.dtype, each.shape) for each in arrays}) > 1:
            found["incomparable"] = True
            continue
        for one, other in pairs:
            if one.dtype.name in MANTISSA:
                shared = (oracle_shared(one, other), MANTISSA[one.dtype.name][2])
                found["bits"] = min(found.get("bits", shared), shared, key=lambda each: each[0])
            else:
                steps = max(abs(int(a) - int(b)) for a, b in zip(one.flat, other.flat, strict=True))
                found["steps"] = max(found.get("steps", 0), steps)
    return found


def oracle_flips(drawn: RandomComparison) -> set[str]:
    """Return the runs of which the highest score is not where it is in the first that has it."""
    found = set()
    for having in tensors(drawn, list(drawn.outputs)):
        first, *rest = having.items()
        if not is_scores(first[1]):
            continue
        for name, array in rest:
            if array.shape != first[1].shape or highest(array) != highest(first[1]):
                found.add(name)
    return found


def is_scores(array: Array) -> bool:
    return array.ndim == 2 and array.shape[1] >= 2 and array.dtype.name != "int64"


def highest(array: Array) -> int:
    values = [float(each) for each in array.flat]
    nans = [place for place, each in enumerate(values) if math.isnan(each)]
    return nans[0] if nans else values.index(max(values))


def oracle_first(drawn: RandomComparison) -> int | None:
    """Return the layer of the earliest tensor in which any two runs differ on any sample."""
    names = [*drawn.names, *drawn.outputs]
    for layer, name in enumerate(names):
        for sample in SAMPLES:
            arrays = list(drawn.having(sample, name).values())
            if any(differ(*pair) for pair in combinations(arrays, 2)):
                return layer
    return None


def check_verdict(text: str, drawn: RandomComparison) -> None:
    """Hold each clause of a verdict against what was counted; nothing may be left unread."""
    classes, runs = oracle_classes(drawn), len(drawn.arrays)
    shared = [having for having in tensors(drawn, list(drawn.outputs)) if len(having) > 1]
    if runs == 1:
        assert text == "One run alone: there is nothing to compare it with."
        return
    if not shared:
        assert "there is nothing to compare" in text
        return
    first = oracle_first(drawn)
    gap = re.search(r" by what two runs share \((\d+) runs? lacks? an output\)", text)
    lacking = {
        name for having in tensors(drawn, list(drawn.outputs)) for name in drawn.arrays
        if name not in having
    }  # fmt: skip
    assert (int(gap[1]) if gap else 0) == len(lacking)
    text = text.replace(gap[0], "") if gap else text
    if len(classes) == 1:
        check_agreement(text, drawn, first)
        return
    head, where, *rest = text.rstrip(".").split("; ")
    assert head == f"Outputs fall into {len(classes)} classes"
    check_first(where, drawn, first)
    expected, flipped = oracle_distances(drawn), oracle_flips(drawn)
    clauses = ["their dtypes or shapes differ"] if "incomparable" in expected else []
    if "bits" in expected:
        clauses.append("at least {} of {} mantissa bits agree".format(*expected["bits"]))
    if "steps" in expected:
        clauses.append(f"integers are up to {expected['steps']} apart")
    outputs = [each for having in tensors(drawn, list(drawn.outputs)) for each in having.values()]
    if any(map(is_scores, outputs)):
        plural = "run" if len(flipped) == 1 else "runs"
        clauses.append(f"labels flip in {len(flipped)} {plural}" if flipped else "no label flips")
    assert [each for each in rest if "mantissa" not in each] == [
        each for each in clauses if "mantissa" not in each
    ]
    told = [each.split(" of ")[0] for each in rest if "mantissa" in each]
    assert told == [each.split(" of ")[0] for each in clauses if "mantissa" in each]


def check_agreement(text: str, drawn: RandomComparison, first: int | None) -> None:
    head = f"All {len(drawn.arrays)} runs give the same bits"
    inner = any(len(having) > 1 for having in tensors(drawn, drawn.names))
    if first is not None:
        assert text.startswith(f"{head}, although a layer differs: layer {first} (")
    elif inner:
        assert text == f"{head}, in every layer they share too."
    else:
        assert text == f"{head}."


def check_first(text: str, drawn: RandomComparison, first: int | None) -> None:
    """Check where runs part, and how many layers before it nobody can be sure of."""
    assert first is not None
    name = [*drawn.names, *drawn.outputs][first]
    sample = next(
        each
        for each in SAMPLES
        if len({bits(array) for array in drawn.having(each, name).values()}) > 1
    )
    before = [drawn.having(sample, each) for each in [*drawn.names, *drawn.outputs][:first]]
    is_output = first >= len(drawn.names)
    if is_output and before and not any(len(having) > 1 for having in before):
        assert text == "no two runs recorded the same layer"
        return
    assert text.startswith(f"first difference at layer {first} (")
    assert text.endswith("before which the model has no layer") == (is_output and not before)
    told = re.search(r"behind (\d+) layers? that not all runs recorded", text)
    unseen = [
        sum(
            drawn.having(sample, before).keys()
            != {run for run, of in drawn.arrays.items() if sample in of}
            for before in [*drawn.names, *drawn.outputs][:first]
        )
        for sample in SAMPLES
        if len({bits(each) for each in drawn.having(sample, name).values()}) > 1
    ]
    assert (int(told[1]) if told else 0) == unseen[0]


def check_notes(notes: Sequence[str], drawn: RandomComparison) -> None:
    partly = sum(
        any(
            0 < len(drawn.having(sample, name)) < sum(sample in of for of in drawn.arrays.values())
            for sample in SAMPLES
        )
        for name in drawn.names
    )
    told = next((note for note in notes if "not recorded by all runs" in note), "0 ")
    assert int(told.split()[0]) == partly
    mixed = sum(map(oracle_not_finite, tensors(drawn, list(drawn.outputs))))
    said = next((note for note in notes if "NaN or infinity" in note), " at 0 ")
    assert int(said.split(" at ")[1].split()[0]) == mixed


def oracle_not_finite(having: dict[str, Array]) -> int:
    """Count the elements where NaN or infinity stands against something else."""
    arrays = list(having.values())
    if len({(each.dtype, each.shape) for each in arrays}) > 1:
        return 0
    count = 0
    for column in zip(*(map(float, each.flat) for each in arrays), strict=True):
        nans = [math.isnan(each) for each in column]
        infinite = any(map(math.isinf, column)) and not any(nans) and len(set(column)) > 1
        count += (any(nans) and not all(nans)) or infinite
    return count


def check_births(text: Sequence[str], drawn: RandomComparison) -> None:
    """A layer that is said to bear a class got the same bits in two runs and gave others."""
    said = next((each for each in text if each.startswith("Classes are born at")), "")
    for name in re.findall(r"\b([ty]\d) \(Conv", said):
        layer = next(each for each in drawn.records[0]["layers"] if each["tap"] == name)
        assert any(parted(drawn, sample, name, layer) for sample in SAMPLES), (name, said)


def parted(drawn: RandomComparison, sample: str, name: str, layer: Record) -> bool:
    """Tell whether two runs that may have got the same bits give other ones."""
    reads = [each for each in layer["inputs"] if each in drawn.names]
    for (one, a), (other, b) in combinations(drawn.having(sample, name).items(), 2):
        inputs = [drawn.having(sample, each) for each in reads]
        unlike = any(one in t and other in t and differ(t[one], t[other]) for t in inputs)
        if differ(a, b) and not unlike:
            return True
    return False


def check_gates(drawn: RandomComparison) -> None:
    """The gate holds if and only if something was compared and all of it keeps the bound."""
    shared = [having for having in tensors(drawn, list(drawn.outputs)) if len(having) > 1]
    same = all(not differ(*pair) for h in shared for pair in combinations(h.values(), 2))
    failed = gate_failures(drawn.comparison, [parse_gate("output: classes=1")])
    assert (not failed) == (bool(shared) and same)
    if not shared:
        assert "nothing was compared" in str(failed[0])


def check_counts(comparison: Comparison, drawn: RandomComparison) -> None:
    ended = [each["status"] for each in drawn.records]
    text = sentences.counts_sentence(count_runs(comparison))
    assert (text == "") == (set(ended) == {"ok"})
    for status, word in (("failed", "failed"), ("skipped", "skipped")):
        told = re.search(rf"(\d+) (?:was |were )?{word}", text)
        assert (int(told[1]) if told else 0) == ended.count(status)


@pytest.mark.parametrize("first", range(0, DRAWS, BATCH))
def test_no_sentence_contradicts_what_an_oracle_counts(
    pool: tuple[Store, Pool], first: int
) -> None:
    for seed in range(first, min(first + BATCH, DRAWS)):
        drawn = RandomComparison(SEED + seed, *pool)
        runs: list[Run] = [run for run in drawn.comparison.runs if run.ok]
        drawn.arrays = {run.id: drawn.arrays[run.id] for run in runs}
        found = summaries(drawn.comparison)
        assert len(found) == (1 if runs else 0), seed
        check_counts(drawn.comparison, drawn)
        check_gates(drawn)
        for summary in found:
            facts = facts_of(summary)
            check_verdict(sentences.verdict(facts), drawn)
            check_notes(sentences.cohort_notes(facts), drawn)
            check_births(sentences.change_sentences(change_facts(summary)), drawn)
        if seed % 10 == 0:
            for report in (terminal, answer, explain):
                assert report.render(drawn.comparison).strip()

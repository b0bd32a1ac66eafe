"""Sentences on rounding and on norms against an oracle, on random comparisons and certificates."""

from __future__ import annotations

import dataclasses
import math
import os
import random
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.findings import Certificate, LayerCertificate
from xbackend.comparison.summary import summaries
from xbackend.facts.agreement import output_agreement
from xbackend.facts.certified import certified_facts, has_fault
from xbackend.facts.explanation import Grade
from xbackend.facts.explanation import explain as explain_comparison
from xbackend.facts.gates import gate_failures, parse_gate
from xbackend.numerics.bounds.judgement import Judgement, Worst
from xbackend.reports.wording import cohort_text, rounding
from xbackend.store.store import Store
from xbackend.testing.random_comparisons import (
    SAMPLES,
    Array,
    Pool,
    RandomComparison,
    write_pool,
)
from xbackend.testing.store_builder import StoreBuilder

DRAWS = int(os.environ.get("XBACKEND_DRAWS", "2000"))
SEED = int(os.environ.get("XBACKEND_SEED", "0"))
BATCH = 100
VERDICTS = ("exact", "rounding", "beyond rounding", "not judged", "not neutral")
JUDGED = VERDICTS[:3]
WEIGHTS = ([1, 6, 0, 0, 0], [3, 3, 0, 0, 0], [6, 0, 0, 0, 0], [2, 4, 1, 1, 1], [0, 0, 0, 1, 1])


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Pool]:
    """A store with a few tensors of each kind, and how records name them."""
    store = StoreBuilder(Path(tmp_path_factory.mktemp("pool"))).store
    return store, write_pool(store)


def drawn_certificates(pick: random.Random, comparison: Comparison) -> tuple[Certificate, ...]:
    """Certify most runs at random, with all verdicts, gaps and overflows."""
    share, weights = pick.choice([1.0, 1.0, 0.6, 0.0]), pick.choice(WEIGHTS)
    overflow = pick.choice([0.0, 0.0, 0.3])
    return tuple(
        Certificate(
            run,
            tuple(
                drawn_layer(pick, place, pick.choices(VERDICTS, weights)[0], overflow)
                for place in range(pick.choice([0, 1, 3, 3, 5]))
            ),
            "torch 2",
            2,
        )
        for run in comparison.runs
        if run.ok and pick.random() < share
    )


def drawn_layer(pick: random.Random, place: int, verdict: str, overflow: float) -> LayerCertificate:
    lacks, faulty = verdict == "not judged", verdict == "beyond rounding"
    over = pick.choice([1, 2]) if verdict == "rounding" and pick.random() < overflow else 0
    one = Judgement(
        verdict="rounding" if verdict == "not neutral" else verdict,
        arithmetic=pick.choice(["float32", "float32", "bfloat16 products"]), terms=9,
        error=pick.randrange(1, 90) / 10, limit=10.0, usual=3.0, unusual=0,
        beyond=3 if faulty else 0, elements=8, overflowed=over, peak=1e39 if over else 0.0,
        not_finite=over, flushed=0, worst=Worst((0, 1), 1.0, 2.0, 1e-6) if faulty else None,
    )  # fmt: skip
    reason = "no bound is known for Odd" if lacks else ""
    return LayerCertificate(
        f"t{place}", place, "Conv", verdict, reason, None if lacks else one, "0"
    )


def check_rounding(text: str, runs: list[str], found: tuple[Certificate, ...]) -> None:
    """Hold the answer on rounding against the layers, counted one by one."""
    rows = [(each.run.id, layer) for each in found if each.run.id in runs for layer in each.layers]
    kinds = [layer.verdict for _, layer in rows]
    judged = [(name, layer) for name, layer in rows if layer.verdict in JUDGED]
    blind = [name for name in runs if name not in {each for each, _ in judged}]
    measured = [layer.judgement for _, layer in judged if layer.verdict == "rounding"]
    errors = [one.error for one in measured if one is not None]
    over = [one for one in measured if one is not None and one.overflowed]
    complete = not blind and len(judged) == len(rows)
    faulty = {name for name, layer in judged if layer.verdict == "beyond rounding"}
    assert text.count("Not rounding: ") == min(3, len(faulty))
    assert ("more run" in text) == (len(faulty) > 3)
    assert ("Rounding only" in text) == bool(complete and errors and not over and not faulty)
    assert ("Rounding and overflow" in text) == bool(complete and over and not faulty)
    assert ("has the right bits" in text) == bool(judged and not errors and not faulty)
    assert text.startswith("Rounding or fault is not known") == (not judged)
    assert ("No fault where" in text) == bool(judged and not complete and not faulty)
    assert ("overflows float32" in text) == bool(over)
    told = re.search(r"\(largest ([\d.]+) u of 10\)", text)
    assert (told and told[1]) == (f"{max(errors):.1f}" if errors and not faulty else None)
    if judged:
        assert number(r"(\d+) layers? (?:is|are) not judged", text) == kinds.count("not judged")
        assert number(r"(\d+) layers? proves? nothing", text) == kinds.count("not neutral")
        assert number(r"Of (\d+) runs? no layer is judged", text) == len(blind)
        spoken = number(r"each of (\d+) of \d+ layers", text)
        assert spoken == (len(judged) if len(judged) < len(rows) and not faulty else 0)
        assert ("all runs" in text) == (not faulty and not blind and len(runs) > 1)


def number(pattern: str, text: str) -> int:
    match = re.search(pattern, text)
    return int(match[1]) if match else 0


def check_gate(drawn: RandomComparison, comparison: Comparison, runs: list[str]) -> None:
    """The rule holds if and only if each run was judged and none is beyond rounding.

    Nor may one overflow whose outputs are not finite.
    """
    over = {
        each.run.id
        for each in comparison.certificates
        if any(one.judgement and one.judgement.overflowed for one in each.layers)
    }
    spoilt = {
        name
        for name in runs
        for tensors in drawn.arrays[name].values()
        for tap, array in tensors.items()
        if tap in drawn.outputs and any(not math.isfinite(x) for x in array.flat)
    }
    layers = {each.run.id: [one.verdict for one in each.layers] for each in comparison.certificates}
    keeps = [
        any(v in JUDGED for v in layers.get(name, ()))
        and "beyond rounding" not in layers[name]
        and name not in over & spoilt
        for name in runs
    ]
    failed = gate_failures(comparison, [parse_gate("rounding")])
    assert (not failed) == (bool(runs) and all(keeps))
    assert len(failed) == (keeps.count(False) if runs else 1)


def oracle_bits(drawn: RandomComparison) -> float | str | None:
    """Return the fewest bits by norm of two classes of a float output; None of no finite norms."""
    found = []
    for one, other in class_pairs(drawn):
        a, b = ([float(each) for each in array.flat] for array in (one, other))
        if not all(map(math.isfinite, a + b)):
            found.append(-math.inf)
            continue
        gap, norm = math.dist(a, b), math.hypot(*a)
        found.append(max(0.0, -math.log2(gap / norm)) if gap and norm else -math.inf)
    if not found:
        return "nothing"
    return None if min(found) == -math.inf else min(found)


def class_pairs(drawn: RandomComparison) -> Iterator[tuple[Array, Array]]:
    """Yield arrays with different bits: all pairs of up to four, of more those with the first."""
    for sample in SAMPLES:
        for name in drawn.outputs:
            arrays = list(drawn.having(sample, name).values())
            kinds = {(a.dtype.str, a.shape, a.tobytes()): a for a in arrays}
            several = list(kinds.values())
            if not several or several[0].dtype.kind != "f":
                continue
            pairs = combinations(several, 2)
            if len(several) > 4:
                pairs = iter([(several[0], each) for each in several[1:]])  # type: ignore[assignment]  # an iterator too
            yield from (p for p in pairs if (p[0].dtype, p[0].shape) == (p[1].dtype, p[1].shape))


def check_agreement(text: list[str], bits: float | None, drawn: RandomComparison) -> None:
    expected = oracle_bits(drawn)
    if expected == "nothing":
        assert text == []
        return
    (sentence,) = text
    if expected is None:
        assert bits is None
        assert sentence.startswith("Widest apart: ")
        return
    assert bits == pytest.approx(expected, abs=1e-6)
    assert bits is not None
    assert number(r"By norm outputs agree to (\d+) bits?; widest apart", sentence) == int(bits)


@pytest.mark.parametrize("first", range(0, DRAWS, BATCH))
def test_the_answer_on_rounding_never_says_more_than_the_certificates(
    pool: tuple[Store, Pool], first: int
) -> None:
    for seed in range(first, min(first + BATCH, DRAWS)):
        drawn = RandomComparison(SEED + seed, *pool)
        found = drawn_certificates(random.Random(SEED + seed), drawn.comparison)
        comparison = dataclasses.replace(drawn.comparison, certificates=found)
        runs = [run.id for run in comparison.runs if run.ok]
        drawn.arrays = {name: drawn.arrays[name] for name in runs}
        check_gate(drawn, comparison, runs)
        for summary in summaries(comparison):
            facts = certified_facts(found, summary.cohort.runs)
            assert (facts is None) == (not found), seed
            verdict = cohort_text.verdict(summary, comparison)
            if facts is not None:
                text = " ".join(rounding.section_sentences(facts))
                check_rounding(text, runs, found)
                assert verdict.startswith(text), seed
            agreement = output_agreement(summary, comparison.store)
            said = cohort_text.agreement_sentences(summary, agreement)
            check_agreement(said, None if agreement is None else agreement.bits, drawn)
            assert all(each in verdict for each in said), seed
        for each in explain_comparison(comparison).cohorts:
            judged = any(layer.verdict in JUDGED for one in found for layer in one.layers)
            assert each.rounding is (Grade.CERTIFIED if judged else Grade.NOT_JUDGED)


def test_runs_without_outputs_break_the_gate(bench: StoreBuilder) -> None:
    failed: dict[str, Any] = {"stage": "s", "symptom": "s", "message": "m"}
    bench.run(None, status="failed", error=failed)
    (said,) = gate_failures(bench.compare(), [parse_gate(" rounding ")])
    assert str(said) == "Gate 'rounding': nothing was judged, as no run gave outputs."


def test_the_widest_element_is_told_with_both_values(bench: StoreBuilder) -> None:
    bench.run({"y": [3.0, 4.0, 0.0]})
    bench.run({"y": [3.0, 4.0 + 2**-4, 2**-20]}, backend="torch")
    (summary,) = summaries(comparison := bench.compare())
    # |difference| is about 2^-4, the norm 5: log2(5 * 16) = 6.32
    assert cohort_text.verdict(summary, comparison).endswith(
        "By norm outputs agree to 6 bits; widest apart: input 0, [0, 1]: ort 4.0, torch 4.0625."
    )


def test_a_wrong_export_is_no_rounding_though_each_layer_of_its_graph_is_right(
    bench: StoreBuilder,
) -> None:
    for graph, value in (("source", 9.0), ("onnx", 10.0)):
        bench.run({"y": [value, 1.0]}, settings={"threads": 1, "graph": graph})
    comparison = bench.compare()
    right = drawn_layer(random.Random(0), 0, "exact", 0.0)
    found = (Certificate(comparison.runs[1], (right,), "torch 2", 1),)
    comparison = dataclasses.replace(comparison, certificates=found)
    (summary,) = summaries(comparison)
    assert has_fault(comparison)
    verdict = cohort_text.verdict(summary, comparison)
    assert verdict.startswith("Not rounding: the exported model is another function than your ")
    assert "No fault" not in verdict
    (failure,) = gate_failures(comparison, [parse_gate("rounding")])
    assert "the export of ort 1.0 (native), run run-0 is another function." in str(failure)


def test_a_source_that_its_export_repeats_keeps_the_gate(bench: StoreBuilder) -> None:
    for graph in ("source", "onnx"):
        bench.run({"y": [9.0, 1.0]}, settings={"threads": 1, "graph": graph})
    comparison = bench.compare()
    right = drawn_layer(random.Random(0), 0, "exact", 0.0)
    found = (Certificate(comparison.runs[1], (right,), "torch 2", 1),)
    comparison = dataclasses.replace(comparison, certificates=found)
    assert not has_fault(comparison)
    assert gate_failures(comparison, [parse_gate("rounding")]) == []

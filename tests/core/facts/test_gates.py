"""Rules of outputs and layers: what breaks them, and that nothing passes unseen."""

from __future__ import annotations

import numpy as np
import pytest

from xbackend.comparison.comparison import threshold_failures
from xbackend.errors import UsageError
from xbackend.facts.gates import gate_failures, needs_pairs, parse_gate
from xbackend.facts.pairs import with_pairs
from xbackend.testing.store_builder import StoreBuilder

ONE_ULP = float(np.nextafter(np.float32(0.5), np.float32(1)))


def failures(bench: StoreBuilder, *rules: str) -> list[str]:
    gates = [parse_gate(rule) for rule in rules]
    compared = bench.compare()
    return list(map(str, gate_failures(with_pairs(compared), gates)))


@pytest.fixture
def split(bench: StoreBuilder) -> StoreBuilder:
    """An output one ULP apart of two, and a layer 512 ULP apart."""
    bench.run({"y": [0.25, 0.5]}, {"conv": [1.0, 0.0]})
    bench.run({"y": [0.25, ONE_ULP]}, {"conv": [1.0 + 2**-14, 0.0]})
    return bench


@pytest.mark.parametrize(
    "rule",
    [
        "output: bits>=22, flips=0, classes<=2, ulp<=1, deviating<=0.5, abs<1e-7",
        "conv*: ulp<=512",
        "conv: mean<=4e-5, rms<5e-5, relative<=6.2e-5, cosine>0.99, snr>80",
        "*: classes < 3",
    ],
)
def test_rules_that_hold_are_kept(split: StoreBuilder, rule: str) -> None:
    assert failures(split, rule) == []


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (
            "output: bits>=23",
            ("Gate 'output: bits>=23' fails at 'y' of net (float32), input '0': bits is 22."),
        ),
        (
            "conv: ulp<=511",
            ("Gate 'conv: ulp<=511' fails at 'conv' of net (float32), input '0': ulp is 512."),
        ),
        (
            "conv: snr>=90",
            ("Gate 'conv: snr>=90' fails at 'conv' of net (float32), input '0': snr is 84.2884."),
        ),
        (
            "relu: ulp<=1",
            ("Gate 'relu: ulp<=1': nothing was compared, as no two runs recorded a tensor 'relu'."),
        ),
    ],
)
def test_a_broken_rule_says_which_where_and_by_how_much(
    split: StoreBuilder, rule: str, said: str
) -> None:
    assert failures(split, rule) == [said]


def test_each_rule_is_judged_by_itself(split: StoreBuilder) -> None:
    assert len(failures(split, "output: bits>=23, classes=1", "conv: ulp<1")) == 3


def test_one_run_alone_keeps_no_rule_and_meets_no_threshold(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0, 2.0]})
    assert failures(bench, "output: bits>=1") == [
        "Gate 'output: bits>=1': nothing was compared, as no two runs have an output."
    ]
    (said,) = threshold_failures(bench.compare(), max_eqcs=9)
    assert said.startswith("Nothing was compared")
    assert threshold_failures(bench.compare()) == []


def test_runs_of_other_inputs_are_not_compared_either(bench: StoreBuilder) -> None:
    for digest in ("a", "b"):
        bench.run({"y": [1.0, 2.0]}, inputs_digest=digest)
    assert len(failures(bench, "output: classes<=9")) == 1
    assert len(threshold_failures(bench.compare(), fail_under=1)) == 1


def test_what_has_no_label_keeps_no_rule_of_labels(bench: StoreBuilder) -> None:
    for value in (1.0, 2.0):
        bench.run({"y": np.full((1, 3, 4, 4), value, np.float32)})
    assert failures(bench, "output: flips=0") == [
        (
            "Gate 'output: flips=0': nothing was compared, as no two runs have an output that has "
            "a label."
        )
    ]


def test_flips_are_counted_in_runs(bench: StoreBuilder) -> None:
    for values in ([1.0, 2.0], [3.0, 2.0], [3.0, 2.0]):
        bench.run({"y": values})
    (said,) = failures(bench, "output: flips<=1")
    assert said.endswith("flips is 2.")


def test_a_distance_that_is_not_finite_keeps_no_bound(bench: StoreBuilder) -> None:
    for value in (1.0, float("nan")):
        bench.run({"y": [value, 2.0]})
    for measure in ("ulp", "abs", "rms"):
        (said,) = failures(bench, f"output: {measure}<=1e300")
        assert said.endswith(f"{measure} has no such number.")


def test_the_same_bits_keep_every_bound(bench: StoreBuilder) -> None:
    for _ in range(2):
        bench.run({"y": [1.0, 2.0]})
    assert failures(bench, "output: bits>=23, ulp=0, rms<=0, cosine>=1, snr>=300") == []


def test_integers_in_several_classes_share_no_bits(bench: StoreBuilder) -> None:
    for value in (1, 2):
        bench.run({"y": np.array([[value, 0]], np.int8)}, precision="int8")
    (said,) = failures(bench, "output: bits>=1")
    assert said.endswith("bits is 0.")


@pytest.mark.parametrize("rule", ["output: mean<=1e-9", "conv*: ulp<=1000000, bits>=08"])
def test_a_rule_is_told_as_it_was_written(rule: str) -> None:
    assert str(parse_gate(rule)) == rule


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bits>=3", "is no rule"),
        ("output: bits", "is no rule"),
        (": bits>=3", "is no rule"),
        ("output: beauty>=3", "there is no measure 'beauty'"),
        ("output: bits>=many", "'many' is no number"),
        ("output: bits>=nan", "'nan' is no number"),
    ],
)
def test_a_rule_without_a_meaning_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_gate(text)


def test_pairs_are_measured_only_for_rules_of_pairs() -> None:
    assert not needs_pairs([parse_gate("output: bits>=3, ulp<=4")])
    assert needs_pairs([parse_gate("output: bits>=3"), parse_gate("conv: snr>40")])


def test_all_pairs_of_four_classes_are_measured_and_of_more_those_with_the_first(
    bench: StoreBuilder,
) -> None:
    for value in range(4):
        bench.run({"y": [float(value), 9.0]})
    four = with_pairs(bench.compare()).pairs
    assert [pair.classes for pair in four] == [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)]
    assert [p.metrics.mean_abs for p in four if p.metrics] == [0.5, 1.0, 1.5, 0.5, 1.0, 0.5]
    bench.run({"y": [4.0, 9.0]})
    five = with_pairs(bench.compare()).pairs
    assert [pair.classes for pair in five] == [(1, 2), (1, 3), (1, 4), (1, 5)]
    assert five[0].runs == ("run-0", "run-1")

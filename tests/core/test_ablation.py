"""Ablation: the smallest sets of flags that make the difference, on libraries that are known."""

import pytest

from xbackend.ablation import NEEDS, Outcome, ablate, switchable, with_dependents

HASWELL = switchable(
    [
        "sse2",
        "pni",
        "ssse3",
        "sse4_1",
        "sse4_2",
        "xsave",
        "avx",
        "avx2",
        "fma",
        "f16c",
        "bmi1",
        "bmi2",
        "aes",
        "movbe",
    ]
)


def _library(kernel, illegal=lambda flags: False, asked=None):
    """Return what runs a library that chooses its kernel by the flags that are left."""

    def attempt(sets):
        outcomes = []
        for removed in sets:
            left = set(HASWELL) - removed
            assert removed == with_dependents(removed, HASWELL)
            if asked is not None:
                asked.append(removed)
            if illegal(left):
                outcomes.append(Outcome("illegal", reason="SIGILL"))
            elif kernel(left) == kernel(set(HASWELL)):
                outcomes.append(Outcome("same"))
            else:
                outcomes.append(Outcome("changed", {"tap": "conv1", "layer": 1}))
        return outcomes

    return attempt


def _causes(verdict):
    return sorted(cause.removed for cause in verdict.causes)


def test_a_kernel_that_needs_two_flags_changes_without_either():
    verdict = ablate(HASWELL, _library(lambda left: {"avx2", "fma"} <= left))
    assert _causes(verdict) == [("avx2",), ("fma",)]
    assert verdict.causes[0].outcome.first_layer == {"tap": "conv1", "layer": 1}


def test_a_kernel_that_needs_one_flag_changes_without_that_alone():
    assert _causes(ablate(HASWELL, _library(lambda left: "fma" in left))) == [("fma",)]


def test_a_flag_whose_dependents_are_all_innocent_is_named_itself_with_them():
    verdict = ablate(HASWELL, _library(lambda left: "avx" in left))
    assert _causes(verdict) == [("avx", "f16c", "fma", "avx2")]


def test_flags_that_stand_in_for_one_another_are_found_together():
    verdict = ablate(HASWELL, _library(lambda left: bool({"bmi1", "bmi2"} & left)))
    assert _causes(verdict) == [("bmi1", "bmi2")]


def test_where_no_flag_matters_nothing_is_blamed():
    assert ablate(HASWELL, _library(lambda left: 0)).causes == ()


def test_what_cannot_run_is_told_and_not_blamed():
    attempt = _library(lambda left: "fma" in left, illegal=lambda left: "fma" not in left)
    verdict = ablate(HASWELL, attempt)
    assert verdict.causes == ()
    assert ("fma",) in [t.removed for t in verdict.trials if t.outcome.reason == "SIGILL"]


def test_nothing_is_tried_twice():
    asked = []
    ablate(HASWELL, _library(lambda left: bool({"bmi1", "bmi2"} & left), asked=asked))
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize("flag", NEEDS)
def test_a_flag_is_listed_after_what_it_needs(flag):
    order = list(NEEDS)
    assert all(order.index(needed) < order.index(flag) for needed in NEEDS[flag])


def test_without_the_state_that_avx_needs_everything_of_avx_goes():
    assert with_dependents(["xsave"], HASWELL) == {"xsave", "avx", "avx2", "fma", "f16c"}

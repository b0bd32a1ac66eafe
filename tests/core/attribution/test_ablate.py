"""Ablation: the smallest sets of flags that make the difference, on libraries that are known."""

import pytest

from xbackend.attribution.ablation import AblationOutcome, ablate
from xbackend.errors import UsageError
from xbackend.platforms.cpu_switches import (
    FLAG_DEPENDENCIES,
    cpu_properties,
    hardware_differences,
    qemu_suffix,
    select_switches,
    switchable,
    with_dependents,
)

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
                outcomes.append(AblationOutcome("illegal", reason="SIGILL"))
            elif kernel(left) == kernel(set(HASWELL)):
                outcomes.append(AblationOutcome("same"))
            else:
                outcomes.append(AblationOutcome("changed", {"tap": "conv1", "layer": 1}))
        return outcomes

    return attempt


def _causes(verdict):
    return sorted(cause.switches for cause in verdict.causes)


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
    assert ("fma",) in [t.switches for t in verdict.trials if t.outcome.reason == "SIGILL"]


def test_nothing_is_tried_twice():
    asked = []
    ablate(HASWELL, _library(lambda left: bool({"bmi1", "bmi2"} & left), asked=asked))
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize("flag", FLAG_DEPENDENCIES)
def test_a_flag_is_listed_after_what_it_needs(flag):
    order = list(FLAG_DEPENDENCIES)
    assert all(order.index(needed) < order.index(flag) for needed in FLAG_DEPENDENCIES[flag])


def test_without_the_state_that_avx_needs_everything_of_avx_goes():
    assert with_dependents(["xsave"], HASWELL) == {"xsave", "avx", "avx2", "fma", "f16c"}


CACHES = ("legacy-cache=on", "l3-cache=off")


def _blocking(size, asked=None):
    """Return what runs a library whose order of additions follows a cache's size and a flag."""

    def attempt(sets):
        outcomes = []
        for switches in sets:
            if asked is not None:
                asked.append(switches)
            bits = "fma" not in switches, size(switches)
            outcomes.append(
                AblationOutcome("same" if bits == (True, size(frozenset())) else "changed")
            )
        return outcomes

    return attempt


def test_a_cache_is_named_as_a_cause_beside_a_flag():
    attempt = _blocking(lambda switches: 64 if "legacy-cache=on" in switches else 32)
    verdict = ablate((*HASWELL, *CACHES), attempt)
    assert ("fma",) in _causes(verdict)
    assert ("legacy-cache=on",) in _causes(verdict)
    assert len(verdict.causes) == 2
    told = {(*t["removed"], *t["properties"]): t["status"] for t in verdict.to_dict()["trials"]}
    assert told["legacy-cache=on",] == "changed"
    assert told["l3-cache=off",] == "same"
    cause = next(c for c in verdict.to_dict()["causes"] if c["properties"])
    assert (cause["removed"], cause["properties"]) == ([], ["legacy-cache=on"])


def test_a_cache_and_a_flag_that_stand_in_for_one_another_are_found_together():
    def attempt(sets):
        both = {"bmi1", "l3-cache=off"}
        return [AblationOutcome("changed" if both <= switches else "same") for switches in sets]

    verdict = ablate(("bmi1", "bmi2", *CACHES), attempt)
    assert _causes(verdict) == [("bmi1", "l3-cache=off")]


def test_what_cannot_run_alone_is_left_out_of_what_is_tried_together():
    def attempt(sets):
        return [
            AblationOutcome("illegal")
            if "avx" in switches
            else AblationOutcome("changed" if {"bmi1", "bmi2"} <= switches else "same")
            for switches in sets
        ]

    assert _causes(ablate(("avx", "bmi1", "bmi2"), attempt)) == [("bmi1", "bmi2")]


def test_only_what_is_asked_for_is_switched_with_all_that_needs_it():
    asked = []
    attempt = _blocking(lambda switches: 0, asked)
    verdict = ablate((*HASWELL, *CACHES), attempt, ["legacy-cache=on", "avx"])
    assert asked[:2] == [{"legacy-cache=on"}, {"avx", "f16c", "fma", "avx2"}]
    assert all(switches <= set(asked[1]) for switches in asked[1:])
    assert _causes(verdict) == [("fma",)]


@pytest.mark.parametrize(
    ("vendor", "other"), [("Intel", "vendor=AuthenticAMD"), ("AMD", "vendor=GenuineIntel")]
)
def test_caches_vendor_and_model_can_be_switched(vendor, other):
    caches = ("legacy-cache=on", "legacy-cache=off", "l3-cache=off")
    assert cpu_properties(vendor) == (*caches, other, "model=255")
    assert cpu_properties("unknown") == (*caches, "model=255")


def test_switches_are_written_as_the_emulator_takes_them():
    assert qemu_suffix({"legacy-cache=on", "fma", "avx2"}) == ",-avx2,-fma,legacy-cache=on"
    assert qemu_suffix(()) == ""


def test_a_switch_is_named_whole_or_by_its_property():
    known = ("avx2", "fma", "legacy-cache=on", "legacy-cache=off")
    assert select_switches(["legacy-cache=on", "fma"], known) == ("fma", "legacy-cache=on")
    assert select_switches(["legacy-cache"], known) == ("legacy-cache=on", "legacy-cache=off")
    with pytest.raises(UsageError, match="'avx512f' cannot be switched"):
        select_switches(["avx512f"], known)


def test_what_a_worker_sees_otherwise_is_told_in_words():
    before = {"vendor": "AMD", "model": 1, "caches": {"L1d": 32 << 10, "L3": 16 << 20}}
    after = {"vendor": "Intel", "model": 1, "caches": {"L1d": 64 << 10}}
    assert hardware_differences(before, after) == (
        "vendor Intel instead of AMD",
        "L1d 64 KiB instead of 32 KiB",
        "no L3 instead of 16384 KiB",
    )
    assert hardware_differences(before, before) == ()

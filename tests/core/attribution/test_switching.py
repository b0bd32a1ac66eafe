"""Tables and trials of flags where outputs rest on what an emulator computes its own way."""

from __future__ import annotations

from typing import Any

import pytest

from xbackend.attribution.ablation import AblationOutcome, ablate
from xbackend.attribution.correlation import flag_tables
from xbackend.attribution.switching import (
    SwitchCandidates,
    outcome,
    search_switches,
    switch_candidates,
)
from xbackend.errors import UsageError
from xbackend.plugins.registry import renderer
from xbackend.store.records import read_run

Record = dict[str, Any]

LAYERS = [
    {"tap": "conv", "layer": 0, "operator": "Conv", "inputs": ["x"]},
    {"tap": "y", "layer": 1, "operator": "Softmax", "inputs": ["conv"]},
]
MARKS = {"emulation_unsafe": ["y"], "emulation_reasons": {"Softmax": "Why."}}
FIRST = {"tap": "conv", "layer": 0, "operator": "Conv"}


def tensor(name: str, digest: str) -> Record:
    """Return the row of a tensor."""
    return {"name": name, "dtype": "float32", "shape": [1], "digest": digest * 64}


def record(name: str, conv: str, y: str, *flags: str, **keys: Any) -> Record:
    """Return a run's record; `conv` and `y` stand for the tensors' bits."""
    result = {
        "input": "0",
        "taps": [tensor("conv", conv)],
        "outputs": [tensor("y", y)],
    }
    return {
        "schema_version": 1, "software": {},
        "id": name, "model": {"name": "m", "digest": "d", "source": "m"}, "backend": "tf",
        "backend_version": "1", "precision": "float32", "settings": {"threads": 1},
        "platform": f"qemu:{name}", "repeat": 0, "status": "ok", "error": None, "seconds": 1.0,
        "hardware": {
            "vendor": "Intel", "device": "?", "microarchitecture": "?", "cores": 2,
            "flags": list(flags),
        },
        "taps_neutral": True, "layers": LAYERS, "results": [result], **keys,
    }  # fmt: skip


def test_a_table_of_flags_is_judged_by_what_can_be_trusted() -> None:
    records = [
        record("native", "1", "a", "fma"),
        record("new", "1", "b", "fma", **MARKS),
        record("old", "2", "c", **MARKS),
        record("older", "2", "d", **MARKS),
    ]
    (table,) = flag_tables([read_run(each) for each in records])
    assert table.classes == (("native", "new"), ("old", "older"))
    assert table.emulated == ("Softmax",)
    assert (table.clusters[0].names, table.clusters[0].splits) == (("fma",), True)
    assert table.to_dict()["judged_by"] == "tensors that do not rest on emulation"
    assert "Judged by the layers that do not rest on emulated Softmax" in renderer("flags")([table])


def test_a_table_of_real_processors_is_judged_by_outputs() -> None:
    records = [record("a", "1", "a"), record("b", "1", "b"), record("c", "2", "b")]
    (table,) = flag_tables([read_run(each) for each in records])
    assert table.classes == (("a",), ("b", "c"))
    assert table.to_dict()["judged_by"] == "outputs"
    assert "Judged" not in renderer("flags")([table])


def test_outputs_that_cannot_be_trusted_change_nothing() -> None:
    whole = record("whole", "1", "a", **MARKS)
    assert outcome(whole, record("less", "1", "b", **MARKS)) == AblationOutcome(
        "same", emulated=("Softmax",)
    )


def test_a_layer_that_can_be_trusted_tells_a_change() -> None:
    whole = record("whole", "1", "a", **MARKS)
    found = outcome(whole, record("less", "2", "a", **MARKS))
    assert found == AblationOutcome("changed", FIRST, emulated=("Softmax",))


@pytest.mark.parametrize(("y", "expected"), [("a", "same"), ("b", "changed")])
def test_outputs_that_can_be_trusted_decide(y: str, expected: str) -> None:
    found = outcome(record("whole", "1", "a"), record("less", "2", y))
    assert found.status == expected
    assert found.first_layer == (FIRST if expected == "changed" else None)
    assert found.emulated == ()


def test_a_verdict_says_by_what_it_was_judged() -> None:
    whole = record("whole", "1", "a", **MARKS)

    def attempt(sets: Any) -> list[AblationOutcome]:
        bits = {True: "2", False: "1"}
        return [outcome(whole, record("x", bits["fma" in s], "b", **MARKS)) for s in sets]

    verdict = ablate(("avx2", "fma"), attempt)
    text = renderer("ablation")(verdict, "tf", "qemu:Haswell")
    assert text.startswith("Judged by the layers that do not rest on emulated Softmax")
    assert "tf: the bits of qemu:Haswell change without fma, first at layer 0 (Conv, conv)." in text
    document = verdict.to_dict()
    assert document["judged_by"] == "tensors that do not rest on emulation"
    assert document["causes"][0]["emulation_operators"] == ["Softmax"]


def seeing(row: Record, **seen: Any) -> Record:
    """Return a record whose worker saw more of the processor."""
    return {**row, "hardware": {**row["hardware"], **seen}}


def test_a_cache_that_makes_the_bits_is_named_with_its_sizes_and_the_first_layer() -> None:
    small, large = {"caches": {"L1d": 32 << 10}}, {"caches": {"L1d": 64 << 10}}
    whole = seeing(record("whole", "1", "a"), **small)

    def attempt(sets: Any) -> list[AblationOutcome]:
        return [
            outcome(whole, seeing(record("x", "2", "b"), **large))
            if "legacy-cache=on" in switches
            else outcome(whole, seeing(record("x", "1", "a"), **small))
            for switches in sets
        ]

    found = SwitchCandidates(("fma", "legacy-cache=on"), {"legacy-cache=off": "There is no such."})
    verdict = search_switches(found, ("fma", "legacy-cache=on", "legacy-cache=off"), attempt)
    text = renderer("ablation")(verdict, "tf", "qemu:EPYC-Rome")
    assert (
        "tf: the bits of qemu:EPYC-Rome change with legacy-cache=on (L1d 64 KiB instead of "
        "32 KiB), first at layer 0 (Conv, conv)."
    ) in text
    (cause,) = verdict.to_dict()["causes"]
    assert cause["differences"] == ["L1d 64 KiB instead of 32 KiB"]
    assert cause["first_layer"] == FIRST
    refused = verdict.to_dict()["trials"][0]
    assert refused["properties"] == ["legacy-cache=off"]
    assert (refused["status"], refused["reason"]) == ("illegal", "There is no such.")


def test_several_causes_are_listed() -> None:
    whole = record("whole", "1", "a")

    def attempt(sets: Any) -> list[AblationOutcome]:
        return [outcome(whole, record("x", "2", "b")) for _ in sets]

    verdict = search_switches(SwitchCandidates(("avx2", "fma"), {}), ("avx2", "fma"), attempt)
    text = renderer("ablation")(verdict, "ort", "qemu:EPYC")
    assert text.endswith(
        "ort: the bits of qemu:EPYC change with each of these alone:\n"
        "  without avx2, first at layer 0 (Conv, conv);\n"
        "  without fma, first at layer 0 (Conv, conv).\n"
    )


def test_where_recording_changed_the_bits_no_layer_is_named() -> None:
    whole = record("whole", "1", "a", taps_neutral=False)
    found = outcome(whole, record("less", "1", "b", taps_neutral=False))
    assert found == AblationOutcome("changed", neutral=False)


def test_properties_that_cpuid_does_not_show_are_left_out_and_refused_ones_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def probe(emulator: str, cpu: str) -> Record:
        if "legacy-cache=off" in cpu:
            raise UsageError("It does not take that.")
        level1 = 65536 if "legacy-cache=on" in cpu else 32768
        return {"vendor": "AMD", "flags": ["fma", "fpu"], "caches": {"L1d": level1}}

    monkeypatch.setattr("xbackend.attribution.switching.probe", probe)
    monkeypatch.setattr("xbackend.attribution.switching.parse_platform", lambda text: None)
    monkeypatch.setattr(
        "xbackend.attribution.switching.find_command", lambda *words: "/usr/bin/qemu-x86_64"
    )
    found = switch_candidates("cores:1+qemu:EPYC")
    assert found.had == ("fma", "legacy-cache=on")
    assert found.refused == {"legacy-cache=off": "It does not take that."}


@pytest.mark.parametrize("start", ["native", "qemu-arm:cortex-a72", "python:/usr/bin/python3"])
def test_only_an_emulated_x86_processor_can_be_switched(start: str) -> None:
    with pytest.raises(UsageError, match="Start from an emulated processor"):
        switch_candidates(start)

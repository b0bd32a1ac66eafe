"""Tables and trials of flags where outputs rest on what an emulator computes its own way."""

from __future__ import annotations

from typing import Any

import pytest

from xbackend.ablation import Outcome, ablate
from xbackend.blame import _table_text, _verdict_text, outcome
from xbackend.flags import flag_tables
from xbackend.selection import read_run

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
    assert table.document()["judged_by"] == "tensors that do not rest on emulation"
    assert "Judged by the layers that do not rest on emulated Softmax" in _table_text(table)


def test_a_table_of_real_processors_is_judged_by_outputs() -> None:
    records = [record("a", "1", "a"), record("b", "1", "b"), record("c", "2", "b")]
    (table,) = flag_tables([read_run(each) for each in records])
    assert table.classes == (("a",), ("b", "c"))
    assert table.document()["judged_by"] == "outputs"
    assert "Judged" not in _table_text(table)


def test_outputs_that_cannot_be_trusted_change_nothing() -> None:
    whole = record("whole", "1", "a", **MARKS)
    assert outcome(whole, record("less", "1", "b", **MARKS)) == Outcome(
        "same", emulated=("Softmax",)
    )


def test_a_layer_that_can_be_trusted_tells_a_change() -> None:
    whole = record("whole", "1", "a", **MARKS)
    found = outcome(whole, record("less", "2", "a", **MARKS))
    assert found == Outcome("changed", FIRST, emulated=("Softmax",))


@pytest.mark.parametrize(("y", "expected"), [("a", "same"), ("b", "changed")])
def test_outputs_that_can_be_trusted_decide(y: str, expected: str) -> None:
    found = outcome(record("whole", "1", "a"), record("less", "2", y))
    assert found.status == expected
    assert found.first_layer == (FIRST if expected == "changed" else None)
    assert found.emulated == ()


def test_a_verdict_says_by_what_it_was_judged() -> None:
    whole = record("whole", "1", "a", **MARKS)

    def attempt(sets: Any) -> list[Outcome]:
        bits = {True: "2", False: "1"}
        return [outcome(whole, record("x", bits["fma" in s], "b", **MARKS)) for s in sets]

    verdict = ablate(("avx2", "fma"), attempt)
    text = _verdict_text("tf", "qemu:Haswell", verdict)
    assert text.startswith("Judged by the layers that do not rest on emulated Softmax")
    assert "tf: the bits of qemu:Haswell rest on fma." in text
    document = verdict.document()
    assert document["judged_by"] == "tensors that do not rest on emulation"
    assert document["causes"][0]["emulation_operators"] == ["Softmax"]

"""Which tensors of an emulated run cannot be trusted, on graphs that are written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from xbackend.platforms.emulation_taint import UNKNOWN, mark_emulated, tainted_tensors
from xbackend.worker.contract import UnfaithfulOperators

Record = dict[str, Any]

SOFTMAX = UnfaithfulOperators(("Softmax",), "It was measured.")
TCG = {"hypervisor": "TCGTCGTCGTCG", "machine": "x86_64", "flags": ["sse2", "avx"]}


def layers(*rows: tuple[str, str, list[str] | None]) -> list[Record]:
    """Make layers of tap, operator and what is read, in graph order."""
    return [
        {"tap": tap, "layer": place, "operator": operator, "inputs": reads}
        for place, (tap, operator, reads) in enumerate(rows)
    ]


DIAMOND = layers(
    ("stem", "Conv", ["x"]),
    ("gate", "Softmax", ["stem"]),
    ("side", "Conv", ["stem"]),
    ("scaled", "Mul", ["gate", "side"]),
    ("apart", "Relu", ["side"]),
    ("y", "Gemm", ["scaled"]),
)


def record(**keys: Any) -> Record:
    """Return a run's record as a worker left it."""
    tensors = {
        "taps": [{"name": "stem"}, {"name": "y"}],
        "outputs": [{"name": "y"}],
    }
    return {
        "backend_version": "1.0", "precision": "float32", "settings": {"threads": 1},
        "hardware": TCG, "layers": DIAMOND, "results": [tensors], **keys,
    }  # fmt: skip


def test_only_what_is_computed_from_an_unfaithful_operator_is_marked() -> None:
    assert tainted_tensors(DIAMOND, ["Softmax"]) == ["gate", "scaled", "y"]


def test_a_graph_without_such_an_operator_has_no_marks() -> None:
    assert tainted_tensors(DIAMOND, ["Gelu"], ["stem", "fused"]) == []


def test_a_layer_that_does_not_say_what_it_reads_may_read_everything_before_it() -> None:
    rows = layers(
        ("a", "Conv", None), ("b", "Softmax", None), ("c", "Relu", None), ("d", "Relu", ["a"])
    )
    assert tainted_tensors(rows, ["Softmax"]) == ["b", "c"]


def test_layers_of_records_without_edges_are_read_too() -> None:
    rows = [{"tap": tap, "layer": 0, "operator": op} for tap, op in (("a", "Exp"), ("b", "Relu"))]
    assert tainted_tensors(rows, ["Exp"]) == ["a", "b"]


def test_a_constant_in_the_graph_reads_nothing_and_is_safe() -> None:
    rows = layers(("a", "Softmax", ["x"]), ("k", "Constant", []), ("b", "Relu", ["k"]))
    assert tainted_tensors(rows, ["Softmax"]) == ["a"]


def test_every_output_of_a_node_is_marked() -> None:
    rows = [
        {"tap": tap, "layer": 0, "operator": "LayerNormalization", "inputs": ["x"]}
        for tap in ("y", "mean", "deviation")
    ]
    assert tainted_tensors(rows, ["LayerNormalization"]) == ["y", "mean", "deviation"]


def test_a_recorded_tensor_that_no_layer_computes_may_come_from_anywhere() -> None:
    assert tainted_tensors(DIAMOND, ["Softmax"], ["stem", "fused"])[-1] == "fused"


def test_a_record_of_an_emulated_processor_names_tensors_and_reasons() -> None:
    found = mark_emulated(
        record(), [SOFTMAX, UnfaithfulOperators(("Gelu",), "It is not in the graph.")]
    )
    assert found["emulation_unsafe"] == ["gate", "scaled", "y"]
    assert found["emulation_reasons"] == {"Softmax": "It was measured."}


@pytest.mark.parametrize(
    "hardware",
    [
        {},
        {"hypervisor": "", "machine": "x86_64"},
        {"hypervisor": "KVMKVMKVM", "machine": "x86_64"},
        {"hypervisor": "TCGTCGTCGTCG", "machine": "aarch64"},
    ],
)
def test_other_machines_than_emulated_x86_are_trusted(hardware: Record) -> None:
    assert "emulation_unsafe" not in mark_emulated(record(hardware=hardware), [SOFTMAX])


def test_an_emulated_run_with_nothing_unsafe_says_so_with_an_empty_list() -> None:
    found = mark_emulated(record(), [])
    assert (found["emulation_unsafe"], found["emulation_reasons"]) == ([], {})


def test_where_nothing_is_known_of_the_graph_everything_is_marked() -> None:
    found = mark_emulated(record(layers=[]), [SOFTMAX])
    assert found["emulation_unsafe"] == ["stem", "y"]
    assert found["emulation_reasons"] == {UNKNOWN: "It was measured."}


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        (UnfaithfulOperators(("Softmax",), "Why.", where={"delegate": ("xnnpack",)}), True),
        (
            UnfaithfulOperators(("Softmax",), "Why.", where={"delegate": ("none", "reference")}),
            False,
        ),
        (UnfaithfulOperators(("Softmax",), "Why.", where={"precision": ("float64",)}), False),
        (UnfaithfulOperators(("Softmax",), "Why.", where={"precision": ("float32",)}), True),
        (UnfaithfulOperators(("Softmax",), "Why.", unless_version=("1.0",)), False),
        (UnfaithfulOperators(("Softmax",), "Why.", unless_version=("1.0.1",)), True),
        (UnfaithfulOperators(("Softmax",), "Why.", unless_flag=("avx2", "avx")), False),
        (UnfaithfulOperators(("Softmax",), "Why.", unless_flag=("avx2",)), True),
    ],
)
def test_a_rule_holds_under_its_settings_versions_and_flags(
    rule: UnfaithfulOperators, holds: bool
) -> None:
    found = mark_emulated(record(settings={"threads": 1, "delegate": "xnnpack"}), [rule])
    assert bool(found["emulation_unsafe"]) is holds

"""Where classes are born and where they collapse, counted by hand on runs written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from xbackend.comparison.class_changes import ClassChange
from xbackend.testing.store_builder import StoreBuilder

Record = dict[str, Any]


def layer(tap: str, place: int, operator: str, reads: list[str] | None) -> Record:
    return {"tap": tap, "layer": place, "operator": operator, "inputs": reads}


CHAIN = [
    layer("a", 0, "Conv", ["x"]),
    layer("b", 1, "Relu", ["a"]),
    layer("y", 2, "Gemm", ["b"]),
]
INPUTS = {"inputs": [{"name": "x", "dtype": "float32", "shape": [1], "digest": "f" * 64}]}


def run(bench: StoreBuilder, y: float, taps: dict[str, float], **keys: Any) -> str:
    """Write a run of one sample with its input, as a worker does."""
    neutral = keys.pop("neutral", True)
    result = bench.result("0", {"y": [y]}, {name: [value] for name, value in taps.items()}, neutral)
    keys = {"layers": CHAIN, **keys}
    return bench.write(results=[{**result, **INPUTS}], taps_neutral=neutral, **keys)


def origins(bench: StoreBuilder) -> dict[str, ClassChange]:
    (sample,) = bench.compare().samples
    return {tap.tap: tap.origin for tap in sample.taps}


def counts(bench: StoreBuilder) -> dict[str, tuple[int | None, int | None]]:
    return {name: (each.born, each.collapsed) for name, each in origins(bench).items()}


def test_a_layer_that_parts_runs_with_the_same_inputs_bears_a_class(bench: StoreBuilder) -> None:
    for a, b, y in ((1.0, 1.0, 1.0), (1.0, 2.0, 2.0), (1.0, 2.0, 2.0), (1.0, 3.0, 2.0)):
        run(bench, y, {"a": a, "b": b})
    assert counts(bench) == {"a": (0, 0), "b": (2, 0), "y": (0, 1)}


def test_a_layer_can_bear_classes_and_join_others(bench: StoreBuilder) -> None:
    """Before: {0 1} {2 3}; after: {0} {1 2} {3}; together four, so two are born and one is lost."""
    for a, b in ((1.0, 1.0), (1.0, 2.0), (9.0, 2.0), (9.0, 3.0)):
        run(bench, b, {"a": a, "b": b})
    assert counts(bench)["b"] == (2, 1)


def test_the_first_layer_is_held_against_the_inputs_of_the_model(bench: StoreBuilder) -> None:
    for a in (1.0, 2.0, 3.0):
        run(bench, 1.0, {"a": a, "b": 1.0})
    assert counts(bench) == {"a": (2, 0), "b": (0, 2), "y": (0, 0)}


def test_inherited_differences_are_nobodys_birth(bench: StoreBuilder) -> None:
    run(bench, 3.0, {"a": 1.0, "b": 2.0})
    run(bench, 4.0, {"a": 5.0, "b": 6.0})
    assert counts(bench) == {"a": (1, 0), "b": (0, 0), "y": (0, 0)}


def test_all_inputs_of_a_layer_count(bench: StoreBuilder) -> None:
    layers = [*CHAIN[:2], layer("y", 2, "Add", ["a", "b"])]
    run(bench, 1.0, {"a": 1.0, "b": 1.0}, layers=layers)
    run(bench, 2.0, {"a": 1.0, "b": 2.0}, layers=layers)
    assert counts(bench) == {"a": (0, 0), "b": (1, 0), "y": (0, 0)}


def test_a_layer_that_was_not_recorded_counts_with_the_next(bench: StoreBuilder) -> None:
    run(bench, 1.0, {"b": 1.0})
    run(bench, 1.0, {"b": 2.0})
    found = origins(bench)["b"]
    assert (found.born, found.through, found.unknown) == (1, ("a",), ())


def test_runs_that_recorded_other_layers_are_held_against_their_like_only(
    bench: StoreBuilder,
) -> None:
    run(bench, 1.0, {"a": 1.0, "b": 1.0})
    run(bench, 1.0, {"b": 2.0})
    assert origins(bench)["b"] == ClassChange(compared_within_subgraphs=True)
    run(bench, 1.0, {"b": 3.0})
    assert origins(bench)["b"] == ClassChange(
        born=1, collapsed=0, through=("a",), compared_within_subgraphs=True
    )


def test_without_edges_nothing_is_said(bench: StoreBuilder) -> None:
    layers = [layer("a", 0, "Conv", ["x"]), layer("b", 1, "If", None), CHAIN[2]]
    names = [run(bench, 1.0, {"a": 1.0, "b": b}, layers=layers) for b in (1.0, 2.0)]
    assert origins(bench)["b"] == ClassChange(unknown=tuple(names))
    assert origins(bench)["a"].born == 0


def test_a_model_input_that_no_record_has_is_not_known(bench: StoreBuilder) -> None:
    result = [bench.result("0", {"y": [y]}, {"a": [y]}) for y in (1.0, 2.0)]
    names = tuple(bench.write(results=[each], layers=CHAIN) for each in result)
    assert origins(bench)["a"] == ClassChange(unknown=names)


def test_an_output_is_not_what_came_of_taps_that_changed_its_bits(bench: StoreBuilder) -> None:
    """The output is untapped, what it reads is tapped: only neutral runs tell."""
    run(bench, 1.0, {"a": 1.0, "b": 1.0})
    run(bench, 1.0, {"a": 1.0, "b": 1.0})
    odd = run(bench, 2.0, {"a": 1.0, "b": 1.0}, neutral=False)
    found = origins(bench)
    assert found["y"] == ClassChange(born=0, collapsed=0, unknown=(odd,))
    assert found["b"] == ClassChange(born=0, collapsed=0)


@pytest.mark.parametrize(("operator", "born"), [("Gemm", 1), ("Conv", 0)])
def test_a_birth_at_an_operator_that_is_emulated_amiss_is_marked(
    bench: StoreBuilder, operator: str, born: int
) -> None:
    run(bench, 1.0, {"a": 1.0, "b": 1.0})
    run(bench, 2.0, {"a": 1.0, "b": 1.0}, emulation_reasons={operator: "an estimate"})
    found = origins(bench)["y"]
    assert (found.born, found.born_by_emulation) == (1, born)


def test_one_run_alone_bears_nothing(bench: StoreBuilder) -> None:
    run(bench, 1.0, {"a": 1.0, "b": 1.0})
    assert counts(bench) == {"a": (0, 0), "b": (0, 0), "y": (0, 0)}


def test_the_document_says_what_is_read_and_what_became_of_it(bench: StoreBuilder) -> None:
    run(bench, 1.0, {"a": 1.0, "b": 1.0})
    run(bench, 1.0, {"a": 2.0, "b": 1.0})
    rows = {row["tap"]: row for row in bench.document()["comparisons"]}
    assert rows["b"]["reads"] == ["a"]
    assert rows["b"]["kind"] == "activation"
    assert rows["a"]["kind"] is None
    assert (rows["a"]["classes_born"], rows["a"]["classes_collapsed"]) == (1, 0)
    assert (rows["b"]["classes_born"], rows["b"]["classes_collapsed"]) == (0, 1)
    assert rows["b"]["origin_unknown"] == rows["b"]["born_through"] == []

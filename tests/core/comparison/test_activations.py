"""What activations and pooling do to deviations: by hand, on runs written by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from xbackend.comparison.activations import ActivationComparison, activation_totals, activations
from xbackend.testing.store_builder import StoreBuilder

LAYERS = [
    {"tap": "conv", "layer": 0, "operator": "Conv", "inputs": ["x"]},
    {"tap": "relu", "layer": 1, "operator": "Relu", "inputs": ["conv"]},
    {"tap": "pool", "layer": 2, "operator": "MaxPool", "inputs": ["relu"]},
    {"tap": "y", "layer": 3, "operator": "Softmax", "inputs": ["pool"]},
]


def ulps(*steps: int) -> np.ndarray[Any, Any]:
    """Return numbers so many ULP above 1.0, as a tensor of shape (1, n)."""
    return (np.array([steps], np.int32) + 0x3F80_0000).view(np.float32)


def run(bench: StoreBuilder, *tensors: Any, **keys: Any) -> str:
    names = ("conv", "relu", "pool")
    taps = {name: value for name, value in zip(names, tensors, strict=False) if value is not None}
    return bench.run({"y": keys.pop("y", [0.5, 0.5])}, taps, **{"layers": LAYERS, **keys})


def passages(bench: StoreBuilder) -> dict[str, ActivationComparison]:
    return {each.tap.tap: each for each in activations(bench.compare())}


def test_shares_and_bits_before_and_after(bench: StoreBuilder) -> None:
    """Of four elements before two deviate, by 4 and 1 ULP: 20 bits; after one by 1 ULP: 22."""
    run(bench, ulps(0, 0, 0, 0), ulps(0, 0, 0, 0), ulps(0))
    run(bench, ulps(4, 1, 0, 0), ulps(1, 0, 0, 0), ulps(2))
    found = passages(bench)
    relu = found["relu"].to_dict()
    assert (relu["tap_before"], relu["tap_after"]) == ("conv", "relu")
    assert (relu["deviating_fraction_before"], relu["deviating_fraction_after"]) == (0.5, 0.25)
    assert (relu["remaining_precision_before"], relu["remaining_precision_after"]) == (20, 22)
    assert (relu["operator"], relu["kind"], relu["change"]) == ("Relu", "activation", "increases")
    pool = found["pool"].to_dict()
    assert (pool["kind"], pool["change"]) == ("pooling", "decreases")
    assert (pool["remaining_precision_before"], pool["remaining_precision_after"]) == (22, 21)
    assert found["y"].change == "increases"


def test_only_runs_that_recorded_both_tensors_are_held_against_each_other(
    bench: StoreBuilder,
) -> None:
    both = [run(bench, ulps(0), ulps(0), ulps(0)), run(bench, ulps(1), ulps(1), ulps(1))]
    fused = run(bench, None, ulps(1 << 20), ulps(1 << 20))
    found = passages(bench)
    assert found["relu"].runs == tuple(both)
    assert found["relu"].left_out == (fused,)
    assert found["relu"].change == "keeps"
    assert found["relu"].after is not None
    assert found["relu"].after.metrics.remaining_precision == 22
    assert found["relu"].tap.metrics.remaining_precision == 2
    assert found["pool"].left_out == ()


def test_what_nobody_recorded_is_not_known(bench: StoreBuilder) -> None:
    names = tuple(run(bench, None, ulps(n), ulps(n)) for n in (0, 1))
    found = passages(bench)["relu"]
    assert (found.before, found.after, found.runs, found.left_out) == (None, None, (), names)
    document = found.to_dict()
    assert document["change"] is document["remaining_precision_after"] is None
    assert document["tap_after"] == "relu"


def test_a_run_of_another_graph_is_left_out(bench: StoreBuilder) -> None:
    names = [run(bench, ulps(n), ulps(n), ulps(n)) for n in (0, 1)]
    layers = [LAYERS[0], {**LAYERS[1], "inputs": ["x"]}, *LAYERS[2:]]
    other = run(bench, ulps(5), ulps(5), ulps(5), layers=layers)
    found = passages(bench)["relu"]
    assert (list(found.runs), found.left_out) == (names, (other,))


def test_an_untapped_output_is_held_against_neutral_taps_only(bench: StoreBuilder) -> None:
    sound = [run(bench, ulps(0), ulps(0), ulps(0), y=[y]) for y in (1.0, 2.0)]
    odd = run(bench, ulps(0), ulps(0), ulps(3), y=[9.0], neutral=False)
    found = passages(bench)
    assert (list(found["y"].runs), found["y"].left_out) == (sound, (odd,))
    assert odd in found["pool"].runs
    assert found["pool"].to_dict()["taps_not_neutral"] == [odd]


def test_the_input_of_the_model_is_the_same_bits_before_the_first_layer(
    bench: StoreBuilder,
) -> None:
    layers = [{"tap": "y", "layer": 0, "operator": "Relu", "inputs": ["x"]}]
    given = [{"name": "x", "dtype": "float32", "shape": [1], "digest": "f" * 64}]
    for y in (1.0, 2.0):
        result = bench.result("0", {"y": [y]}, {})
        bench.write(results=[{**result, "inputs": given}], layers=layers)
    found = passages(bench)["y"]
    assert found.before is not None
    assert (found.before.tap, found.before.eqc_count) == ("x", 1)
    assert found.before.metrics.remaining_precision == 23
    assert found.change == "decreases"


def test_integers_have_shares_but_no_bits(bench: StoreBuilder) -> None:
    for n in (0, 1):
        taps = {name: np.array([[n, 5]], np.int8) for name in ("conv", "relu")}
        bench.run({"y": np.array([[n]], np.int8)}, taps, layers=LAYERS)
    found = passages(bench)["relu"]
    assert found.change is None
    assert found.to_dict()["deviating_fraction_before"] == 0.5


def test_totals_are_means_over_samples_for_each_operator(bench: StoreBuilder) -> None:
    """Sample 0: Relu increases, MaxPool keeps; sample 1: Relu keeps without any deviation."""
    for n in (0, 2):
        first = {"conv": ulps(n), "relu": ulps(n // 2), "pool": ulps(n // 2)}
        second = {"conv": ulps(0), "relu": ulps(0), "pool": ulps(n)}
        results = [bench.result(name, {"y": [0.5]}, t) for name, t in (("0", first), ("1", second))]
        bench.write(results=results, layers=LAYERS, taps_neutral=True)
    found = {total.operator: total for total in activation_totals(activations(bench.compare()))}
    relu, pool = found["Relu"], found["MaxPool"]
    assert (relu.layers, relu.samples) == (1, 2)
    assert (relu.increases, relu.keeps, relu.decreases, relu.same_bits) == (0.5, 0.5, 0, 0.5)
    assert (pool.increases, pool.keeps, pool.decreases, pool.same_bits) == (0, 0.5, 0.5, 0)
    assert (pool.kind, pool.unknown) == ("pooling", 0)

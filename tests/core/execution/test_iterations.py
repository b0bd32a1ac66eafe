"""Layers of bodies in the records of runs."""

from __future__ import annotations

from xbackend.execution.workers.iterations import layers_with_iterations


def test_each_iteration_that_was_recorded_is_a_layer_of_its_own() -> None:
    layers = [
        {"tap": "a", "layer": 0, "operator": "Relu", "inputs": ["x"]},
        {"tap": "loop[]/b", "layer": 1, "operator": "Add", "inputs": None},
        {"tap": "loop[]/c", "layer": 2, "operator": "Mul", "inputs": None},
    ]
    taps = [{"name": name} for name in ("a", "loop[0]/b", "loop[1]/b")]
    made = layers_with_iterations(layers, [{"taps": taps}, {"taps": taps}])
    told = [(row["tap"], row["layer"], row["operator"]) for row in made]
    assert told == [
        ("a", 0, "Relu"),
        ("loop[0]/b", 1, "Add"),
        ("loop[1]/b", 1, "Add"),
        ("loop[]/c", 2, "Mul"),
    ]


def test_what_an_operator_is_made_of_comes_before_it_and_counts_as_its_layer() -> None:
    layers = [
        {"tap": "x1", "layer": 0, "operator": "Relu", "inputs": ["x"]},
        {"tap": "y", "layer": 1, "operator": "LSTM", "inputs": ["x1"]},
    ]
    taps = [{"name": name} for name in ("x1", "y/MatMul_2", "y/Scan[0]/y/Add_1", "y")]
    made = layers_with_iterations(layers, [{"taps": taps}])
    assert [(row["tap"], row["layer"], row["inputs"]) for row in made] == [
        ("x1", 0, ["x"]),
        ("y/MatMul_2", 1, None),
        ("y/Scan[0]/y/Add_1", 1, None),
        ("y", 1, ["x1"]),
    ]

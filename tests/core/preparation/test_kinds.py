"""What inputs stand for: indices below what they look up in, masks, positions, lengths, states."""

import numpy as np
import pytest

from xbackend.preparation.inputs import random_inputs
from xbackend.preparation.samples.kinds import InputKind, input_kinds
from xbackend.store.store import Store
from xbackend.worker.artifact import ValueInfo
from xbackend.worker.graph import Graph, Node
from xbackend.worker.tensor import from_numpy


def node(operator, inputs, outputs, domain="", **attributes):
    return Node(operator, domain, "", tuple(inputs), tuple(outputs), attributes)


def graph_of(interface, nodes, **constants):
    arrays = {name: from_numpy(array) for name, array in constants.items()}
    return Graph(17, tuple(interface), (), arrays, tuple(nodes))


def kinds_of(interface, nodes, **constants):
    return input_kinds(interface, graph_of(interface, nodes, **constants))


IDS = ValueInfo("x", "int64", (1, 64))
TABLE = np.zeros((5, 4), np.float32)


def test_indices_stay_below_what_they_look_up_in_however_they_are_moved():
    moved = [
        node("Cast", ["x"], ["a"]),
        node("Reshape", ["a", "shape"], ["b"]),
        node("Unsqueeze", ["b", "axes"], ["c"]),
        node("Gather", ["table", "c"], ["y"], axis=0),
    ]
    found = kinds_of([IDS], moved, table=TABLE, shape=np.array([64]), axes=np.array([0]))
    assert found == {"x": InputKind("indices", 5)}


def test_the_smallest_of_several_tables_counts_and_the_axis_is_that_of_the_node():
    nodes = [
        node("Gather", ["table", "x"], ["y"], axis=0),
        node("Gather", ["table", "x"], ["z"], axis=1),
    ]
    assert kinds_of([IDS], nodes, table=TABLE) == {"x": InputKind("indices", 4)}


def test_a_table_may_be_dequantized_first():
    nodes = [
        node("DequantizeLinear", ["q", "s"], ["table"]),
        node("Gather", ["table", "x"], ["y"], axis=0),
    ]
    found = kinds_of([IDS], nodes, q=np.zeros((7, 2), np.int8), s=np.float32(0.1))
    assert found == {"x": InputKind("indices", 7)}


def test_what_is_looked_up_in_a_computed_value_is_not_known():
    nodes = [node("Relu", ["v"], ["t"]), node("Gather", ["t", "x"], ["y"], axis=0)]
    assert kinds_of([IDS], nodes, v=TABLE)["x"].word == "uniform"


def test_initial_states_and_lengths_of_recurrent_layers_are_known():
    interface = [
        ValueInfo("x", "float32", (4, 1, 2)),
        ValueInfo("a", "float32", (1, 1, 3)),
        ValueInfo("b", "float32", (1, 1, 3)),
        ValueInfo("n", "int32", (1,)),
    ]
    nodes = [node("LSTM", ["x", "W", "R", "B", "n", "a", "b"], ["y"])]
    words = {name: kind.word for name, kind in kinds_of(interface, nodes).items()}
    assert words == {"x": "uniform", "a": "state", "b": "state", "n": "length"}


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "word"),
    [
        ("attention_mask", "int64", (1, 8), "mask"),
        ("mask", "bool", (1, 8), "mask"),
        ("position_ids", "int64", (1, 8), "positions"),
        ("lengths", "int64", (1,), "length"),
        ("x_len", "int32", (1,), "length"),
        ("sr", "int64", (), "rate"),
        ("h0", "float32", (2, 1, 64), "state"),
        ("state", "float32", (2, 1, 128), "state"),
        ("past_key_values.0.key", "float32", (1, 2, 4, 8), "state"),
        ("encoder_hidden_states", "float32", (1, 4, 8), "uniform"),
        ("image", "uint8", (1, 8, 8, 3), "pixels"),
        ("x", "float32", (1, 8), "uniform"),
        ("input", "int64", (1, 8), "uniform"),
    ],
)
def test_names_tell_what_no_reader_does(name, dtype, shape, word):
    assert input_kinds([ValueInfo(name, dtype, shape)], None)[name].word == word


def made(tmp_path, interface, kinds):
    store = Store(tmp_path / "store")
    store.create()
    inputs = random_inputs(interface, store, kinds=kinds)
    sample = inputs.samples(interface)[0]
    found = {}
    for name, where in sample.inputs.items():
        rows = np.load(where.file)[where.start : where.stop]
        found[name] = rows[0] if where.drop_axis else rows
    return found, inputs


def test_numbers_are_made_that_make_sense(tmp_path):
    interface = [
        ValueInfo("ids", "int64", (1, 64)),
        ValueInfo("attention_mask", "int64", (1, 64)),
        ValueInfo("position_ids", "int64", (1, 6)),
        ValueInfo("state", "float32", (2, 1, 3)),
        ValueInfo("lengths", "int64", (1,)),
        ValueInfo("picture", "uint8", (1, 16, 16, 3)),
        ValueInfo("sr", "int64", ()),
    ]
    nodes = [
        node("Gather", ["table", "ids"], ["y"], axis=0),
        node("Gather", ["places", "position_ids"], ["z"], axis=0),
    ]
    kinds = kinds_of(interface, nodes, table=TABLE, places=np.zeros((4, 4), np.float32))
    arrays, inputs = made(tmp_path, interface, kinds)
    assert set(arrays["ids"].ravel()) == {0, 1, 2, 3, 4}
    assert arrays["attention_mask"].tolist() == [[1] * 64]
    assert arrays["position_ids"].tolist() == [[0, 1, 2, 3, 0, 1]]
    assert arrays["state"].tolist() == np.zeros((2, 1, 3)).tolist()
    assert arrays["lengths"].tolist() == [16]
    assert arrays["picture"].max() > 200
    assert arrays["sr"].shape == ()
    assert arrays["sr"] == 16000
    assert inputs.about["kinds"]["ids"] == "indices below 5"
    assert inputs.about["random"] == {"seed": 0}

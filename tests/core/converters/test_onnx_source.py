"""Broken and hostile ONNX files, and the normalised graph of sound ones."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from xbackend.converters.onnx.source import read_onnx
from xbackend.converters.onnx_to_graph import convert
from xbackend.errors import ModelError
from xbackend.plugins.converter import ConversionRequest
from xbackend.worker.graph import read_graph


def _value(name, shape=(1, 4), dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def _model(nodes, initializers=(), opset=17, inputs=("x",), outputs=("y",), shape=(1, 4)):
    graph = helper.make_graph(
        nodes,
        "g",
        [_value(name, shape) for name in inputs],
        [_value(name, ("n",)) for name in outputs],
        list(initializers),
    )
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def _save(model, folder, name="m.onnx"):
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def _graph(model, folder):
    output = folder / "out"
    output.mkdir()
    result = convert(ConversionRequest(_save(model, folder), "onnx", "graph", output))
    return result, read_graph(output), output


RELU = helper.make_node("Relu", ["x"], ["y"], "relu")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"none\.onnx.*No such file"):
        read_onnx(tmp_path / "none.onnx")


def test_a_model_without_outputs_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"m\.onnx has no outputs"):
        read_onnx(_save(_model([RELU], outputs=()), tmp_path))


@pytest.mark.parametrize("size", [0, 1, 20, 60])
def test_a_truncated_file_is_told_in_one_sentence(tmp_path, size):
    path = _save(_model([RELU]), tmp_path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ModelError) as caught:
        read_onnx(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_of_another_format_are_refused(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"PK\x03\x04 this is a zip file")
    with pytest.raises(ModelError, match="another format"):
        read_onnx(path)


def test_an_unknown_operator_is_named(tmp_path):
    model = _model([helper.make_node("Frobnicate", ["x"], ["y"])])
    with pytest.raises(ModelError, match=r"opset 17 does not know: Frobnicate\."):
        read_onnx(_save(model, tmp_path))


def test_an_operator_of_an_unknown_domain_is_named(tmp_path):
    model = _model([helper.make_node("Relu", ["x"], ["y"], domain="my.own")])
    model.opset_import.append(helper.make_opsetid("my.own", 1))
    with pytest.raises(ModelError, match=r"my\.own\.Relu"):
        read_onnx(_save(model, tmp_path))


def test_a_cycle_is_told_with_its_values(tmp_path):
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    with pytest.raises(ModelError, match=r"cycle through the values a, b"):
        read_onnx(_save(_model(nodes), tmp_path))


def test_a_value_that_nothing_computes_is_named(tmp_path):
    model = _model([helper.make_node("Add", ["x", "ghost"], ["y"], "plus")])
    with pytest.raises(ModelError, match=r"'plus' reads the value 'ghost'"):
        read_onnx(_save(model, tmp_path))


def test_nodes_in_any_order_are_sorted(tmp_path):
    nodes = [helper.make_node("Relu", ["a"], ["y"]), helper.make_node("Neg", ["x"], ["a"])]
    _, graph, _ = _graph(_model(nodes), tmp_path)
    assert graph.values == ("a", "y")


def test_an_old_opset_is_refused_with_the_cure(tmp_path):
    with pytest.raises(ModelError, match=r"opset 6.*convert_version"):
        read_onnx(_save(_model([RELU], opset=6), tmp_path))


def _external(location, tmp_path):
    weight = numpy_helper.from_array(np.ones(4, np.float32), "w")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", location
    model = _model([helper.make_node("Add", ["x", "w"], ["y"])], [weight])
    folder = tmp_path / "model"
    folder.mkdir()
    return _save(model, folder)


@pytest.mark.parametrize("kind", ["parent", "absolute", "link"])
def test_weights_outside_of_the_models_folder_are_refused(tmp_path, kind):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.ones(4, np.float32).tobytes())
    location = {"parent": "../secret.bin", "absolute": str(secret), "link": "inside.bin"}[kind]
    path = _external(location, tmp_path)
    if kind == "link":
        (path.parent / "inside.bin").symlink_to(secret)
    with pytest.raises(ModelError, match="outside of its own folder"):
        read_onnx(path)


def test_weights_beside_the_model_are_read(tmp_path):
    path = _external("w.bin", tmp_path)
    with pytest.raises(ModelError, match=r"'w\.bin', which is missing"):
        read_onnx(path)
    (path.parent / "w.bin").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    weight = read_onnx(path).graph.initializer[0]
    assert numpy_helper.to_array(weight).tolist() == [0, 1, 2, 3]


def test_every_initializer_keeps_its_bits(tmp_path):
    bits = np.array([0x7FC01234, 0x80000000, 1, 0xFF800000], np.uint32)
    weight = numpy_helper.from_array(bits.view(np.float32), "w")
    result, graph, _ = _graph(
        _model([helper.make_node("Add", ["x", "w"], ["y"])], [weight]), tmp_path
    )
    assert graph.constants["w"].array.view(np.uint32).tolist() == bits.tolist()
    assert result.weights.identical == ("w",)
    assert result.weights.changed == ()


def test_every_computed_value_is_a_layer_and_an_output_of_the_tapped_file(tmp_path):
    nodes = [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Relu", ["a"], ["y"])]
    result, _, output = _graph(_model(nodes), tmp_path)
    assert [(v.tap, v.layer, v.operator) for v in result.layers] == [
        ("a", 0, "Neg"),
        ("y", 1, "Relu"),
    ]
    plain, tapped = onnx.load(output / "model.onnx"), onnx.load(output / "taps.onnx")
    assert [v.name for v in plain.graph.output] == ["y"]
    assert [v.name for v in tapped.graph.output] == ["y", "a"]


def test_an_initializer_is_not_an_input_even_where_an_old_file_says_so(tmp_path):
    weight = numpy_helper.from_array(np.ones(4, np.float32), "w")
    model = _model([helper.make_node("Add", ["x", "w"], ["y"])], [weight], inputs=("x", "w"))
    model.ir_version = 3
    result, _, output = _graph(model, tmp_path)
    assert [value.name for value in result.inputs] == ["x"]
    assert [v.name for v in onnx.load(output / "model.onnx").graph.input] == ["x"]


def _constant(graph, node, position):
    return graph.constants[node.inputs[position]].array.tolist()


def test_axes_become_an_input_before_opset_13(tmp_path):
    node = helper.make_node("Unsqueeze", ["x"], ["y"], axes=[0, 2])
    _, graph, _ = _graph(_model([node], opset=11), tmp_path)
    assert _constant(graph, graph.nodes[0], 1) == [0, 2]
    assert "axes" not in graph.nodes[0].attributes


def test_clip_takes_its_bounds_as_inputs_before_opset_11(tmp_path):
    node = helper.make_node("Clip", ["x"], ["y"], min=-1.0, max=6.0)
    _, graph, _ = _graph(_model([node], opset=9), tmp_path)
    assert [_constant(graph, graph.nodes[0], i) for i in (1, 2)] == [-1.0, 6.0]


def test_pad_takes_pads_and_value_as_inputs_before_opset_11(tmp_path):
    node = helper.make_node("Pad", ["x"], ["y"], pads=[0, 1, 0, 2], value=3.0)
    _, graph, _ = _graph(_model([node], opset=9), tmp_path)
    assert [_constant(graph, graph.nodes[0], i) for i in (1, 2)] == [[0, 1, 0, 2], 3.0]


def test_softmax_before_opset_13_says_that_it_flattens(tmp_path):
    node = helper.make_node("Softmax", ["x"], ["y"])
    _, old, _ = _graph(_model([node], opset=12), tmp_path)
    assert old.nodes[0].attributes == {"axis": 1, "coerce_2d": 1}


def test_softmax_from_opset_13_on_works_along_the_last_axis(tmp_path):
    _, new, _ = _graph(_model([helper.make_node("Softmax", ["x"], ["y"])]), tmp_path)
    assert new.nodes[0].attributes == {"axis": -1}


def test_upsample_becomes_todays_resize(tmp_path):
    node = helper.make_node("Upsample", ["x"], ["y"], mode="nearest", scales=[1.0, 1.0, 2.0, 2.0])
    model = _model([node], opset=7, shape=(1, 1, 2, 2))
    _, graph, _ = _graph(model, tmp_path)
    resize = graph.nodes[0]
    assert (resize.operator, resize.inputs[1]) == ("Resize", "")
    assert _constant(graph, resize, 2) == [1.0, 1.0, 2.0, 2.0]
    assert resize.attributes["coordinate_transformation_mode"] == "asymmetric"
    assert resize.attributes["nearest_mode"] == "floor"


def test_a_format_is_named_not_numbered(tmp_path):
    node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16)
    _, graph, _ = _graph(_model([node]), tmp_path)
    assert graph.nodes[0].attributes["to"] == "bfloat16"


def test_a_window_has_its_strides_dilations_and_pads_written_out(tmp_path):
    weight = numpy_helper.from_array(np.ones((1, 1, 3), np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    _, graph, _ = _graph(_model([node], [weight], shape=(1, 1, 8)), tmp_path)
    attributes = graph.nodes[0].attributes
    assert (attributes["strides"], attributes["dilations"]) == ([1], [1])
    assert (attributes["pads"], attributes["group"]) == ([0, 0], 1)


def test_the_files_need_no_onnx_package_to_read(tmp_path):
    _, _, output = _graph(_model([RELU]), tmp_path)
    document = json.loads((output / "graph.json").read_text())
    assert document["nodes"][0]["operator"] == "Relu"
    assert Path(output / "weights.bin").stat().st_size == 0

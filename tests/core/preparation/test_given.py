"""Inputs of every form: ONNX's test data, folders, pictures, functions, safetensors, labels."""

import json
import struct
import sys

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from xbackend.errors import InputError
from xbackend.preparation.inputs import find_stored_inputs, load_inputs, random_inputs
from xbackend.preparation.samples.choice import sample_choice
from xbackend.store.store import Store
from xbackend.worker.artifact import ValueInfo

A = ValueInfo("a", "float32", (None, 2))
B = ValueInfo("b", "int64", (None,))
PICTURE = ValueInfo("x", "float32", (None, 3, 2, 2))


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")
    store.create()
    return store


def values(inputs, interface, name):
    found = []
    for sample in inputs.samples(interface):
        where = sample.inputs[name]
        rows = np.load(where.file)[where.start : where.stop]
        found.append((rows[0] if where.drop_axis else rows).tolist())
    return found


def proto(folder, number, array, name=""):
    folder.mkdir(parents=True, exist_ok=True)
    tensor = numpy_helper.from_array(np.asarray(array), name)
    (folder / f"input_{number}.pb").write_bytes(tensor.SerializeToString())


def test_test_data_of_onnx_is_one_sample_for_each_set(tmp_path, store):
    for place in range(2):
        folder = tmp_path / "data" / f"test_data_set_{place}"
        proto(folder, 0, np.full((1, 2), place, np.float32))
        proto(folder, 1, np.array([place + 5]))
    inputs = load_inputs(tmp_path / "data", [A, B], store)
    assert values(inputs, [A, B], "a") == [[[0.0, 0.0]], [[1.0, 1.0]]]
    assert values(inputs, [A, B], "b") == [[5], [6]]
    one = load_inputs(tmp_path / "data" / "test_data_set_1", [A, B], store)
    assert values(one, [A, B], "b") == [[6]]


def test_names_within_test_data_go_before_the_order_of_files(tmp_path, store):
    proto(tmp_path / "set", 0, np.array([7]), "b")
    proto(tmp_path / "set", 1, np.ones((1, 2), np.float32), "a")
    inputs = load_inputs(tmp_path / "set", [A, B], store)
    assert values(inputs, [A, B], "b") == [[7]]


def test_a_folder_of_npz_files_is_read_in_the_order_of_numbers(tmp_path, store):
    folder = tmp_path / "many"
    folder.mkdir()
    for place in (10, 9, 1):
        np.savez(folder / f"s{place}.npz", a=np.full((1, 2), place, np.float32), b=[place])
    inputs = load_inputs(folder, [A, B], store)
    assert values(inputs, [A, B], "b") == [[1], [9], [10]]


def test_a_folder_without_samples_says_what_is_taken(tmp_path, store):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no samples: give an \.npy.*or pictures"):
        load_inputs(tmp_path / "empty", [A], store)


@pytest.fixture
def cat(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0, 1] = (255, 51, 0)
    path = tmp_path / "cat.png"
    image.fromarray(pixels).save(path)
    return path


def test_a_picture_becomes_channels_first_in_0_to_1(cat, store):
    inputs = load_inputs(cat, [PICTURE], store)
    assert values(inputs, [PICTURE], "x") == [
        [[[[0.0, 1.0], [0.0, 0.0]], [[0.0, np.float32(0.2)], [0.0, 0.0]], [[0.0, 0.0]] * 2]]
    ]
    assert inputs.about["pictures"] == ["cat.png"]


def test_a_picture_follows_the_layout_and_format_of_the_input(cat, store):
    last = ValueInfo("x", "uint8", (1, 2, 2, 3))
    inputs = load_inputs(cat, [last], store)
    assert values(inputs, [last], "x")[0][0][0][1] == [255, 51, 0]


def test_mean_and_deviation_are_applied_channel_by_channel(cat, store):
    choice = sample_choice(mean="0.5,0,0", std="0.25,1,1")
    inputs = load_inputs(cat, [PICTURE], store, choice=choice)
    red = values(inputs, [PICTURE], "x")[0][0][0]
    assert red == [[-2.0, 2.0], [-2.0, -2.0]]


def test_a_picture_takes_the_size_that_is_asked_for_where_the_model_is_free(cat, store):
    free = ValueInfo("x", "float32", (None, 3, None, None))
    inputs = load_inputs(cat, [free], store, choice=sample_choice(resize="4x6"))
    assert np.shape(values(inputs, [free], "x")[0]) == (1, 3, 4, 6)
    with pytest.raises(InputError, match=r"'--resize 4x6' is not what.*takes: 2x2"):
        load_inputs(cat, [PICTURE], store, choice=sample_choice(resize="4x6"))


def test_folders_of_classes_give_labels(tmp_path, cat, store):
    for name in ("dog", "ape"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for count in range(2):
            (tmp_path / "pets" / name / f"{count}.png").write_bytes(cat.read_bytes())
    inputs = load_inputs(tmp_path / "pets", [PICTURE], store)
    assert inputs.labels == (0, 0, 1, 1)
    assert inputs.about["classes"] == ["ape", "dog"]
    assert inputs.notes()["labels"] == {"0": 0, "1": 0, "2": 1, "3": 1}


def test_what_concerns_pictures_alone_is_refused_for_others(tmp_path, store):
    np.save(tmp_path / "x.npy", np.ones((1, 2), np.float32))
    with pytest.raises(InputError, match=r"no picture, so leave out --resize"):
        load_inputs(tmp_path / "x.npy", [A], store, choice=sample_choice(mean=0.5))


def test_a_broken_picture_is_told_in_one_sentence(tmp_path, store):
    pytest.importorskip("PIL.Image")
    (tmp_path / "x.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match=r"x\.jpg is not a whole picture"):
        load_inputs(tmp_path / "x.jpg", [PICTURE], store)


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "my_samples.py").write_text(
        "import numpy as np\n"
        "def each():\n"
        "    for n in range(3):\n"
        "        yield {'a': np.full((1, 2), n, np.float32), 'b': np.array([n])}\n"
        "def whole():\n"
        "    return {'a': np.ones((2, 2), np.float32), 'b': np.array([3, 4])}\n"
        "def uneven():\n"
        "    yield np.ones((1, 2), np.float32)\n"
        "    yield np.ones((1, 3), np.float32)\n"
        "def fails():\n"
        "    raise KeyError('nothing')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "my_samples"
    sys.modules.pop("my_samples", None)


def test_a_function_gives_samples_one_by_one_or_all_at_once(module, store):
    from pathlib import Path

    inputs = load_inputs(Path(f"{module}:each"), [A, B], store)
    assert values(inputs, [A, B], "b") == [[0], [1], [2]]
    inputs = load_inputs(Path(f"{module}:whole"), [A, B], store)
    assert values(inputs, [A, B], "b") == [[3], [4]]


@pytest.mark.parametrize(
    ("name", "said"), [("uneven", "several shapes"), ("fails", "KeyError"), ("none", "Attribute")]
)
def test_a_function_that_gives_none_is_told(module, store, name, said):
    from pathlib import Path

    with pytest.raises(InputError, match=said):
        load_inputs(Path(f"{module}:{name}"), [A], store)


def safetensors_bytes(**arrays):
    """Write the format by hand: a length, a header in JSON, then the bytes."""
    header, data = {}, b""
    for name, (dtype, array) in arrays.items():
        raw = array.tobytes()
        places = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": places}
        data += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_safetensors_are_read_by_name(tmp_path, store):
    pytest.importorskip("safetensors")
    path = tmp_path / "x.safetensors"
    arrays = {"a": ("F32", np.ones((2, 2), np.float32)), "b": ("I64", np.array([3, 4]))}
    path.write_bytes(safetensors_bytes(**arrays))
    assert values(load_inputs(path, [A, B], store), [A, B], "b") == [[3], [4]]
    path.write_bytes(b"\x00" * 20)
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load_inputs(path, [A, B], store)


def test_labels_come_beside_the_inputs_or_in_a_file(tmp_path, store):
    np.savez(tmp_path / "x.npz", a=np.ones((2, 2), np.float32), labels=[1, 0])
    assert load_inputs(tmp_path / "x.npz", [A], store).labels == (1, 0)
    np.save(tmp_path / "l.npy", np.array([1, 1]))
    choice = sample_choice(labels=tmp_path / "l.npy")
    assert load_inputs(tmp_path / "x.npz", [A], store, choice=choice).labels == (1, 1)
    np.save(tmp_path / "l.npy", np.array([1, 1, 1]))
    with pytest.raises(InputError, match="3 labels for 2 samples"):
        load_inputs(tmp_path / "x.npz", [A], store, choice=choice)


def test_a_chosen_extent_says_how_many_rows_are_a_sample(tmp_path, store):
    np.save(tmp_path / "x.npy", np.arange(8, dtype=np.float32).reshape(4, 2))
    named = ValueInfo("a", "float32", (None, 2), ("batch", ""))
    inputs = load_inputs(tmp_path / "x.npy", [named], store, choice=sample_choice(dims=["batch=2"]))
    assert values(inputs, [named], "a") == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]


def test_a_set_is_found_again_by_its_digest_with_all_that_was_chosen(tmp_path, store):
    named = ValueInfo("a", "float32", (None, 2), ("batch", ""))
    made = random_inputs([named], store, choice=sample_choice(dims=["batch=2"]))
    again = find_stored_inputs(made.digest, [named], store)
    assert again == made
    assert again.about["dims"] == {"batch": 2}
    (store.folder / "inputs" / f"{made.digest}.json").write_text("{")
    with pytest.raises(InputError, match="no longer in"):
        find_stored_inputs(made.digest, [named], store)


def test_a_negative_extent_of_an_onnx_file_is_a_free_axis(tmp_path):
    from onnx import TensorProto, helper

    from xbackend.converters.onnx.source import read_onnx
    from xbackend.converters.onnx_to_graph import graph_of

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [-1, 3, "h", -1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [-1, 3, "h", -1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [out])
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    (found,) = graph_of(read_onnx(tmp_path / "m.onnx")).inputs
    assert found == ValueInfo("x", "float32", (None, 3, None, None), ("", "", "h", ""))

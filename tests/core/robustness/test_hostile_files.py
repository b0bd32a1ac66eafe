"""Hostile and merely large files and places: one sentence, in time, and nothing that acts."""

from __future__ import annotations

import csv
import io
import itertools
import random
import time
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from xbackend.errors import InputError, ModelError
from xbackend.plugins import registry
from xbackend.preparation.numpy_file import read_numpy
from xbackend.store.escaping import readable, spreadsheet_cell
from xbackend.testing.store_builder import StoreBuilder


def small(path: Path, nodes: list[onnx.NodeProto], shape: tuple[int, ...] = (1, 4)) -> Path:
    """Write a model from x to y."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    graph = helper.make_graph(nodes, "small", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 17)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    )
    return path


def chain(count: int) -> list[onnx.NodeProto]:
    names = ["x", *(f"v{place}" for place in range(count - 1)), "y"]
    return [helper.make_node("Relu", [a], [b]) for a, b in itertools.pairwise(names)]


def test_twenty_thousand_nodes_in_reverse_order_are_sorted_in_seconds(tmp_path: Path) -> None:
    from xbackend.converters.onnx.source import read_onnx

    nodes = chain(20_000)
    path = small(tmp_path / "m.onnx", nodes[::-1])
    started = time.monotonic()
    model = read_onnx(path)
    assert time.monotonic() - started < 30
    assert [node.output[0] for node in model.graph.node] == [node.output[0] for node in nodes]


def passes(graph: onnx.GraphProto) -> list[str]:
    """The order that going through the nodes again and again gives: slow, and plain to see."""
    known, waiting, order = {"x"}, list(graph.node), []
    while waiting:
        blocked = []
        for node in waiting:
            if set(node.input) <= known:
                order.append(node.output[0])
                known |= set(node.output)
            else:
                blocked.append(node)
        waiting = blocked
    return order


@pytest.mark.parametrize("seed", range(20))
def test_the_order_is_that_of_going_through_the_nodes_again_and_again(
    seed: int, tmp_path: Path
) -> None:
    from xbackend.converters.onnx.order import sort_nodes

    chance = random.Random(seed)
    names = ["x"]
    nodes = []
    for place in range(40):
        reads = chance.sample(names, min(len(names), chance.randint(1, 3)))
        nodes.append(helper.make_node("Sum", reads, [f"v{place}"]))
        names.append(f"v{place}")
    chance.shuffle(nodes)
    model = onnx.load(small(tmp_path / "m.onnx", nodes))
    expected = passes(model.graph)
    sort_nodes(model.graph, tmp_path)
    assert [node.output[0] for node in model.graph.node] == expected


@pytest.mark.parametrize("shape", [(1, 2**40), (2**40, 4), (2**20, 2**20, 2**20)])
def test_an_input_too_large_to_be_made_up_is_refused_at_once(
    refused, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    path = small(tmp_path / "m.onnx", chain(1), shape)
    assert "--inputs" in refused(path)


def npz(compression: int) -> bytes:
    stream = io.BytesIO()
    array = io.BytesIO()
    np.save(array, np.arange(64, dtype=np.float32).reshape(16, 4))
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr("x.npy", array.getvalue())
    return stream.getvalue()


KINDS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", [*KINDS, None])
def test_arrays_under_mutation_are_read_or_refused_in_a_sentence(
    tmp_path: Path, kind: int | None, seed: int
) -> None:
    stream = io.BytesIO()
    np.save(stream, np.arange(8, dtype=np.int64))
    sound = stream.getvalue() if kind is None else npz(kind)
    chance = random.Random(seed)
    path = tmp_path / "arrays"
    outcomes = set()
    for _ in range(150):
        data = bytearray(sound)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data[: chance.choice([len(data), chance.randrange(1, len(data))])])
        outcomes.add(outcome(path))
    assert outcomes <= {"read", "refused"}
    assert "refused" in outcomes


def outcome(path: Path) -> str:
    try:
        found = read_numpy(path, "the inputs", "Save them with numpy.save.")
    except InputError as error:
        sentence = str(error)
    else:
        assert all(isinstance(array, np.ndarray) for array in found.values())
        return "read"
    assert str(path) in sentence
    assert sentence.isprintable()
    assert len(sentence) < 500
    return "refused"


def test_an_archive_that_unpacks_to_far_more_than_it_is_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive, archive.open("x.npy", "w") as to:
        for _ in range(1100):
            to.write(bytes(1 << 20))
    started = time.monotonic()
    with pytest.raises(InputError, match="unpacks to 1153433600 bytes"):
        read_numpy(path, "the inputs", "")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "data", [b"PK\x05\x06" + bytes(18), b"PK\x03\x04", b"\x93NUMPY\x01\x00\xff\xff", b""]
)
def test_labels_that_are_no_arrays_are_one_sentence(
    xbackend, sound: Path, tmp_path: Path, data: bytes
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 4), np.float32))
    (tmp_path / "labels.npy").write_bytes(data)
    options = ["--inputs", "x.npy", "--labels", "labels.npy", "--backends", "good"]
    done = xbackend("mitigate", sound, *options)
    assert done.status == 2, done
    assert "labels.npy" in done.sentence


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("a\rb", "a\\rb"),
        ("\r=1", "\\r=1"),
        ("a\x1b[2Jb\x00", "a\\x1b[2Jb\\x00"),
        ("-0.5|2|-inf", "-0.5|2|-inf"),
        ("-1e-07", "-1e-07"),
        ("conv1", "conv1"),
    ],
)
def test_no_cell_is_computed_or_acted_upon(text: str, shown: str) -> None:
    assert spreadsheet_cell(text) == shown


def test_a_report_for_spreadsheets_holds_no_formula(bench: StoreBuilder) -> None:
    layers = [{"tap": "=HYPERLINK(A1)", "layer": 0, "operator": "+Conv"}]
    for value in (1.0, 2.0):
        bench.run(
            {"=HYPERLINK(A1)": [value]},
            layers=layers,
            model={"name": "@net\r", "digest": "d" * 64, "source": "n.onnx"},
        )
    text = registry.report("csv")(bench.compare())
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    assert "'=HYPERLINK(A1)" in cells
    assert not [cell for cell in cells if cell[:1] in "=+@" and cell]
    assert "\r" not in text


def test_escapes_are_made_for_what_turns_text_around() -> None:
    assert readable("a\u202eb\u2066c\x9bd\u2028") == "a\\u202eb\\u2066c\\x9bd\\u2028"


@pytest.mark.parametrize("value", ["²", "٣", "1²"])
def test_a_digit_that_is_none_of_ours_is_no_number_of_cores(refused, sound: Path, value) -> None:
    assert f"cores:{value}" in refused(sound, "--platform", f"cores:{value}")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="This system has no /dev/full.")
def test_a_full_standard_error_ends_no_run(xbackend, sound: Path, tmp_path: Path) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = xbackend("run", sound, "--backends", "good", stderr=full)
        assert done.status == 0
        assert "1 of 1 runs" in done.out
        assert xbackend("run", tmp_path / "nowhere.onnx", stderr=full).status == 2


def failing(message: str) -> str:
    return f"def convert(request):\n    raise ValueError({message!r})\n"


def test_what_a_package_says_in_a_converter_stands_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xbackend.plugins.converter import ConversionRequest, ConverterSpec
    from xbackend.preparation.conversion.launch import run_converter

    (tmp_path / "odd_converter.py").write_text(failing("bad\x1b[2J thing\nand more"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    spec = ConverterSpec(
        name="odd", revision=1, conversions=(("a", "b"),), convert="odd_converter:convert",
        modules=(), distributions=(), extra="odd",
    )  # fmt: skip
    request = ConversionRequest(Path("m"), "a", "b", tmp_path)
    with pytest.raises(Exception, match="The converter odd cannot convert") as caught:
        run_converter(spec, request)
    assert str(caught.value).isprintable()
    assert "ValueError: bad\\x1b[2J thing" in str(caught.value)
    assert not isinstance(caught.value, ModelError)

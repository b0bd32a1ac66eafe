"""Ways from a file to what a backend eats: the shortest, each step once, failures in a sentence."""

import dataclasses
import hashlib
import json
import threading
from pathlib import Path

import pytest

from xbackend.errors import ConversionError, ModelError
from xbackend.plugins import registry
from xbackend.plugins.converter import ConverterSpec
from xbackend.preparation.conversion.convert import (
    ArtifactBuilder,
    MissingPackages,
    find_conversion_path,
)
from xbackend.preparation.model import Model
from xbackend.store.store import Store

MODULE = '''
"""Converters that append their target to the file, and count how often they ran."""
import os
from pathlib import Path
from xbackend.plugins.converter import ConversionResult, WeightReport
from xbackend.errors import ModelError

def convert(request):
    print("chatter")
    text = request.source.read_text()
    with open(Path(__file__).parent / "count", "a") as stream:
        stream.write(f"{request.source_format}->{request.target_format}\\n")
    if "broken" in text:
        raise ModelError("The model is broken: mend it.")
    if "raise" in text:
        raise RuntimeError("first\\nsecond")
    if "die" in text:
        os.abort()
    (request.output / "m.txt").write_text(text + ">" + request.target_format)
    notes = {"inputs": request.inputs and request.inputs.name, "options": dict(request.options)}
    notes["hub"] = request.hub and (request.hub / "m.txt").read_text()
    return ConversionResult("m.txt", WeightReport(("w",), ()), notes=notes)
'''


def _spec(name, *arrows, **changes):
    spec = ConverterSpec(name, arrows, "made_up_converter:convert", (), "tf")
    return dataclasses.replace(spec, **changes)


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Make a model of format a, converters given by name, and a way to open a builder."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "made_up_converter.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("XBACKEND_SANDBOX", "off")  # as the converters count in a file elsewhere
    specs = []
    monkeypatch.setattr(registry, "converters", lambda: specs)
    monkeypatch.setattr(registry, "converters_digest", lambda: str(specs))

    def builder(text="model", store="store", **changes):
        source = tmp_path / "model.a"
        source.write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        model = Model("m", digest, "model.a", {"a": source}, digests={"a": digest})
        where = Store(tmp_path / store)
        where.create()
        return dataclasses.replace(ArtifactBuilder(model, where, lambda: None, "i0"), **changes)

    return specs, builder, folder / "count"


def _ran(count: Path) -> list[str]:
    return count.read_text().split() if count.exists() else []


def test_the_shortest_way_is_taken(world):
    specs, _, _ = world
    specs += [_spec("ab", ("a", "b")), _spec("bc", ("b", "c")), _spec("ac", ("a", "c"))]
    assert [step.converter.name for step in find_conversion_path({"a"}, "c")] == ["ac"]


def test_steps_follow_one_another_and_each_is_recorded(world):
    specs, builder, count = world
    specs += [_spec("ab", ("a", "b")), _spec("bc", ("b", "c"))]
    made = builder().build("c")
    assert made.model.read_text() == "model>b>c"
    manifest = json.loads((made.folder / "artifact.json").read_text())
    assert [step["converter"] for step in manifest["steps"]] == ["ab", "bc"]
    assert manifest["steps"][0]["weights"] == {"identical": ["w"], "changed": []}
    assert manifest["source"]["name"] == "m"
    assert _ran(count) == ["a->b", "b->c"]


def test_what_was_made_is_not_made_again(world):
    specs, builder, count = world
    specs += [_spec("ab", ("a", "b"))]
    first = builder().build("b")
    assert builder().build("b").folder == first.folder
    assert _ran(count) == ["a->b"]


@pytest.mark.parametrize("change", ["model", "options", "revision", "inputs"])
def test_whatever_decides_the_result_makes_it_anew(world, change):
    specs, builder, count = world
    specs += [_spec("ab", ("a", "b"), takes_inputs=True)]
    builder().build("b")
    if change == "revision":
        specs[0] = dataclasses.replace(specs[0], revision=2)
    changes = {"options": {"options": {"ab": {"k": 1}}}, "inputs": {"inputs_digest": "i1"}}
    builder("other" if change == "model" else "model", **changes.get(change, {})).build("b")
    assert _ran(count) == ["a->b", "a->b"]


def test_inputs_that_a_converter_does_not_take_make_nothing_anew(world):
    specs, builder, count = world
    specs += [_spec("ab", ("a", "b"))]
    builder().build("b")
    builder(inputs_digest="i1").build("b")
    assert _ran(count) == ["a->b"]


def test_a_converter_gets_the_hub_and_the_inputs_that_it_asks_for(world, tmp_path):
    specs, builder, _ = world
    specs += [_spec("ag", ("a", "graph")), _spec("ab", ("a", "b"), takes_inputs=True)]
    specs[1] = dataclasses.replace(specs[1], takes_hub=True)
    made = builder(sample_inputs=lambda: tmp_path / "samples.npz").build("b")
    notes = json.loads((made.folder / "artifact.json").read_text())["steps"][0]["notes"]
    assert notes == {"inputs": "samples.npz", "options": {}, "hub": "model>graph"}


def test_a_missing_package_is_named_with_the_cure(world):
    specs, builder, _ = world
    specs += [_spec("ab", ("a", "b"), modules=("not_there_at_all",))]
    with pytest.raises(MissingPackages, match=r"needs not_there_at_all.*'xbackend\[tf\]'"):
        builder().build("b")


def test_a_longer_way_is_taken_where_the_shortest_is_not_installed(world):
    specs, builder, _ = world
    specs += [_spec("ac", ("a", "c"), modules=("not_there_at_all",))]
    specs += [_spec("ab", ("a", "b")), _spec("bc", ("b", "c"))]
    assert builder().build("c").model.read_text() == "model>b>c"


def test_no_way_is_told_with_both_ends(world):
    _, builder, _ = world
    with pytest.raises(ConversionError, match="No converter leads from a to z"):
        builder().build("z")


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("broken", ModelError, "The model is broken: mend it."),
        ("raise", ConversionError, "RuntimeError: first"),
        ("die", ConversionError, "died with SIGABRT"),
    ],
)
def test_a_converter_that_fails_is_told_in_a_sentence_and_leaves_nothing(
    world, text, kind, message
):
    specs, builder, _ = world
    specs += [_spec("ab", ("a", "b"))]
    builder = builder(text)
    with pytest.raises(kind, match=message) as caught:
        builder.build("b")
    assert "\n" not in str(caught.value)
    assert list((builder.store.folder / "artifacts").iterdir()) == []


def test_the_current_folder_does_not_shadow_a_package(world, tmp_path, monkeypatch):
    specs, builder, _ = world
    specs += [_spec("ab", ("a", "b"))]
    builder = builder()
    trap = tmp_path / "trap"
    trap.mkdir()
    (trap / "json.py").write_text("raise SystemExit('the trap was executed')")
    monkeypatch.chdir(trap)
    assert builder.build("b").model.read_text() == "model>b"


def test_two_at_once_make_the_same_artifact(world):
    specs, builder, _ = world
    specs += [_spec("ab", ("a", "b"))]
    made = []
    threads = [threading.Thread(target=lambda: made.append(builder().build("b"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made[0].folder == made[1].folder
    assert made[0].model.read_text() == "model>b"


def test_a_flat_file_that_cannot_become_an_onnx_graph_runs_without_one(world, tmp_path):
    specs, builder, count = world
    specs += [
        _spec("to_onnx", ("tflite", "onnx")),
        _spec("to_graph", ("onnx", "graph")),
        _spec("to_flat", ("tflite", "flat"), takes_hub=True, convert="flat_converter:convert"),
    ]
    (tmp_path / "code" / "flat_converter.py").write_text(MODULE.replace('"broken"', '"never"'))
    said = []
    made = builder("broken", log=said.append)
    source = made.model.files["a"]
    model = dataclasses.replace(
        made.model, files={"tflite": source}, digests={"tflite": made.model.digest}
    )
    made = dataclasses.replace(made, model=model)
    artifact = made.build("flat")
    manifest = json.loads((artifact.folder / "artifact.json").read_text())
    assert manifest["steps"][-1]["notes"]["hub"] is None
    assert (
        "m runs without an ONNX graph, under its own names: The model is broken: mend it." in said
    )
    for _ in range(2):
        with pytest.raises(ModelError, match="The model is broken"):
            made.build("graph")
    assert _ran(count).count("tflite->onnx") == 1

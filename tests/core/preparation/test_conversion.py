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
from xbackend.preparation.conversion import MissingPackages, Workshop, find_way
from xbackend.preparation.model import Model
from xbackend.store.store import Store

MODULE = '''
"""Converters that append their target to the file, and count how often they ran."""
import os
from pathlib import Path
from xbackend.plugins.converter import Result, WeightReport
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
    return Result("m.txt", WeightReport(("w",), ()), notes=notes)
'''


def _spec(name, *arrows, **changes):
    spec = ConverterSpec(name, arrows, "made_up_converter:convert", (), "tf")
    return dataclasses.replace(spec, **changes)


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Make a model of format a, converters given by name, and a way to open a workshop."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "made_up_converter.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    specs = []
    monkeypatch.setattr(registry, "converters", lambda: specs)
    monkeypatch.setattr(registry, "converter_state", lambda: str(specs))

    def workshop(text="model", store="store", **changes):
        source = tmp_path / "model.a"
        source.write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        model = Model("m", digest, "model.a", {"a": source}, digests={"a": digest})
        where = Store(tmp_path / store)
        where.create()
        return dataclasses.replace(Workshop(model, where, lambda: None, "i0"), **changes)

    return specs, workshop, folder / "count"


def _ran(count: Path) -> list[str]:
    return count.read_text().split() if count.exists() else []


def test_the_shortest_way_is_taken(world):
    specs, _, _ = world
    specs += [_spec("ab", ("a", "b")), _spec("bc", ("b", "c")), _spec("ac", ("a", "c"))]
    assert [step.converter.name for step in find_way({"a"}, "c")] == ["ac"]


def test_steps_follow_one_another_and_each_is_recorded(world):
    specs, workshop, count = world
    specs += [_spec("ab", ("a", "b")), _spec("bc", ("b", "c"))]
    made = workshop().make("c")
    assert made.model.read_text() == "model>b>c"
    manifest = json.loads((made.folder / "artifact.json").read_text())
    assert [step["converter"] for step in manifest["steps"]] == ["ab", "bc"]
    assert manifest["steps"][0]["weights"] == {"identical": ["w"], "changed": []}
    assert manifest["source"]["name"] == "m"
    assert _ran(count) == ["a->b", "b->c"]


def test_what_was_made_is_not_made_again(world):
    specs, workshop, count = world
    specs += [_spec("ab", ("a", "b"))]
    first = workshop().make("b")
    assert workshop().make("b").folder == first.folder
    assert _ran(count) == ["a->b"]


@pytest.mark.parametrize("change", ["model", "options", "revision", "inputs"])
def test_whatever_decides_the_result_makes_it_anew(world, change):
    specs, workshop, count = world
    specs += [_spec("ab", ("a", "b"), takes_inputs=True)]
    workshop().make("b")
    if change == "revision":
        specs[0] = dataclasses.replace(specs[0], revision=2)
    changes = {"options": {"options": {"ab": {"k": 1}}}, "inputs": {"inputs_digest": "i1"}}
    workshop("other" if change == "model" else "model", **changes.get(change, {})).make("b")
    assert _ran(count) == ["a->b", "a->b"]


def test_inputs_that_a_converter_does_not_take_make_nothing_anew(world):
    specs, workshop, count = world
    specs += [_spec("ab", ("a", "b"))]
    workshop().make("b")
    workshop(inputs_digest="i1").make("b")
    assert _ran(count) == ["a->b"]


def test_a_converter_gets_the_hub_and_the_inputs_that_it_asks_for(world, tmp_path):
    specs, workshop, _ = world
    specs += [_spec("ag", ("a", "graph")), _spec("ab", ("a", "b"), takes_inputs=True)]
    specs[1] = dataclasses.replace(specs[1], takes_hub=True)
    made = workshop(sample_inputs=lambda: tmp_path / "samples.npz").make("b")
    notes = json.loads((made.folder / "artifact.json").read_text())["steps"][0]["notes"]
    assert notes == {"inputs": "samples.npz", "options": {}, "hub": "model>graph"}


def test_a_missing_package_is_named_with_the_cure(world):
    specs, workshop, _ = world
    specs += [_spec("ab", ("a", "b"), modules=("not_there_at_all",))]
    with pytest.raises(MissingPackages, match=r"needs not_there_at_all.*'xbackend\[tf\]'"):
        workshop().make("b")


def test_a_longer_way_is_taken_where_the_shortest_is_not_installed(world):
    specs, workshop, _ = world
    specs += [_spec("ac", ("a", "c"), modules=("not_there_at_all",))]
    specs += [_spec("ab", ("a", "b")), _spec("bc", ("b", "c"))]
    assert workshop().make("c").model.read_text() == "model>b>c"


def test_no_way_is_told_with_both_ends(world):
    _, workshop, _ = world
    with pytest.raises(ConversionError, match="No converter leads from a to z"):
        workshop().make("z")


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
    specs, workshop, _ = world
    specs += [_spec("ab", ("a", "b"))]
    shop = workshop(text)
    with pytest.raises(kind, match=message) as caught:
        shop.make("b")
    assert "\n" not in str(caught.value)
    assert list((shop.store.folder / "artifacts").iterdir()) == []


def test_the_current_folder_does_not_shadow_a_package(world, tmp_path, monkeypatch):
    specs, workshop, _ = world
    specs += [_spec("ab", ("a", "b"))]
    shop = workshop()
    trap = tmp_path / "trap"
    trap.mkdir()
    (trap / "json.py").write_text("raise SystemExit('the trap was executed')")
    monkeypatch.chdir(trap)
    assert shop.make("b").model.read_text() == "model>b"


def test_two_at_once_make_the_same_artifact(world):
    specs, workshop, _ = world
    specs += [_spec("ab", ("a", "b"))]
    made = []
    threads = [threading.Thread(target=lambda: made.append(workshop().make("b"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made[0].folder == made[1].folder
    assert made[0].model.read_text() == "model>b"

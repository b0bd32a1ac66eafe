"""One weight of ResNet18 moved by one ULP: isolation names its layer and no other."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from xbackend.commands.main import main
from xbackend.models import catalogue
from xbackend.store.store import Store

ALTERED = "s2b2_conv1"
"""A convolution in the middle, layer 31 of 82."""
OPTIONS = ("--backends", "ort", "--set", "ort.optimization=disabled")


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run the model, then with one weight altered, isolate, and return the JSON report."""
    folder = tmp_path_factory.mktemp("altered")
    store, output = folder / "store", folder / "isolated.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        builtin = catalogue.builtin("cifar10-r18")
        assert main(["run", "cifar10-r18", *OPTIONS, "--store", str(store)]) == 0
    model = onnx.load(builtin.files["onnx"].path)
    (weight,) = (t for t in model.graph.initializer if t.name == f"{ALTERED}/kernel")
    move_one(weight, busiest_channel(Store(store)))
    onnx.save(model, folder / "altered.onnx")
    run = ["run", str(folder / "altered.onnx"), *OPTIONS, "--inputs", str(builtin.samples)]
    assert main([*run, "--store", str(store)]) == 0
    compare = ["compare", "--isolate", "--format", "json", "--output", str(output)]
    assert main([*compare, "--store", str(store)]) == 0
    found: dict[str, Any] = json.loads(output.read_text())
    return found


def busiest_channel(store: Store) -> int:
    """Return the channel of the layer's input that is largest, so that a step can be felt."""
    (record,) = store.runs()
    (layer,) = (layer for layer in record["layers"] if layer["tap"] == ALTERED)
    rows = [t for r in record["results"] for t in r["taps"] if t["name"] in layer["inputs"]]
    return int(np.sum([store.read_tensor(row).array for row in rows], axis=(0, 1, 3, 4)).argmax())


def move_one(weight: onnx.TensorProto, channel: int) -> None:
    """Move the largest weight of a channel, in the centre of its window, by one ULP."""
    array = numpy_helper.to_array(weight).copy()
    place = (int(np.abs(array[:, channel, 1, 1]).argmax()), channel, 1, 1)
    array[place] = np.nextafter(array[place], np.float32(0))
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))


def test_the_altered_layer_is_named_and_no_other(document: dict[str, Any]) -> None:
    (found,) = document["isolations"]
    assert (found["first_own_tap"], found["own_taps"]) == (ALTERED, [ALTERED])
    assert found["not_isolable"] == []


def test_layers_before_it_have_no_error_and_those_behind_it_inherit(
    document: dict[str, Any],
) -> None:
    (found,) = document["isolations"]
    verdicts = {layer["tap"]: layer["verdict"] for layer in found["layers"]}
    assert len(verdicts) == 82
    place = list(verdicts).index(ALTERED)
    assert set(list(verdicts.values())[:place]) == {"none"}
    assert verdicts["s2b2_conv2"] == verdicts["dense"] == verdicts["softmax"] == "inherited"
    own = next(layer for layer in found["layers"] if layer["tap"] == ALTERED)["own"]
    assert 0 < own["deviating_fraction"] <= 1 / 128

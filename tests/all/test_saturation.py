"""Layers named as overflowing are those that ONNX Runtime computes wrong on an emulated Haswell."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from xbackend.commands.main import main
from xbackend.diagnosis.saturation_run import exposed_layers
from xbackend.store.store import Store

needs_qemu = pytest.mark.skipif(
    shutil.which("qemu-x86_64") is None,
    reason="There is no qemu-x86_64 on this machine (Debian: qemu-user).",
)
PRODUCTS = ("QLinearConv", "QGemm", "QLinearMatMul")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Run the built-in model, int8 activations unsigned and weights signed, in exact integers."""
    folder = tmp_path_factory.mktemp("exact") / "store"
    assert main(["run", "--backends", "fixed", "--precision", "int8", "--store", str(folder)]) == 0
    return Store(folder)


def apart(store: Store, folder: Path) -> Path:
    """Write a model whose layers each get their exact inputs, and these: `apart.onnx`, `.npz`."""
    (record,) = store.runs()
    model = onnx.load(store.folder / "artifacts" / record["artifact"]["digest"] / "model.onnx")
    taps: dict[str, list[Any]] = {}
    for result in record["results"]:
        for row in result["taps"]:
            taps.setdefault(row["name"], []).append(store.read_tensor(row).array)
    nodes = [node for node in model.graph.node if node.op_type in PRODUCTS]
    inputs = {f"exact/{node.input[0]}": np.concatenate(taps[node.input[0]]) for node in nodes}
    for node in nodes:
        node.input[0] = f"exact/{node.input[0]}"
    number, value = TensorProto.UINT8, helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "apart",
        [value(name, number, [1, *array.shape[1:]]) for name, array in inputs.items()],
        [value(node.output[0], number, None) for node in nodes],
        [t for t in model.graph.initializer if any(t.name in node.input for node in nodes)],
    )
    whole = helper.make_model(graph, opset_imports=model.opset_import, ir_version=8)
    onnx.save(whole, folder / "apart.onnx")
    np.savez(folder / "apart.npz", **inputs)  # type: ignore[arg-type]  # names are no options
    return folder / "apart.onnx"


@needs_qemu
def test_the_layers_named_are_those_that_deviate_on_a_haswell(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (record,) = store.runs()
    found = exposed_layers(store, record)
    assert {exposure.tap for exposure in found if exposure.share} == {"conv1_quantized"}
    command = ["run", str(apart(store, tmp_path)), "--inputs", str(tmp_path / "apart.npz")]
    command += ["--precision", "float32", "--taps", "outputs", "--store", str(tmp_path / "store")]
    assert main([*command, "--backends", "fixed"]) == 0
    assert main([*command, "--backends", "ort", "--platform", "qemu:Haswell"]) == 0
    capsys.readouterr()
    assert main(["compare", "--format", "json", "--store", str(tmp_path / "store")]) == 0
    rows = json.loads(capsys.readouterr().out)["comparisons"]
    assert {row["tap"] for row in rows} == {exposure.tap for exposure in found}
    assert {row["tap"] for row in rows if row["eqc_count"] > 1} == {"conv1_quantized"}
    assert main(["compare", "--store", str(tmp_path / "store")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "Note: In conv1_quantized and 4 more of ort's layers" in told


def test_a_run_warns_with_the_layers_and_records_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "--backends", "ort,fixed", "--precision", "int8", "--taps", "outputs"]
    assert main([*command, "--store", str(tmp_path)]) == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 1
    assert "conv1_quantized, conv2_quantized, dense1_quantized and 2 more" in warnings[0]
    assert "onnx_to_int8.weight=uint8" in warnings[0]
    rows = {row["backend"]: row for row in Store(tmp_path).runs()}
    assert [each["tap"] for each in rows["ort"]["saturation"]][3:] == [
        "dense2_quantized",
        "dense3_quantized",
    ]
    assert rows["fixed"]["saturation"] == []


@pytest.mark.parametrize("option", ["weight=uint8", "reduce_range=true"])
def test_the_cures_cure(tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    command = ["run", "--backends", "ort,fixed", "--precision", "int8", "--store", str(tmp_path)]
    assert main([*command, "--option", f"onnx_to_int8.{option}", "--taps", "outputs"]) == 0
    assert "warning" not in capsys.readouterr().err
    rows = list(Store(tmp_path).runs())
    assert {row["conversion"] for row in rows} == {f"onnx_to_int8.{option}"}
    assert len({row["results"][0]["outputs"][0]["digest"] for row in rows}) == 1


def test_converting_warns_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["convert", "cifar10-small", "--to", "onnx-int8", "--output", str(tmp_path)]
    assert main([*command, "--store", str(tmp_path / "store")]) == 0
    assert "conv1_quantized" in capsys.readouterr().err

"""Layers within bodies are compared, and isolating says that they are not cut out."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import onnx
import pytest

from xbackend.commands.main import main


def test_layers_of_branches_and_iterations_are_compared_and_not_isolated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("kinds", Path(__file__).with_name("kinds.py"))
    assert spec is not None
    assert spec.loader is not None
    kinds = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = kinds
    spec.loader.exec_module(kinds)
    path, store = tmp_path / "control.onnx", str(tmp_path / "store")
    onnx.save(kinds.control_flow().model, path)
    run = ["run", str(path), "--backends", "ort,fixed", "--precision", "float32"]
    assert main([*run, "--store", store]) == 0
    capsys.readouterr()
    assert main(["compare", "--store", store, "--format", "csv"]) == 0
    told = capsys.readouterr().out
    for tap in ("if0_0[then]/m", "loop1_0[2]/u", "scan2_0[3]/k"):
        assert tap in told
    assert main(["compare", "--store", store, "--isolate"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "it is computed in the graph of another node, which is not cut out" in told
    assert "Cure:" not in told

"""Models of each kind through every executor, against ONNX Runtime."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

import xbackend
from xbackend.store.store import Store


def _kinds() -> ModuleType:
    path = Path(__file__).with_name("kinds.py")
    spec = importlib.util.spec_from_file_location("kinds", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


KINDS = _kinds().KINDS
WORDS = ("ort", "tf", "torch", "fixed")


def outputs(store: Store, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a run gave, by name."""
    (result,) = results
    return {each["name"]: store.read_tensor(each).array for each in result["outputs"]}


@pytest.mark.parametrize("kind", KINDS)
def test_every_executor_is_close_to_onnx_runtime(kind: str, tmp_path: Path) -> None:
    made = KINDS[kind]()
    path, store = tmp_path / f"{kind}.onnx", tmp_path / "store"
    onnx.save(made.model, path)
    inputs = {name: array[None] for name, array in made.inputs.items()}
    runs = xbackend.run(
        str(path), backends=list(WORDS), precisions=["float32"], inputs=inputs, store=store
    )
    told = {run.row["backend"]: (run.row["error"] or {}).get("message") for run in runs}
    assert told == dict.fromkeys(WORDS), told
    found = {run.row["backend"]: outputs(Store(store), run.results) for run in runs}
    for word in WORDS[1:]:
        for name, wanted in found["ort"].items():
            assert found[word][name].dtype == wanted.dtype
            np.testing.assert_allclose(
                found[word][name], wanted, rtol=1e-4, atol=1e-5, err_msg=f"{word}: {name}"
            )

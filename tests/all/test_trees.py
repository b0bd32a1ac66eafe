"""Trees and linear models of ai.onnx.ml in exact steps, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from xbackend.plugins import registry
from xbackend.testing.artifacts import default_settings, load_backend, make_artifact
from xbackend.worker.contract import Unsupported
from xbackend.worker.tensor import from_numpy

DOMAIN, TREES, DEPTH = "ai.onnx.ml", 20, 3
X = np.random.default_rng(4).normal(size=(7, 4)).astype(np.float32)
INNER = 2**DEPTH - 1


def forest(kind: str, columns: Sequence[int], signed: bool = False) -> dict[str, Any]:
    """Return attributes of full binary trees with random thresholds and leaves."""
    random = np.random.default_rng(1)
    keys = [(tree, number) for tree in range(TREES) for number in range(2 * INNER + 1)]
    leaf = [number >= INNER for _, number in keys]
    ends = [(tree, number, c) for tree, number in keys if number >= INNER for c in columns]
    weights = random.uniform(-1 if signed else 0, 1, len(ends)) / TREES
    return {
        "nodes_treeids": [tree for tree, _ in keys],
        "nodes_nodeids": [number for _, number in keys],
        "nodes_featureids": random.integers(0, 4, len(keys)).tolist(),
        "nodes_values": random.normal(size=len(keys)).tolist(),
        "nodes_modes": ["LEAF" if end else "BRANCH_LEQ" for end in leaf],
        "nodes_truenodeids": [
            0 if end else 2 * n + 1 for (_, n), end in zip(keys, leaf, strict=True)
        ],
        "nodes_falsenodeids": [
            0 if end else 2 * n + 2 for (_, n), end in zip(keys, leaf, strict=True)
        ],
        f"{kind}_treeids": [tree for tree, _, _ in ends],
        f"{kind}_nodeids": [number for _, number, _ in ends],
        f"{kind}_ids": [column for _, _, column in ends],
        f"{kind}_weights": weights.tolist(),
    }


def model(operator: str, width: int, given: dict[str, Any]) -> Any:
    """Make a model of one node of the domain."""
    names = ["label", "scores"] if operator.endswith("Classifier") else ["scores"]
    node = helper.make_node(operator, ["x"], names, domain=DOMAIN, **given)
    kinds = {"label": (TensorProto.INT64, [7]), "scores": (TensorProto.FLOAT, [7, width])}
    graph = helper.make_graph(
        [node],
        "trees",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [7, 4])],
        [helper.make_tensor_value_info(name, *kinds[name]) for name in names],
    )
    opsets = [helper.make_opsetid(DOMAIN, 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def computed(made: Any, folder: Path) -> list[np.ndarray[Any, Any]]:
    """Return the outputs of `fixed`."""
    spec = registry.backend("fixed")
    settings = default_settings(spec, "float32")
    with load_backend(spec).prepare(make_artifact(made, folder), settings) as session:
        return [tensor.array for tensor in session.run({"x": from_numpy(X)}).values()]


LINE = {"coefficients": np.linspace(-1, 1, 12).tolist(), "intercepts": [0.1, -0.2, 0.3]}
CASES: list[tuple[str, int, dict[str, Any]]] = [
    ("TreeEnsembleRegressor", 2, {"n_targets": 2, **forest("target", [0, 1], signed=True)}),
    ("TreeEnsembleRegressor", 1,
     {"n_targets": 1, "aggregate_function": "MAX", **forest("target", [0])}),
    ("TreeEnsembleClassifier", 3,
     {"classlabels_int64s": [3, 5, 9], "post_transform": "SOFTMAX", **forest("class", [0, 1, 2])}),
    ("TreeEnsembleClassifier", 2,
     {"classlabels_int64s": [3, 5], "post_transform": "LOGISTIC", **forest("class", [0], True)}),
    ("TreeEnsembleClassifier", 2, {"classlabels_int64s": [3, 5], **forest("class", [0])}),
    ("LinearRegressor", 3, {"targets": 3, **LINE}),
    ("LinearClassifier", 3, {"classlabels_ints": [1, 2, 3], "post_transform": "SOFTMAX", **LINE}),
    ("Binarizer", 4, {"threshold": 0.3}),
    ("Normalizer", 4, {"norm": "L1"}),
    ("Normalizer", 4, {"norm": "L2"}),
    ("Normalizer", 4, {"norm": "MAX"}),
    ("Scaler", 4, {"offset": [1.0, 2.0, 3.0, 4.0], "scale": [0.5, 0.25, 1.0, 2.0]}),
]  # fmt: skip


@pytest.mark.parametrize(("operator", "width", "given"), CASES)
def test_it_is_close_to_onnx_runtime(
    operator: str, width: int, given: dict[str, Any], tmp_path: Path
) -> None:
    made = model(operator, width, given)
    session = onnxruntime.InferenceSession(made.SerializeToString())
    for found, wanted in zip(computed(made, tmp_path), session.run(None, {"x": X}), strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_labels_that_are_texts_are_refused(tmp_path: Path) -> None:
    given = {"classlabels_strings": ["a", "b", "c"], **forest("class", [0, 1, 2])}
    made = model("TreeEnsembleClassifier", 3, given)
    with pytest.raises(Unsupported, match="its labels are texts"):
        computed(made, tmp_path)

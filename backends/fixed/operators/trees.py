"""Trees and linear models of ai.onnx.ml: in float32, sums in the order of sums.py.

A score is the sum of what the trees give, in their order; a product of a linear model is summed as
MatMul sums. Labels are integers: texts are none of NumPy's numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import elementary
from ..operands import need, rounded
from ..sums import product, total
from .elementwise import greater, less

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Tuple

    from xbackend.worker.graph import Node

    Array = np.ndarray[Any, Any]
    Inputs = List[Optional[Array]]

DOMAIN = "ai.onnx.ml"
LEAF = "LEAF"

MODES: Dict[str, Callable[[Array, Array], Array]] = {
    "BRANCH_LEQ": np.less_equal,
    "BRANCH_LT": np.less,
    "BRANCH_GTE": np.greater_equal,
    "BRANCH_GT": np.greater,
    "BRANCH_EQ": np.equal,
    "BRANCH_NEQ": np.not_equal,
}
"""What leads to the true branch."""


@dataclass(frozen=True)
class Forest:
    """The nodes of all trees, side by side."""

    roots: List[int]
    features: Array
    values: Array
    modes: List[str]
    true: Array
    false: Array
    missing: Array
    """Whether a value that is no number goes to the true branch."""
    places: Dict[Tuple[int, int], int]
    """The place of a node by its tree and number."""

    def leaves(self, x: Array, root: int) -> Array:
        """Return the leaf that each row comes to in a tree."""
        here = np.full(len(x), root)
        kinds = np.array(self.modes)
        while True:
            inner = np.flatnonzero(kinds[here] != LEAF)
            if not inner.size:
                return here
            nodes = here[inner]
            seen = x[inner, self.features[nodes]]
            turns = np.zeros(len(inner), np.bool_)
            for mode in set(kinds[nodes]):
                of_mode = kinds[nodes] == mode
                turns[of_mode] = MODES[mode](seen, self.values[nodes])[of_mode]
            turns |= np.isnan(seen) & self.missing[nodes]
            here[inner] = np.where(turns, self.true[nodes], self.false[nodes])


def forest_of(node: Node) -> Forest:
    """Read the trees of a node's attributes."""
    a = node.attributes
    keys = list(zip(a["nodes_treeids"], a["nodes_nodeids"]))
    places = {key: place for place, key in enumerate(keys)}
    roots: Dict[int, int] = {}
    for place, (tree, _) in enumerate(keys):
        roots.setdefault(tree, place)
    ends = [
        np.array([places.get((tree, n), 0) for (tree, _), n in zip(keys, a[f"nodes_{way}nodeids"])])
        for way in ("true", "false")
    ]
    missing = a.get("nodes_missing_value_tracks_true") or [0] * len(keys)
    return Forest(
        roots=list(roots.values()),
        features=np.array(a["nodes_featureids"]),
        values=np.array(a["nodes_values"], np.float32),
        modes=list(a["nodes_modes"]),
        true=ends[0],
        false=ends[1],
        missing=np.array(missing, np.bool_),
        places=places,
    )


def _scores(node: Node, x: Array, kind: str, count: int) -> Array:
    """Return each row's scores: of every tree what its leaf weighs, combined over the trees."""
    forest, a = forest_of(node), node.attributes
    weights = np.zeros((len(forest.modes), count), np.float32)
    keys = zip(a[f"{kind}_treeids"], a[f"{kind}_nodeids"], a[f"{kind}_ids"], a[f"{kind}_weights"])
    for tree, number, column, weight in keys:
        weights[forest.places[tree, number], column] += np.float32(weight)
    each = np.stack([weights[forest.leaves(x, root)] for root in forest.roots])
    word = a.get("aggregate_function", "SUM")
    step = {"MIN": less, "MAX": greater}.get(word)
    if step is not None:
        scores = each[0]
        for one in each[1:]:
            scores = step(scores, one)
    else:
        scores = total(each, (0,))[0]
    if word == "AVERAGE":
        scores = scores / np.float32(len(forest.roots))
    base = a.get("base_values")
    return np.asarray(scores + np.array(base, np.float32) if base else scores)


def _transformed(scores: Array, word: str) -> Array:
    """Apply what comes after the scores."""
    if word == "LOGISTIC":
        return rounded(elementary.sigmoid, scores)
    if word == "SOFTMAX":
        highest = scores.max(axis=1, keepdims=True)
        powers = rounded(elementary.exp, scores - highest)
        return np.asarray(powers / total(powers, (1,)))
    return scores


def tree_regressor(node: Node, inputs: Inputs) -> List[Array]:
    """TreeEnsembleRegressor."""
    x = need(inputs, 0).astype(np.float32)
    scores = _scores(node, x, "target", int(node.attributes.get("n_targets", 1)))
    return [_transformed(scores, node.attributes.get("post_transform", "NONE"))]


def tree_classifier(node: Node, inputs: Inputs) -> List[Array]:
    """TreeEnsembleClassifier; of two classes the weights may be of one alone.

    What the other's score is then is ONNX Runtime's rule: ONNX says nothing of it.
    """
    a, x = node.attributes, need(inputs, 0).astype(np.float32)
    labels = np.array(a["classlabels_int64s"], np.int64)
    scores = _scores(node, x, "class", len(labels))
    word = a.get("post_transform", "NONE")
    if len(labels) == 2 and len(set(a["class_ids"])) == 1:
        one = scores[:, a["class_ids"][0]]
        positive = min(a["class_weights"]) >= 0
        chosen = one > (0.5 if positive else 0.0)
        alone = a["class_ids"][0] == 0
        both = _of_one(one, positive, word) if alone else _transformed(scores, word)
        return [labels[chosen.astype(np.int64)], both]
    return [labels[scores.argmax(1)], _transformed(scores, word)]


def _of_one(score: Array, positive: bool, word: str) -> Array:
    """Return the scores of two classes from that of one."""
    pair = np.stack([-score, score], axis=1)
    if word == "LOGISTIC":
        return _transformed(pair, word)
    return np.stack([np.float32(1) - score, score], axis=1) if positive else pair


def linear_regressor(node: Node, inputs: Inputs) -> List[Array]:
    """LinearRegressor."""
    count = int(node.attributes.get("targets", 1))
    scores = _linear(node, need(inputs, 0), count)
    return [_transformed(scores, node.attributes.get("post_transform", "NONE"))]


def linear_classifier(node: Node, inputs: Inputs) -> List[Array]:
    """LinearClassifier of a row of coefficients for each class."""
    a = node.attributes
    labels = np.array(a["classlabels_ints"], np.int64)
    scores = _linear(node, need(inputs, 0), len(labels))
    return [labels[scores.argmax(1)], _transformed(scores, a.get("post_transform", "NONE"))]


def _linear(node: Node, x: Array, count: int) -> Array:
    weights = np.array(node.attributes["coefficients"], np.float32).reshape(count, -1)
    scores = product(x.astype(np.float32)[None], weights.T[None])[0]
    bias = node.attributes.get("intercepts")
    return np.asarray(scores + np.array(bias, np.float32) if bias else scores)


def scaler(node: Node, inputs: Inputs) -> List[Array]:
    """Scaler: (x - offset) * scale."""
    x = need(inputs, 0).astype(np.float32)
    offset, scale = (np.array(node.attributes[k], np.float32) for k in ("offset", "scale"))
    return [np.asarray((x - offset) * scale)]


def binarizer(node: Node, inputs: Inputs) -> List[Array]:
    """Binarizer: 1 above a threshold, 0 elsewhere."""
    x = need(inputs, 0)
    above = x > np.array(node.attributes.get("threshold", 0.0), x.dtype)
    return [above.astype(x.dtype)]


def array_feature_extractor(node: Node, inputs: Inputs) -> List[Array]:
    """ArrayFeatureExtractor: places of the last axis."""
    x, places = need(inputs, 0), need(inputs, 1).ravel()
    taken = np.take(x, places, axis=-1)
    return [taken.reshape(1, -1) if x.ndim == 1 else taken]


def normalizer(node: Node, inputs: Inputs) -> List[Array]:
    """Divide rows by their greatest, their sum of magnitudes, or their length."""
    x = need(inputs, 0).astype(np.float32)
    kind = node.attributes.get("norm", "MAX")
    if kind == "MAX":
        size = x.max(axis=-1, keepdims=True)
    elif kind == "L1":
        size = total(np.abs(x), (-1,))
    else:
        size = np.sqrt(total(x * x, (-1,)))
    return [np.asarray(np.where(size == 0, x, x / np.where(size == 0, np.float32(1), size)))]


def refusal(node: Node) -> str:
    """Return why a node of this domain cannot be computed; empty if it can."""
    a = node.attributes
    if node.domain != DOMAIN:
        return ""
    if a.get("classlabels_strings"):
        return "its labels are texts"
    if any(key.endswith("_as_tensor") for key in a):
        return "its numbers are float64"
    if a.get("post_transform", "NONE") not in ("NONE", "LOGISTIC", "SOFTMAX"):
        return f"its post_transform is {a['post_transform']}"
    labels = a.get("classlabels_ints", ())
    if node.operator == "LinearClassifier" and len(a.get("intercepts", labels)) != len(labels):
        return "it has coefficients of one class alone"
    return ""


OPERATORS: Dict[Tuple[str, str], Callable[[Any, Any], Any]] = {
    (DOMAIN, "ArrayFeatureExtractor"): array_feature_extractor,
    (DOMAIN, "Binarizer"): binarizer,
    (DOMAIN, "LinearClassifier"): linear_classifier,
    (DOMAIN, "LinearRegressor"): linear_regressor,
    (DOMAIN, "Normalizer"): normalizer,
    (DOMAIN, "Scaler"): scaler,
    (DOMAIN, "TreeEnsembleClassifier"): tree_classifier,
    (DOMAIN, "TreeEnsembleRegressor"): tree_regressor,
}
"""The operator of each domain and name."""

"""Values that no run records: what constants and extents decide, and what is only moved."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.diagnosis.certification.layers import GraphIndex
from xbackend.diagnosis.cut_graph import TensorType, empty_like, value_info

if TYPE_CHECKING:
    import onnx

Array = np.ndarray[Any, Any]


def hidden_values(
    whole: onnx.ModelProto,
    index: GraphIndex,
    types: Mapping[str, TensorType],
    names: Collection[str],
    read: Callable[[str], Array | None],
) -> dict[str, Array]:
    """Compute values from weights and recorded tensors by ONNX's reference evaluator.

    Raises LookupError where that cannot.
    """
    from onnx.reference import ReferenceEvaluator

    places, leaves = _behind(index, names)
    model = empty_like(whole)
    model.graph.node.extend(whole.graph.node[place] for place in places)
    model.graph.initializer.extend(t for t in whole.graph.initializer if t.name in leaves)
    given = {name: read(name) for name in leaves if name not in index.graph.constants}
    model.graph.input.extend(value_info(name, types[name]) for name in given)
    model.graph.output.extend(_untyped(name) for name in names)
    try:
        found = ReferenceEvaluator(model).run(list(names), given)
    except Exception as error:  # of whatever an operator of the evaluator raises
        raise LookupError("what it reads beside cannot be computed") from error
    return {name: np.asarray(array) for name, array in zip(names, found, strict=True)}


def _behind(index: GraphIndex, names: Collection[str]) -> tuple[list[int], set[str]]:
    """Return the nodes that give values, in order, and what these read that is held."""
    places: set[int] = set()
    leaves: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if index.is_held(name) and name not in names:
            leaves.add(name)
        elif index.makers[name] not in places:
            places.add(index.makers[name])
            waiting.extend(each for each in index.graph.nodes[index.makers[name]].inputs if each)
    return sorted(places), leaves


def _untyped(name: str) -> onnx.ValueInfoProto:
    import onnx

    return onnx.ValueInfoProto(name=name)

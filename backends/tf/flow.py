"""If, Loop, Scan and sequences over TensorFlow's tensors, eagerly or while a graph is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Sequence

import tensorflow as tf

from xbackend.worker import control
from xbackend.worker.contract import Unsupported
from xbackend.worker.flow import Flow

from .value import Value, first, static

if TYPE_CHECKING:
    from xbackend.worker.graph import Graph, Node

LOOP = "condition or count of a Loop"


class TensorflowFlow(Flow):
    """Control flow over values, of which conditions and counts are known."""

    def is_known(self, value: Value) -> bool:
        """Tell whether the elements are known now, as they all are eagerly."""
        return tf.get_static_value(value.tensor) is not None

    def truth(self, value: Value) -> bool:
        """Return a condition of one element."""
        return bool(static(value, LOOP).reshape(()))

    def integer(self, value: Value) -> int:
        """Return an integer of one element."""
        return int(static(value, LOOP).reshape(()))

    def scalar(self, number: Any, dtype: str) -> Value:
        """Return a tensor without axes, whose element is known while a graph is made, too."""
        with tf.init_scope():
            return Value(tf.constant(number, dtype))

    def extent(self, value: Value, axis: int) -> int:
        """Return how many elements lie along an axis."""
        return value.shape[axis]

    def item(self, value: Value, axis: int, index: int) -> Value:
        """Return one place of an axis, which is dropped."""
        tensor = first(value)
        place: List[Any] = [slice(None)] * value.rank
        place[axis % value.rank] = index
        return Value(tensor[tuple(place)])

    def stack(self, values: Sequence[Value], axis: int) -> Value:
        """Lay tensors along a new axis."""
        return Value(tf.stack([first(value) for value in values], axis))

    def empty(self, shape: Sequence[int], dtype: str) -> Value:
        """Return a tensor without elements."""
        return Value(tf.zeros(list(shape), dtype or "float32"))


def branched(node: Node, held: Mapping[str, Any], walk: control.Walk) -> List[Value]:
    """Make both branches of an If parts of a graph, one of which runs."""

    def outputs(key: str) -> List[Any]:
        body: Graph = node.attributes[key]
        around: Dict[str, Any] = control.around(body, held)
        walking = walk(body, around, "")
        while True:
            try:
                next(walking)
            except StopIteration as done:
                return _tensors(node, done.value)

    condition = tf.reshape(held[node.inputs[0]].tensor, [])
    made = tf.cond(condition, lambda: outputs("then_branch"), lambda: outputs("else_branch"))
    return [Value(tensor) for tensor in made]


def _tensors(node: Node, values: Sequence[Any]) -> List[Any]:
    if any(isinstance(value, list) for value in values):
        raise Unsupported(
            f"The If '{node.outputs[0]}' gives a sequence, which no graph of TensorFlow holds. Run "
            "it with --set tf.mode=eager."
        )
    return [first(value) for value in values]

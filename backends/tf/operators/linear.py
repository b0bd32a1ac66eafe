"""Products of matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, Optional

import tensorflow as tf

from ..value import Value, as_bias, first

if TYPE_CHECKING:
    from xbackend.worker.graph import Node

Tensor = Any


def matmul(node: Node, a: Value, b: Value) -> Value:
    """Multiply matrices, or stacks of them; a vector is a row before and a column after."""
    left, right = first(a), first(b)
    if a.rank > 1 and b.rank > 1:
        return Value(tf.matmul(left, right))
    row = left[tf.newaxis, :] if a.rank == 1 else left
    column = right[:, tf.newaxis] if b.rank == 1 else right
    y = tf.matmul(row, column)
    return Value(tf.squeeze(y, [axis for axis, v in ((-2, a), (-1, b)) if v.rank == 1]))


def gemm(node: Node, a: Value, b: Value, c: Optional[Value] = None) -> Value:
    """Return alpha * a @ b + beta * c; a constant that is to be transposed is so once."""
    alpha, beta = node.attributes["alpha"], node.attributes["beta"]
    left = _transposed(a) if node.attributes["transA"] else first(a)
    right = _transposed(b) if node.attributes["transB"] else first(b)
    y = tf.matmul(left, right)
    y = y if alpha == 1 else alpha * y
    if c is None or beta == 0:
        return Value(y)
    added = as_bias(c).tensor if beta == 1 else beta * as_bias(c).tensor
    return Value(tf.nn.bias_add(y, added) if _is_bias(added, y) else y + added)


def _transposed(matrix: Value) -> Tensor:
    return matrix.arranged("transposed", lambda: tf.transpose(matrix.tensor))


def _is_bias(added: Tensor, y: Tensor) -> bool:
    return bool(added.shape.rank == 1 and added.shape[0] == y.shape[1])


OPERATORS: Dict[str, Callable[..., Value]] = {"Gemm": gemm, "MatMul": matmul}

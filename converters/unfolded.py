"""Keeps tf2onnx from changing weights: three steps that fold constants into them, switched off.

They are private functions of tf2onnx, which offers no option; the names are those of 1.16 and
1.17. A release without them makes the conversion fail, not fold.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NOTE = (
    "not folded: TensorFlow's constant folding over the whole graph, "
    "Mul into Conv weights, BatchNormalization into Conv"
)
"""For the artifact's record."""


@contextmanager
def folding_switched_off() -> Iterator[None]:
    """Within it, tf2onnx leaves weights alone. It patches the module, so one thread at a time."""
    import tf2onnx.tf_loader as loader
    from tf2onnx.optimizer.back_to_back_optimizer import _func_map as pairs
    from tf2onnx.optimizer.transpose_optimizer import TransposeOptimizer

    optimize, fold_mul = loader.tf_optimize_grappler, TransposeOptimizer._mul_handler
    fold_normalization = pairs.pop(("Conv", "BatchNormalization"))
    loader.tf_optimize_grappler = _as_it_is
    TransposeOptimizer._mul_handler = _without_conv(fold_mul)
    try:
        yield
    finally:
        loader.tf_optimize_grappler = optimize
        TransposeOptimizer._mul_handler = fold_mul
        pairs["Conv", "BatchNormalization"] = fold_normalization


def _as_it_is(inputs: Any, outputs: Any, graph: Any) -> Any:
    return graph


def _without_conv(handler: Any) -> Any:
    """Wrap the step that moves a Transpose over a Mul so that it does not see a Conv before it."""

    def unfolding(self: Any, transpose: Any, node: Any) -> Any:
        operation = transpose.inputs[0].op
        if operation.op_type != "Conv":
            return handler(self, transpose, node)
        operation.op_type = "Conv_"
        try:
            return handler(self, transpose, node)
        finally:
            operation.op_type = "Conv"

    return unfolding

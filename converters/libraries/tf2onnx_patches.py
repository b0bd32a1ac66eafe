"""Keeps tf2onnx from changing weights: three steps that fold constants into them, switched off.

And from taking a sum for a bias: Keras writes the Add of two 1x1 pictures as a BiasAdd, which
tf2onnx puts into the Conv before it, as a bias that changes with each input.

And gives it a handler for Erfc, of which Keras' exact GELU is made: 1 - Erf, as ONNX has it.

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
def without_constant_folding() -> Iterator[None]:
    """Within it, tf2onnx leaves weights alone. It patches the module, so one thread at a time."""
    import tf2onnx.tf_loader as loader
    import tf2onnx.tfonnx as rewriters
    from tf2onnx.optimizer.back_to_back_optimizer import _func_map as pairs
    from tf2onnx.optimizer.transpose_optimizer import TransposeOptimizer

    _register_erfc()
    optimize, fold_mul = loader.tf_optimize_grappler, TransposeOptimizer._mul_handler
    join_bias = rewriters.rewrite_biasadd_with_conv2d
    fold_normalization = pairs.pop(("Conv", "BatchNormalization"))
    loader.tf_optimize_grappler = _without_aliases
    TransposeOptimizer._mul_handler = _without_conv(fold_mul)
    rewriters.rewrite_biasadd_with_conv2d = _of_constants(join_bias)
    try:
        yield
    finally:
        loader.tf_optimize_grappler = optimize
        TransposeOptimizer._mul_handler = fold_mul
        rewriters.rewrite_biasadd_with_conv2d = join_bias
        pairs["Conv", "BatchNormalization"] = fold_normalization


def _register_erfc() -> None:
    """Tell tf2onnx how to write Erfc, unless it knows by now."""
    from tf2onnx.handler import tf_op

    if not any("Erfc" in known for known in tf_op.get_opsets().get("", ())):
        tf_op.register_handler(_write_erfc, 9, ["Erfc"], "", {})


def _write_erfc(context: Any, node: Any, **unused: Any) -> None:
    """Write 1 - Erf in the place of an Erfc."""
    import numpy as np
    from tf2onnx.utils import make_name, map_onnx_to_numpy_type

    number, shape = context.get_dtype(node.output[0]), context.get_shape(node.output[0])
    told = {"shapes": [shape], "dtypes": [number]}
    one = context.make_const(make_name("one"), np.ones((), map_onnx_to_numpy_type(number)))
    error = context.make_node("Erf", node.input, **told)
    read = [one.output[0], error.output[0]]
    context.remove_node(node.name)
    context.make_node("Sub", read, outputs=node.output, name=node.name, **told)


def _without_aliases(inputs: Any, outputs: Any, graph: Any) -> Any:
    """Stand in for TensorFlow's optimizer: only let nodes read constants and inputs directly.

    A SavedModel passes them through an Identity at each function call. Behind those, tf2onnx
    would not see that a batch normalization's scale is constant, and would leave its square root
    to each backend.
    """
    kept = {name.partition(":")[0] for name in outputs}
    plain = {node.name: node.op for node in graph.node}
    alias = {
        node.name: node.input[0].removesuffix(":0")
        for node in graph.node
        if node.op == "Identity" and node.name not in kept
    }
    for node in graph.node:
        read = [_followed(name, alias, plain) for name in node.input]
        del node.input[:]
        node.input.extend(n for n in read if node.op != "Const" or not n.startswith("^"))
    return graph


def _followed(name: str, alias: dict[str, str], plain: dict[str, str]) -> str:
    """Return the constant or input behind a chain of Identities, else the name as it is."""
    source = name.removesuffix(":0")
    while source in alias:
        source = alias[source]
    return source if plain.get(source) in ("Const", "Placeholder") else name


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


def _of_constants(join_bias: Any) -> Any:
    """Wrap the step that gives a Conv its bias so that it does not see a bias that is computed."""

    def joining(graph: Any, nodes: Any) -> Any:
        sums = [n.op for n in nodes if n.type == "BiasAdd" and not n.inputs[1].is_const()]
        for operation in sums:
            operation.op_type = "BiasAdd_"
        try:
            return join_bias(graph, nodes)
        finally:
            for operation in sums:
                operation.op_type = "BiasAdd"

    return joining

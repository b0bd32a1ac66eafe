"""Operators that are marked in reports: activations, and pooling."""

from __future__ import annotations

ACTIVATIONS = frozenset(
    """
    Celu Clip Elu Gelu HardSigmoid HardSwish LeakyRelu LogSoftmax Mish PRelu QLinearLeakyRelu
    QLinearSigmoid QLinearSoftmax Relu Selu Sigmoid Softmax Softplus Softsign Swish Tanh
    ThresholdedRelu
    """.split()
)
"""ONNX's names, and those of ONNX Runtime for integers."""
POOLING = frozenset(
    """
    AveragePool GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool QLinearAveragePool
    QLinearGlobalAveragePool
    """.split()
)


def operator_kind(operator: str | None) -> str | None:
    """Return `activation` or `pooling`, None for other operators.

    >>> operator_kind("Relu"), operator_kind("MaxPool"), operator_kind("Conv")
    ('activation', 'pooling', None)
    """
    if operator in ACTIVATIONS:
        return "activation"
    return "pooling" if operator in POOLING else None

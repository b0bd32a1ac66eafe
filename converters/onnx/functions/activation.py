"""The activations of recurrent cells by ONNX's names, with their parameters."""

from __future__ import annotations

from collections.abc import Callable

from .body import Body, NotSpelled

Activation = Callable[[Body, str], str]
"""Adds an activation's nodes to a body and returns the new value's name."""

PARAMETERS: dict[str, tuple[float | None, float | None]] = {
    "affine": (1.0, 0.0),
    "elu": (1.0, None),
    "hardsigmoid": (0.2, 0.5),
    "leakyrelu": (0.01, None),
    "relu": (None, None),
    "scaledtanh": (1.0, 1.0),
    "sigmoid": (None, None),
    "softplus": (None, None),
    "softsign": (None, None),
    "tanh": (None, None),
    "thresholdedrelu": (1.0, None),
}
"""Defaults of alpha and beta; None where the activation has no such parameter."""

OPERATORS = {
    "elu": "Elu",
    "hardsigmoid": "HardSigmoid",
    "leakyrelu": "LeakyRelu",
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "tanh": "Tanh",
    "thresholdedrelu": "ThresholdedRelu",
}
"""Those that are operators of their own."""


def activations_of(body: Body, default: list[str], directions: int) -> list[list[Activation]]:
    """Return the activations of each direction, which take parameters in their order."""
    names = body.attribute("activations") or default * directions
    alphas = iter(body.attribute("activation_alpha") or ())
    betas = iter(body.attribute("activation_beta") or ())
    limit = body.attribute("clip")
    made = []
    for name in names:
        if name.lower() not in PARAMETERS:
            raise NotSpelled(f"There is no activation '{name}'.")
        alpha, beta = PARAMETERS[name.lower()]
        alpha = alpha if alpha is None else next(alphas, alpha)
        beta = beta if beta is None else next(betas, beta)
        made.append(_activation(name.lower(), alpha, beta, limit))
    each = len(default)
    return [made[each * place : each * (place + 1)] for place in range(directions)]


def _activation(
    name: str, alpha: float | None, beta: float | None, limit: float | None
) -> Activation:
    def compute(body: Body, value: str) -> str:
        if limit:
            value = clipped(body, value, limit)
        if name == "affine":
            return _line(body, value, alpha, beta)
        if name == "scaledtanh":
            scaled = body.add("Mul", value, _number(body, beta))
            return body.add("Mul", body.add("Tanh", scaled), _number(body, alpha))
        return body.add(OPERATORS[name], value, alpha=alpha, beta=beta)

    return compute


def _line(body: Body, value: str, alpha: float | None, beta: float | None) -> str:
    return body.add("Add", body.add("Mul", value, _number(body, alpha)), _number(body, beta))


def clipped(body: Body, value: str, limit: float) -> str:
    """Keep a value within a limit on both sides of zero."""
    low, high = _number(body, -limit), _number(body, limit)
    return body.add("Clip", value, low, high)


def _number(body: Body, value: float | None) -> str:
    return body.constant(value, body.dtype(body.input(0)))

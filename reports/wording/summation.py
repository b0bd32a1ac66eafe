"""Says in which order each side of a difference may have added the terms of one sum."""

from __future__ import annotations

from xbackend.numerics.summation import (
    ANY_ORDER,
    BACKWARDS,
    BIAS_FIRST,
    BIAS_LAST,
    BIAS_WITHIN,
    FUSED,
    FUSED_OTHER,
    IN_ORDER,
    ONCE,
    ONCE_THEN_BIAS,
    PAIRWISE,
    ROUNDED,
    Explanation,
    SummationOrder,
)
from xbackend.reduction.summation import SummationFacts

from .formatting import pluralize, printable

PRODUCTS = {
    ROUNDED: "rounds each product",
    FUSED: "adds products without rounding them (FMA)",
    FUSED_OTHER: "adds products without rounding them (FMA), the first of two so",
    ONCE: "rounds once, at the end",
    ONCE_THEN_BIAS: "rounds the sum of the products once",
}
BIASES = {
    BIAS_FIRST: "begins with the bias",
    BIAS_LAST: "adds the bias last",
    BIAS_WITHIN: "adds the bias between",
}


def summation_sentence(facts: SummationFacts, names: tuple[str, str]) -> str:
    """Return what each side did, by the simplest order with its bits, and if both are right."""
    sides = [
        _side(printable(name), each, facts) for name, each in zip(names, facts.sides, strict=True)
    ]
    bias = " and a bias" if facts.bias else ""
    head = f"One sum of {pluralize(facts.terms, 'term')}{bias}, all orders tried: "
    return f"{head}{'; '.join([*sides, _right(facts, names)])}."


def _side(name: str, found: Explanation, facts: SummationFacts) -> str:
    if not found.simplest:
        return f"no order or fusion in float32 gives the bits of {name}"
    said = " or ".join(dict.fromkeys(_order(each, facts) for each in found.simplest[:3]))
    more = f" ({found.count} of {found.tried} orders give its bits)"
    return f"{name} {said}{more}"


def _order(order: SummationOrder, facts: SummationFacts) -> str:
    """Return what one order does, as verbs with a comma between."""
    parts = []
    if facts.operator != "ReduceSum" or order.products != ROUNDED:
        parts.append(PRODUCTS[order.products])
    if order.products == ONCE:
        return parts[0]
    if facts.terms > 1 and order.products != ONCE_THEN_BIAS:
        parts.append(_kind(order))
    if order.bias in BIASES and (facts.terms > 1 or order.products == ROUNDED):
        parts.append(BIASES[order.bias])
    return ", ".join(parts)


def _kind(order: SummationOrder) -> str:
    if order.kind in (IN_ORDER, BACKWARDS):
        return f"adds {order.kind}"
    if order.kind == PAIRWISE:
        return "adds pairs, then their sums"
    if order.kind == ANY_ORDER:
        return f"adds in the order {' '.join(map(str, order.order))}"
    return f"adds partial sums {_text(order.tree)}"


def _text(tree: object) -> str:
    if not isinstance(tree, tuple):
        return str(tree)
    return f"({' + '.join(map(_text, tree))})"


def _right(facts: SummationFacts, names: tuple[str, str]) -> str:
    if all(facts.right):
        return "both round correctly"
    wrong = [printable(name) for name, right in zip(names, facts.right, strict=True) if not right]
    return f"{' and '.join(wrong)} {'err' if len(wrong) > 1 else 'errs'} by more than rounding can"

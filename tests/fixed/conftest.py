"""One operator at a time, and an oracle of its arithmetic in Python's own exact numbers."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from xbackend.backends.fixed.operators import OPERATORS
from xbackend.worker.graph import Node

Array = np.ndarray[Any, Any]
Compute = Callable[..., Array]


@pytest.fixture(scope="session")
def compute() -> Compute:
    """Compute the first output of an operator from inputs, None for one that is left out."""

    def call(operator: str, inputs: list[Any], **attributes: Any) -> Array:
        domain = next(d for d, name in OPERATORS if name == operator)
        arrays = [None if item is None else np.asarray(item) for item in inputs]
        node = Node(operator, domain, "", ("",) * len(arrays), ("y",), attributes)
        result: Array = OPERATORS[domain, operator](node, arrays)[0]
        return result

    return call


class Oracle:
    """What the arithmetic must be, by definition: rational numbers, rounded where it says so."""

    @staticmethod
    def float32(exact: Fraction) -> Fraction:
        """Round to the nearest float32, ties to even."""
        if not exact:
            return exact
        exponent = 0
        while abs(exact) >= 2 ** (exponent + 1):
            exponent += 1
        while abs(exact) < Fraction(2) ** exponent:
            exponent -= 1
        quantum = Fraction(2) ** (max(exponent, -126) - 23)
        return round(exact / quantum) * quantum

    def scale(self, *factors: float, divisor: float) -> Fraction:
        """Multiply scales from left to right and divide, rounding to float32 each time."""
        product = Fraction(float(factors[0]))
        for factor in factors[1:]:
            product = self.float32(product * Fraction(float(factor)))
        return self.float32(product / Fraction(float(divisor)))

    def requantize(self, total: int, scale: Fraction, zero_point: int, dtype: Any) -> int:
        """Bring an accumulator into 8 bits."""
        wrapped = (total + 2**31) % 2**32 - 2**31
        scaled = self.float32(self.float32(Fraction(wrapped)) * scale)
        return self.clamp(round(scaled) + zero_point, dtype)

    @staticmethod
    def clamp(value: int, dtype: Any) -> int:
        """Keep an integer within a type."""
        limits = np.iinfo(dtype)
        return min(max(value, int(limits.min)), int(limits.max))


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    """The scalar oracle."""
    return Oracle()


@pytest.fixture
def random() -> np.random.Generator:
    """Numbers that are the same in each test and on each machine."""
    return np.random.default_rng(20)

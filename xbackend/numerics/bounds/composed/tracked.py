"""Numbers with a bound on their error, and the operations that carry it along step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xbackend.numerics.bounds.arithmetic import gamma, roundoff, smallest_normal
from xbackend.numerics.bounds.bound import Array, Bound
from xbackend.numerics.bounds.elements import ESTIMATED, FUNCTION

ADVANCE = 32
"""Elements of a block, at least, after which a Softmax in one pass rescales what it has."""


@dataclass(frozen=True)
class Tracked:
    """Right values, and how far any order of rounding can have taken each."""

    value: Array
    error: Array
    """Absolute, of the shape of the values."""

    @property
    def size(self) -> Array:
        """The largest magnitude that may have been computed."""
        return np.asarray(np.abs(self.value) + self.error)

    @property
    def negated(self) -> Tracked:
        """The same numbers with the other sign."""
        return Tracked(-self.value, self.error)

    def moved(self, how: Callable[[Array], Array]) -> Tracked:
        """Return the same numbers in another shape or order."""
        return Tracked(how(self.value), how(self.error))


def exactly(values: Array | float) -> Tracked:
    """Return numbers that were recorded, which have no error."""
    wide = np.asarray(values, np.float64)
    return Tracked(wide, np.zeros_like(wide))


@dataclass(frozen=True)
class Steps:
    """Operations in a format, each of which adds its own rounding to what it was given.

    Source: Higham, Accuracy and Stability of Numerical Algorithms, 3.3, running error analysis.
    """

    dtype: str

    @property
    def unit(self) -> float:
        """The unit roundoff."""
        return roundoff(self.dtype)

    def _rounded(self, value: Array, error: Array, roundings: Array | float = 1.0) -> Tracked:
        own = gamma(roundings, self.unit) * (np.abs(value) + error) + smallest_normal(self.dtype)
        return Tracked(value, error + own)

    def add(self, a: Tracked, b: Tracked) -> Tracked:
        """Add two numbers; an infinity, as a mask has it, has no error."""
        with np.errstate(invalid="ignore"):
            value = a.value + b.value
            made = self._rounded(value, a.error + b.error)
        return Tracked(value, np.where(np.isfinite(value), made.error, 0.0))

    def multiply(self, a: Tracked, b: Tracked) -> Tracked:
        """Multiply two numbers."""
        error = np.abs(a.value) * b.error + np.abs(b.value) * a.error + a.error * b.error
        return self._rounded(a.value * b.value, error)

    def divide(self, a: Tracked, b: Tracked) -> Tracked:
        """Divide two numbers, by an estimate perhaps; without a bound where the second may be 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            value = a.value / b.value
            room = np.abs(b.value) - b.error
            error = np.where(room > 0, (a.error + np.abs(value) * b.error) / room, np.inf)
        return self._rounded(value, error, ESTIMATED)

    def matmul(self, a: Tracked, b: Tracked, more: int = 0) -> Tracked:
        """Add up products in any order; `more` roundings follow."""
        exact = a.value @ b.value
        error = np.abs(a.value) @ b.error + a.error @ b.size
        terms = a.value.shape[-1] + more
        own = gamma(terms, self.unit) * (a.size @ b.size)
        largest = max(1.0, float(a.size.max(initial=0)), float(b.size.max(initial=0)))
        return Tracked(exact, error + own + terms * largest * smallest_normal(self.dtype))

    def sum(self, a: Tracked, axes: tuple[int, ...], more: int = 0) -> Tracked:
        """Add up along axes, which stay with one element; `more` roundings follow."""
        terms = int(np.prod([a.value.shape[axis] for axis in axes])) + more
        error = a.error.sum(axes, keepdims=True)
        own = gamma(terms, self.unit) * a.size.sum(axes, keepdims=True)
        return Tracked(a.value.sum(axes, keepdims=True), error + own)

    def rising(self, function: Callable[[Array], Array], a: Tracked, floor: float = 0.0) -> Tracked:
        """Compute a function that never falls, to some ULP of its result or of `floor`.

        What the argument's error makes of it is seen at the two ends.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            value = function(a.value)
            ends = function(a.value + a.error) - value, value - function(a.value - a.error)
            error = np.nan_to_num(np.maximum(*ends), nan=np.inf)
        own = gamma(FUNCTION, self.unit) * np.maximum(np.abs(value) + error, floor)
        return Tracked(value, error + own + smallest_normal(self.dtype))

    def exact(self, function: Callable[[Array], Array], a: Tracked) -> Tracked:
        """Compute what is never steeper than a slope of 1 and not rounded, such as Relu."""
        return Tracked(function(a.value), a.error)

    def softmax(self, a: Tracked, axis: int = -1, waves: bool = False) -> Tracked:
        """Compute exp(x - max) / sum; with `waves` in one pass, which rescales what it has.

        Elements at minus infinity are left out; where all are, the result is 0.
        """
        top = a.value.max(axis, keepdims=True)
        below = np.where(np.isneginf(a.value), 0.0, np.where(np.isneginf(top), 0.0, top) - a.value)
        powers = np.where(np.isneginf(a.value), 0.0, np.exp(-below))
        total = powers.sum(axis, keepdims=True)
        value = powers / np.where(total == 0, 1.0, total)
        given = np.where(value > 0, a.error, 0.0)
        with np.errstate(over="ignore"):
            lowest = (value * np.exp(-given)).sum(axis, keepdims=True)
            spread = np.exp(given) / np.where(lowest == 0, 1.0, lowest) - 1
        mean = (value * below).sum(axis, keepdims=True)
        terms = a.value.shape[axis]
        limit = np.where(value > 0, below, 0.0) + mean + 2 * FUNCTION + terms + 2
        if waves:
            limit = limit + (FUNCTION + 2) * -(-terms // ADVANCE) + below.max(axis, keepdims=True)
        return self._rounded(value, value * spread, limit)

    def bound(self, found: Tracked, terms: int, roundings: float) -> Bound:
        """Return a bound that allows the error that was carried along.

        `roundings` is how many of them in a row it is shown as; as a rule errors are far smaller.
        """
        scale = found.error / gamma(roundings, self.unit)
        usual = 2 + roundings**0.5
        return Bound(scale, roundings, usual, terms, exact=found.value)

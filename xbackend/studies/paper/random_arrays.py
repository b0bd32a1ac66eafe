"""Weights and inputs from distributions, drawn in integers: the same bits on every machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from xbackend.models.generated.random_numbers import uniform_signed, uniform_unit

Array = np.ndarray[Any, Any]

SUMMED = 12
"""How many uniform numbers make a nearly normal one; their sum has a variance of one."""


def uniform(name: str, shape: Sequence[int]) -> Array:
    """Return float32 numbers from 0 on and below 1."""
    return uniform_unit(name, shape)


def glorot(name: str, shape: Sequence[int]) -> Array:
    """Return weights as Keras begins with them (Glorot and Bengio, 2010).

    Uniform up to the root of 6 / (fan in + fan out), rounded down to a multiple of 2**-20.
    """
    filters, channels, *window = shape
    fans = (filters + channels) * math.prod(window)
    bound = np.float32(math.isqrt((6 << 40) // fans) / (1 << 20))
    return uniform_signed(name, shape) * bound


def normal(name: str, shape: Sequence[int], mean: float, deviation: float) -> Array:
    """Return nearly normal float32 numbers, at most six deviations from the mean.

    Sums of twelve uniform multiples of 2**-23 are exact in float64, and each step after is
    rounded once, as IEEE 754 says; a normal distribution proper takes a logarithm, whose last
    bits differ between machines.
    """
    whole = uniform_unit(name, (SUMMED, *shape)).astype(np.float64).sum(axis=0) - SUMMED / 2
    drawn: Array = (whole * deviation + mean).astype(np.float32)
    return drawn


def moments(x: Array) -> tuple[float, float]:
    """Return mean and standard deviation, by sums that are rounded once.

    >>> moments(np.array([1.0, 3.0]))
    (2.0, 1.0)
    """
    values = [float(value) for value in x.flat]
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))

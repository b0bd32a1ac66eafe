"""Numbers out of a seed, the same bits on every machine: integers, scaled exactly or rounded once.

PCG64's raw output is guaranteed to stay the same (NEP 19), unlike NumPy's distributions. Nothing
here calls a library of mathematical functions, whose last bits differ between machines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import isqrt, prod
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

BITS = 23
"""Of each number; an odd whole number of so many bits is a float32."""


def uniform_signed(name: str, shape: Sequence[int]) -> Array:
    """Return float32 numbers, uniform between -1 and 1, out of the name as the seed.

    They are the odd multiples of 2**-23, so none is zero.

    >>> uniform_signed("a", (2,)) * 2.0**23 % 2
    array([1., 1.], dtype=float32)
    """
    whole = 2 * _integers(name, shape) + 1 - (1 << BITS)
    return whole.astype(np.float32) * np.float32(2.0**-BITS)


def uniform_unit(name: str, shape: Sequence[int]) -> Array:
    """Return float32 numbers, uniform from 0 on and below 1: multiples of 2**-23."""
    return _integers(name, shape).astype(np.float32) * np.float32(2.0**-BITS)


def _integers(name: str, shape: Sequence[int]) -> Array:
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest(), "big")
    raw = np.random.PCG64(seed).random_raw(prod(shape))
    return (raw >> np.uint64(64 - BITS)).astype(np.int64).reshape(shape)


def he_bound(fan_in: int) -> np.float32:
    """Return the bound of uniform weights that keep the size of what passes a ReLU.

    The square root of 6 / fan_in (He et al., 2015), rounded down to a multiple of 2**-20.

    >>> float(he_bound(6)), float(he_bound(24))
    (1.0, 0.5)
    """
    return np.float32(isqrt((6 << 40) // fan_in) / (1 << 20))


def glorot_bound(fan_in: int, fan_out: int) -> np.float32:
    """Return the bound of uniform weights that keep the size of what passes in both directions.

    The square root of 6 / (fan_in + fan_out) (Glorot and Bengio, 2010), rounded as He's.

    >>> float(glorot_bound(3, 3)), float(glorot_bound(4, 20))
    (1.0, 0.5)
    """
    return he_bound(fan_in + fan_out)

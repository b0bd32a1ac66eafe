"""Numbers out of a seed, against the definition of PCG64 and against exact fractions."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import xbackend
from xbackend.models.generated.random_numbers import (
    BITS,
    glorot_bound,
    he_bound,
    uniform_signed,
    uniform_unit,
)

MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645
"""Of PCG64 (M. E. O'Neill, 2014: PCG, section 6)."""

PROGRAM = """
import hashlib, sys
sys.path[:0] = sys.argv[1:]
from xbackend.models.generated.random_numbers import he_bound, uniform_signed, uniform_unit
drawn = uniform_signed("emulated", (1000,)) * he_bound(27)
print(hashlib.sha256(drawn.tobytes() + uniform_unit("emulated", (1000,)).tobytes()).hexdigest())
"""


def _pcg64(name: str, count: int) -> list[int]:
    """Step PCG64 in whole numbers, from the state that NumPy seeds it with."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest(), "big")
    start = np.random.PCG64(seed).state["state"]
    state, found = int(start["state"]), []
    for _ in range(count):
        state = (state * MULTIPLIER + int(start["inc"])) % (1 << 128)
        turn = state >> 122
        low = (state >> 64 ^ state) % (1 << 64)
        found.append((low >> turn | low << (64 - turn)) % (1 << 64))
    return found


def test_signed_numbers_are_odd_multiples_of_two_to_the_minus_23() -> None:
    expected = [Fraction(2 * (raw >> 41) + 1 - (1 << 23), 1 << 23) for raw in _pcg64("a", 100)]
    found = uniform_signed("a", (4, 25))
    assert found.dtype == np.float32
    assert [Fraction(float(value)) for value in found.ravel()] == expected


def test_unsigned_numbers_are_the_top_bits_of_the_same_stream() -> None:
    expected = [Fraction(raw >> (64 - BITS), 1 << BITS) for raw in _pcg64("a", 100)]
    assert [Fraction(float(value)) for value in uniform_unit("a", (100,))] == expected


def test_numbers_fill_their_range_evenly_and_are_never_zero() -> None:
    found = uniform_signed("even", (40_000,))
    assert -1 < found.min() < -0.999
    assert 0.999 < found.max() < 1
    assert np.count_nonzero(found) == found.size
    counts, _ = np.histogram(found, 10, (-1, 1))
    assert 3_700 < counts.min() <= counts.max() < 4_300


def test_another_name_gives_other_numbers() -> None:
    assert not np.array_equal(uniform_signed("a/kernel", (8,)), uniform_signed("a/bias", (8,)))


@pytest.mark.parametrize("fan_in", [3, 27, 147, 576, 4608, 131_072])
def test_the_bound_is_the_root_rounded_down_to_a_multiple_of_two_to_the_minus_20(
    fan_in: int,
) -> None:
    bound, step = Fraction(float(he_bound(fan_in))), Fraction(1, 1 << 20)
    assert (bound / step).denominator == 1
    assert bound**2 <= Fraction(6, fan_in) < (bound + step) ** 2


@pytest.mark.parametrize(("fan_in", "fan_out"), [(27, 27), (75, 125), (320, 128), (512, 10)])
def test_glorots_bound_counts_what_comes_in_and_what_goes_out(fan_in: int, fan_out: int) -> None:
    bound, step = Fraction(float(glorot_bound(fan_in, fan_out))), Fraction(1, 1 << 20)
    assert (bound / step).denominator == 1
    assert bound**2 <= Fraction(6, fan_in + fan_out) < (bound + step) ** 2


@pytest.mark.parametrize("cpu", ["Nehalem", "Haswell"])
def test_an_emulated_processor_makes_the_same_bits(cpu: str) -> None:
    emulator = shutil.which("qemu-x86_64")
    if emulator is None:
        pytest.skip("There is no qemu-x86_64 on this machine (Debian: qemu-user).")
    folders = [str(Path(xbackend.__file__).parents[1]), str(Path(np.__file__).parents[1])]
    python = str(Path(sys.executable).resolve())
    program = [python, "-I", "-c", PROGRAM, *folders]
    native, emulated = (
        subprocess.run([*prefix, *program], capture_output=True, text=True, check=True).stdout
        for prefix in ([], [emulator, "-U", "OPENBLAS_CORETYPE", "-cpu", cpu])
    )
    assert len(native.strip()) == 64
    assert emulated == native

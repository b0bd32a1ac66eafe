"""Where elements deviate: counts in bins, against a count of one element after the other."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xbackend.numerics.deviation_map import (
    CHANNELS,
    POSITIONS,
    DeviationCounts,
    deviation_map,
)

shapes = st.lists(st.integers(1, 9), min_size=0, max_size=4).map(tuple) | st.just((2, 40, 5, 11))


@given(shapes, st.randoms(use_true_random=False), st.integers(1, 50))
def test_every_element_is_counted_in_the_bin_of_its_channel_and_position(
    shape: tuple[int, ...], random: object, step: int
) -> None:
    count = math.prod(shape)
    deviating = np.random.default_rng(random.getrandbits(32)).random(count) < 0.4  # type: ignore[attr-defined]
    seen = DeviationCounts(shape)
    for start in range(0, count, step):
        seen.add(deviating[start : start + step], start)
    found = seen.map()
    assert found is not None
    expected = np.zeros((found.rows, found.columns), int)
    totals = np.zeros((found.rows, found.columns), int)
    for place in range(count):
        index = np.unravel_index(place, shape) if shape else ()
        channel = int(index[1]) if len(shape) > 1 else 0
        rest = index[2:] if len(shape) > 1 else index
        extents = shape[2:] if len(shape) > 1 else shape
        position = int(np.ravel_multi_index(rest, extents)) if extents else 0
        at = channel * found.rows // found.channels, position * found.columns // found.positions
        totals[at] += 1
        expected[at] += bool(deviating[place])
    assert list(found.counts) == expected.ravel().tolist()
    assert list(found.totals) == totals.ravel().tolist()
    assert found.rows <= CHANNELS
    assert found.columns <= POSITIONS


def test_a_tensor_without_elements_has_no_map() -> None:
    assert deviation_map((1, 0, 3), np.zeros(0, bool)) is None
    assert deviation_map((0,), np.zeros(0, bool)) is None

"""Labelled pictures: picking, thinning, and the samples that the paper's indices name."""

from __future__ import annotations

import numpy as np
import pytest

from xbackend.models.dataset import Dataset, Images, paper_samples


def numbered(count: int) -> Images:
    """Pictures whose pixels say which one they are."""
    pixels = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((2, 2, 3), np.uint8)
    return Images(pixels, np.arange(count) % 10)


def dataset(training: int, held_out: int, validation: Images | None = None) -> Dataset:
    held = numbered(held_out)
    return Dataset(numbered(training), held, ("a",), 255, "t", "s", validation, paper_samples(held))


def test_the_samples_are_the_held_out_pictures_0_1_and_6() -> None:
    samples = paper_samples(numbered(20))
    assert samples.names == ("i0", "i1", "i6")
    assert samples.indices == (0, 1, 6)
    assert samples.images.pixels[:][:, 0, 0, 0].tolist() == [0, 1, 6]
    assert samples.images.labels.tolist() == [0, 1, 6]


def test_of_six_held_out_pictures_two_are_samples() -> None:
    assert paper_samples(numbered(6)).names == ("i0", "i1")


@pytest.mark.parametrize(
    ("count", "kept"), [(1, [0]), (2, [0, 5]), (3, [0, 3, 6]), (10, list(range(10)))]
)
def test_thinned_pictures_lie_at_equal_distances(count: int, kept: list[int]) -> None:
    thinned = numbered(10).subsample(count)
    assert thinned.labels.tolist() == kept
    assert thinned.pixels[:][:, 1, 1, 2].tolist() == kept


def test_a_limit_thins_every_kind_and_leaves_the_samples() -> None:
    limited = dataset(30, 20, numbered(15)).subsample(4)
    assert limited.validation is not None
    parts = (limited.training, limited.held_out, limited.validation)
    assert [len(part.labels) for part in parts] == [4, 4, 4]
    assert limited.samples is not None
    assert limited.samples.indices == (0, 1, 6)


def test_no_limit_changes_nothing() -> None:
    whole = dataset(3, 8)
    assert whole.subsample(None) is whole
    assert whole.subsample(100).training is whole.training

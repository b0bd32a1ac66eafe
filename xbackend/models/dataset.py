"""Labelled pictures: what a network is trained on, what is held out, what becomes a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, Any]

PAPER_SAMPLES = (0, 1, 6)
"""Which held-out pictures the paper's samples are."""


class Pixels(Protocol):
    """Pictures by index: an array, or files that are decoded as they are asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: Any, /) -> Any: ...


@dataclass(frozen=True)
class Images:
    """Labelled pictures."""

    pixels: Pixels
    """uint8, [count, height, width, channel]."""
    labels: Array
    """int64, [count]."""

    def select(self, places: Array | Sequence[int]) -> Images:
        """Read some of them into memory."""
        chosen = np.asarray(places, np.int64)
        return Images(self.pixels[chosen], self.labels[chosen])

    def subsample(self, count: int) -> Images:
        """Keep at most so many at equal distances; files stay files."""
        places = np.arange(count) * len(self.labels) // max(count, 1)
        if count >= len(self.labels):
            return self
        subset = getattr(self.pixels, "subset", self.pixels.__getitem__)
        return Images(subset(places), self.labels[places])


@dataclass(frozen=True)
class Samples:
    """The pictures that a model brings along."""

    images: Images
    names: tuple[str, ...]
    indices: tuple[int, ...]
    """Which pictures of the held-out ones they are."""
    rule: str
    """How they were chosen."""


@dataclass(frozen=True)
class Dataset:
    """Pictures to train on and pictures held out."""

    training: Images
    held_out: Images
    classes: tuple[str, ...]
    divisor: int
    """What a pixel is divided by to lie in [0, 1]."""
    title: str
    """What the pictures are, in a few words."""
    source: str
    """Where they come from, in one line."""
    validation: Images | None = None
    """Pictures that the accuracy is told of after each epoch, if there are any."""
    samples: Samples | None = None
    """None where they depend on what the network has learnt."""

    def subsample(self, count: int | None) -> Dataset:
        """Keep at most so many pictures of each kind; the samples stay those of all."""
        if count is None:
            return self
        return replace(
            self,
            training=self.training.subsample(count),
            held_out=self.held_out.subsample(count),
            validation=self.validation and self.validation.subsample(count),
        )


def paper_samples(held_out: Images) -> Samples:
    """Return the pictures with the paper's indices, as far as there are so many.

    Their names are the ends of the names of the authors' files.
    """
    indices = tuple(index for index in PAPER_SAMPLES if index < len(held_out.labels))
    names = tuple(f"i{index}" for index in indices)
    rule = "the paper's indices into the held-out pictures, in the order of the official files"
    return Samples(held_out.select(indices), names, indices, rule)

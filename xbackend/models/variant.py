"""The variants of the paper's networks: what stands between the layers and how weights begin."""

from __future__ import annotations

from dataclasses import dataclass

from xbackend.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Variant:
    """What differs between networks of one shape. Operators are called as in ONNX."""

    word: str
    """What follows the network's name: `sigmoid` in `cifar10-small-sigmoid`."""
    activation: str
    """What follows convolutions and dense layers; empty where nothing does."""
    pooling: str
    """What makes pictures smaller; the average over all of a channel stays what it is."""
    start: str
    """Whose bound the random weights have: `he` or `glorot` (Xavier is his first name)."""
    batchnorm: bool = False
    """Normalise by `BatchNormalization`, not by the product and the sum that become of it."""

    @property
    def suffix(self) -> str:
        """The end of an activation's name."""
        return self.activation.lower()

    @property
    def description(self) -> str:
        """A few words for a table."""
        pooling = self.pooling.replace("Pool", "").lower()
        start = self.start.capitalize()
        words = f"{self.suffix or 'no activation'}, {pooling} pooling, {start}'s bounds"
        return f"{words}, BatchNormalization" if self.batchnorm else words


RELU = Variant("relu", "Relu", "MaxPool", "he")
SIGMOID = Variant("sigmoid", "Sigmoid", "AveragePool", "glorot")
LINEAR = Variant("linear", "", "AveragePool", "glorot")
"""Of the sigmoid's weights, as the paper's authors made it: nothing in it is nonlinear."""
BATCHNORM = Variant("batchnorm", "Relu", "MaxPool", "he", batchnorm=True)

VARIANTS = {each.word: each for each in (RELU, SIGMOID, LINEAR, BATCHNORM)}


def find_variant(word: str, known: tuple[str, ...] = tuple(VARIANTS)) -> Variant:
    """Return the variant of that word; raises UsageError, which lists those that are known."""
    if word in known:
        return VARIANTS[word]
    near = did_you_mean(word, known)
    raise UsageError(f"There is no variant {word!r}. Variants: {', '.join(known)}.{near}")

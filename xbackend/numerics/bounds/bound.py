"""What is known of a layer when it is judged, and what bounds its rounding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

NOTHING, COPY, DOUBLE, SUM, INTEGERS = "nothing", "copy", "double", "sum", "integers"
"""How a node is evaluated apart from its bound: not at all, as it is, in float64, in float64 and
once more on absolute values, or as sums of integers in float64."""


@dataclass(frozen=True)
class Layer:
    """One output of a node on one sample, with what the node read as it was recorded."""

    operator: str
    attributes: Mapping[str, Any]
    """As the prepared graph has them: defaults written out."""
    inputs: Sequence[Array | None]
    """In float64, integers as they are; None where one is left out or no rule reads it."""
    shapes: Sequence[Shape | None]
    """Of all inputs."""
    shape: Shape
    """Of the output."""
    dtype: str
    """The output's format."""
    exact: Array | None = None
    """The output in float64."""
    magnitude: Array | None = None
    """The same node on absolute values."""
    recorded: Array | None = None
    """What the run gave, in float64 or integers; for rules of ties."""
    products: Sequence[bool] = field(default_factory=tuple)
    """Of each input, whether a multiplication made it, with which an addition may be contracted."""
    output: int = 0
    """Which of the node's outputs it is."""

    def input(self, place: int) -> Array:
        """Return an input that is there. Raises LookupError where its values are not known."""
        found = self.inputs[place] if place < len(self.inputs) else None
        if found is None:
            raise LookupError(f"the values of its input {place} are not known")
        return found

    def has(self, place: int) -> bool:
        """Tell whether an optional input is given."""
        return place < len(self.shapes) and self.shapes[place] is not None

    @property
    def truth(self) -> Array:
        """The output in float64, which the rule asked for. Raises LookupError without one."""
        if self.exact is None:
            raise LookupError("its right values are not known")
        return self.exact


@dataclass(frozen=True)
class Bound:
    """The error that rounding can make: gamma(limit) times scale, plus what no format decides."""

    scale: Array | float
    """What roundings are relative to: of a sum, the sum of the magnitudes of its terms."""
    limit: Array | float
    """Roundings in a row, whatever the order."""
    usual: Array | float
    """Roundings that are seen as a rule: about the square root of a sum's terms."""
    terms: int = 1
    """What is added up for one element."""
    absolute: Array | float = 0.0
    """An error that is allowed in every format, such as half a step of a quantized tensor."""
    underflows: float = 1.0
    """How many operations may fall below the normal numbers, times the largest factor on them."""
    condition: Array | float | None = None
    """What a relative error of all inputs that are no constants makes of the result; None where
    that is not known."""
    exact: Array | None = None
    """The right values, where the rule has computed them itself."""
    rounds_once: bool = False
    """Whether the right bits are those of the right value rounded to nearest."""
    moves: bool = False
    """Whether it is no arithmetic at all: any other value is a fault."""
    undefined: int = 0
    """Elements that ONNX defines no value of, of which any is taken."""


Rounding = Callable[[Layer], Bound]


@dataclass(frozen=True)
class Rule:
    """How a layer with some operator is judged."""

    bound: Rounding
    """Takes the layer. Raises LookupError with a reason where no bound is known for its form."""
    evaluation: str = DOUBLE
    """How its right values are computed: one of the words of this module."""
    reads: bool = False
    """Whether the bound needs the values of the inputs, not only their shapes."""
    multiplies: bool = False
    """Whether tensor cores and the like compute it, with products in a narrower format."""

"""How each float format lays out its bits, and a scalar oracle on bit patterns.

The oracle uses Python integers only, one pair of numbers at a time. It says what the array code of
`differ` has to give, and shares no line with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class FloatFormat:
    """A binary float format: one sign bit, then the exponent, then the mantissa."""

    name: str
    """NumPy's name, or `bfloat16`."""
    exponent_bits: int
    mantissa_bits: int
    """Stored bits, without the leading one that normal numbers imply."""

    @property
    def bits(self) -> int:
        """The width of a number."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def storage(self) -> str:
        """The NumPy dtype of unsigned integers of the same width."""
        return f"uint{self.bits}"

    @property
    def bias(self) -> int:
        """What is subtracted from the stored exponent."""
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def sign_mask(self) -> int:
        """The sign bit."""
        return 1 << (self.bits - 1)

    @property
    def mantissa_mask(self) -> int:
        """The mantissa's bits."""
        return (1 << self.mantissa_bits) - 1

    @property
    def infinity(self) -> int:
        """The bits of positive infinity: all ones in the exponent, zero in the mantissa."""
        return ((1 << self.exponent_bits) - 1) << self.mantissa_bits


FORMATS = {
    each.name: each
    for each in (
        FloatFormat("float16", 5, 10),
        FloatFormat("bfloat16", 8, 7),
        FloatFormat("float32", 8, 23),
        FloatFormat("float64", 11, 52),
    )
}
"""Every format whose mantissa bits are counted, by name."""


@dataclass(frozen=True)
class FloatFields:
    """A bit pattern taken apart."""

    sign: int
    exponent: int
    """As stored, with the bias."""
    mantissa: int


def split_fields(float_format: FloatFormat, bits: int) -> FloatFields:
    """Take a bit pattern apart. Raises ValueError for one that is too wide.

    >>> split_fields(FORMATS["float32"], 0x3F80_0001)
    FloatFields(sign=0, exponent=127, mantissa=1)
    """
    if not 0 <= bits < 1 << float_format.bits:
        raise ValueError(f"{bits:#x} is not a bit pattern of {float_format.name}.")
    exponent = (bits & float_format.infinity) >> float_format.mantissa_bits
    return FloatFields(bits >> (float_format.bits - 1), exponent, bits & float_format.mantissa_mask)


def is_nan(float_format: FloatFormat, bits: int) -> bool:
    """Tell whether a bit pattern is a NaN of any sign and payload.

    >>> is_nan(FORMATS["bfloat16"], 0xFFC0)
    True
    """
    parts = split_fields(float_format, bits)
    return parts.exponent == (1 << float_format.exponent_bits) - 1 and parts.mantissa != 0


def decode(float_format: FloatFormat, bits: int) -> Fraction:
    """Return the number that a bit pattern stands for. Raises ValueError for NaN and infinity.

    >>> decode(FORMATS["float16"], 0x3C01)
    Fraction(1025, 1024)
    """
    parts = split_fields(float_format, bits)
    if parts.exponent == (1 << float_format.exponent_bits) - 1:
        raise ValueError(f"{bits:#x} of {float_format.name} is not a finite number.")
    leading = 1 if parts.exponent else 0
    significand = Fraction(parts.mantissa, 1 << float_format.mantissa_bits) + leading
    power = max(parts.exponent, 1) - float_format.bias
    scale = Fraction(1 << power) if power >= 0 else Fraction(1, 1 << -power)
    return (-significand if parts.sign else significand) * scale


def remaining_precision(float_format: FloatFormat, first: int, second: int) -> int:
    """Return the identical leading mantissa bits, 0 where sign or exponent differ.

    >>> remaining_precision(FORMATS["float32"], 0x3F80_0000, 0x3F80_0001)
    22
    """
    one, two = split_fields(float_format, first), split_fields(float_format, second)
    if (one.sign, one.exponent) != (two.sign, two.exponent):
        return 0
    width = f"0{float_format.mantissa_bits}b"
    pairs = zip(format(one.mantissa, width), format(two.mantissa, width), strict=True)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), float_format.mantissa_bits)


def ordinal(float_format: FloatFormat, bits: int) -> int:
    """Return where a bit pattern stands in the order of all: +0.0 at 0, -0.0 at -1.

    This is the total order of IEEE 754: negative NaN, negative numbers, -0.0, +0.0, positive
    numbers, positive NaN.

    >>> [ordinal(FORMATS["float16"], bits) for bits in (0x8001, 0x8000, 0x0000, 0x0001)]
    [-2, -1, 0, 1]
    """
    parts = split_fields(float_format, bits)
    magnitude = bits & ~float_format.sign_mask
    return -1 - magnitude if parts.sign else magnitude


def ulp_distance(float_format: FloatFormat, first: int, second: int) -> int | None:
    """Return the steps from one number to another in the order of all bit patterns.

    Infinity is one step beyond the largest number. Two NaN are 0 apart, whatever their sign and
    payload; there is no distance between a NaN and a number, which gives None.

    >>> ulp_distance(FORMATS["float32"], 0x8000_0000, 0x0000_0000)
    1
    """
    nans = is_nan(float_format, first) + is_nan(float_format, second)
    if nans:
        return 0 if nans == 2 else None
    return abs(ordinal(float_format, first) - ordinal(float_format, second))

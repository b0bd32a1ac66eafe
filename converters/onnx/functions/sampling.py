"""GridSample: neighbours that are picked by place, and weighed by how near they are."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from .body import NotSpelled

if TYPE_CHECKING:
    from .body import Body

INT64 = 7
"""ONNX's number of the format."""

NEAREST, LINEAR = ("nearest",), ("linear", "bilinear")


def grid_sample(body: Body) -> None:
    """GridSample of the nearest element, or linear between neighbours, over any spatial axes."""
    x, grid, mode = body.input(0), body.input(1), body.attribute("mode", "linear")
    if mode not in NEAREST + LINEAR:
        raise NotSpelled(f"Its mode is {mode}.")
    spatial = len(body.shape(x)) - 2
    places = [Axis(body, grid, axis, spatial) for axis in range(spatial)]
    flat = body.add("Reshape", x, body.integers(0, 0, -1))
    if mode in NEAREST:
        total = _picked(body, flat, [axis.padded(body.add("Round", axis.place)) for axis in places])
    else:
        total = _weighed(body, flat, places)
    shape = body.add(
        "Concat",
        body.add("Shape", x, start=0, end=2),
        body.add("Shape", grid, start=1, end=1 + spatial),
        axis=0,
    )
    body.add("Reshape", total, shape, out=0)


class Axis:
    """One spatial axis: its extent, and where each point of the grid lies along it."""

    def __init__(self, body: Body, grid: str, axis: int, spatial: int) -> None:
        self.body = body
        self.dtype = body.dtype(body.input(0))
        self.corners = bool(body.attribute("align_corners", 0))
        length = body.add("Shape", body.input(0), start=2 + axis, end=3 + axis)
        self.length = body.add("CastLike", length, body.input(0))
        self.last = body.add("Sub", self.length, self.number(1.0))
        component = body.constant(spatial - 1 - axis, "int64")
        chosen = body.add("Gather", grid, component, axis=-1)
        self.place = self._place(body.add("Reshape", chosen, body.integers(0, -1)))

    def number(self, value: float) -> str:
        """Return a constant in the format of the elements."""
        return self.body.constant(value, self.dtype)

    def _place(self, seen: str) -> str:
        """Bring -1 to 1 to places: of the corner elements' centres, or of their outer edges."""
        body = self.body
        moved = body.add("Add", seen, self.number(1.0))
        if self.corners:
            half = body.add("Div", moved, self.number(2.0))
            return body.add("Mul", half, self.last)
        wide = body.add("Sub", body.add("Mul", moved, self.length), self.number(1.0))
        return body.add("Div", wide, self.number(2.0))

    def padded(self, place: str) -> tuple[str, str]:
        """Return whole places as indices within the axis, and which were within by themselves."""
        body = self.body
        zero = self.number(0.0)
        at_least = body.add("GreaterOrEqual", place, zero)
        within = body.add("And", at_least, body.add("LessOrEqual", place, self.last))
        if body.attribute("padding_mode", "zeros") == "reflection":
            place = self._reflected(place)
        clipped = body.add("Min", body.add("Max", place, zero), self.last)
        return body.add("Cast", clipped, to=INT64), within

    def _reflected(self, place: str) -> str:
        """Reflect at the ends, as often as it takes."""
        body = self.body
        low = 0.0 if self.corners else -0.5
        span = self.last if self.corners else self.length
        away = body.add("Abs", body.add("Sub", place, self.number(low)))
        turns = body.add("Floor", body.add("Div", away, span))
        rest = body.add("Sub", away, body.add("Mul", turns, span))
        odd = body.add("Mod", turns, self.number(2.0), fmod=1)
        back = body.add("Equal", odd, self.number(1.0))
        chosen = body.add("Where", back, body.add("Sub", span, rest), rest)
        return body.add("Round", body.add("Add", chosen, self.number(low)))


def _weighed(body: Body, flat: str, axes: list[Axis]) -> str:
    """Sum the neighbours at the corners around each point, each times its share."""
    ends = []
    for axis in axes:
        low = body.add("Floor", axis.place)
        share = body.add("Sub", axis.place, low)
        high = body.add("Add", low, axis.number(1.0))
        rest = body.add("Sub", axis.number(1.0), share)
        ends.append(((axis.padded(low), rest), (axis.padded(high), share)))
    parts = []
    for corner in product(*ends):
        weight = corner[0][1]
        for _, share in corner[1:]:
            weight = body.add("Mul", weight, share)
        seen = _picked(body, flat, [place for place, _ in corner])
        parts.append(body.add("Mul", seen, body.add("Unsqueeze", weight, body.integers(1))))
    return body.add("Sum", *parts)


def _picked(body: Body, flat: str, places: list[tuple[str, str]]) -> str:
    """Take the elements at places, zeros for those outside where the padding is so."""
    x = body.input(0)
    index, inside = places[0]
    for axis, (place, within) in enumerate(places[1:], start=1):
        extent = body.add("Shape", x, start=2 + axis, end=3 + axis)
        index = body.add("Add", body.add("Mul", index, extent), place)
        inside = body.add("And", inside, within)
    one = body.integers(1)
    wide = body.add("Unsqueeze", index, one)
    points = body.add("Shape", index, start=1, end=2)
    shape = body.add("Concat", body.add("Shape", x, start=0, end=2), points, axis=0)
    seen = body.add("GatherElements", flat, body.add("Expand", wide, shape), axis=2)
    if body.attribute("padding_mode", "zeros") != "zeros":
        return seen
    mask = body.add("Unsqueeze", inside, one)
    return body.add("Where", mask, seen, body.constant(0.0, body.dtype(x)))


FUNCTIONS = {"GridSample": grid_sample}

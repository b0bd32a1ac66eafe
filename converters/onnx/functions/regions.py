"""RoiAlign: elements that are picked around sampling points, averaged or the greatest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .body import NotSpelled

if TYPE_CHECKING:
    from .body import Body

INT64 = 7
"""ONNX's number of the format."""


def roi_align(body: Body) -> None:
    """RoiAlign with a number of samples that is told; each is bilinear between four elements.

    The order of the axes is [regions, channels, rows, columns of bins, rows, columns of samples].
    """
    samples = body.attribute("sampling_ratio", 0)
    if samples <= 0:
        raise NotSpelled("The number of samples follows from the regions.")
    height, width = body.attribute("output_height", 1), body.attribute("output_width", 1)
    rows = Points(body, 1, height, samples)
    columns = Points(body, 0, width, samples)
    x = body.add("Gather", body.input(0), body.input(2), axis=0)
    flat = body.add("Reshape", x, body.integers(0, 0, -1))
    maximum = body.attribute("mode", "avg") == "max"
    parts = []
    for row, down in rows.ends:
        for column, across in columns.ends:
            parts.append(_weighed(body, flat, (rows, row, down), (columns, column, across)))
    if maximum:
        total = body.add("Max", *parts)
    else:
        total = body.add("Sum", *parts)
    split = body.integers(0, 0, height, samples, width, samples)
    bins = body.add("Reshape", total, split)
    reduce = "ReduceMax" if maximum else "ReduceMean"
    body.add(reduce, bins, body.integers(3, 5), keepdims=0, out=0)


class Points:
    """Where the samples of all regions lie along one axis of the picture."""

    def __init__(self, body: Body, which: int, bins: int, samples: int) -> None:
        self.body, self.dtype = body, body.dtype(body.input(0))
        axis = 3 - which
        length = body.add("Shape", body.input(0), start=axis, end=axis + 1)
        self.length = body.add("CastLike", length, body.input(0))
        self.extent = length
        half = body.attribute("coordinate_transformation_mode", "half_pixel") == "half_pixel"
        begin, end = (self._end(which + 2 * place, half) for place in range(2))
        size = body.add("Sub", end, begin)
        if not half:
            size = body.add("Max", size, self.number(1.0))
        step = body.add("Div", size, self.number(float(bins)))
        shares = [i + (s + 0.5) / samples for i in range(bins) for s in range(samples)]
        along = body.constant([shares], self.dtype)
        place = body.add("Add", begin, body.add("Mul", step, along))
        self.ends = self._neighbours(place)

    def number(self, value: float) -> str:
        """Return a constant in the format of the elements."""
        return self.body.constant(value, self.dtype)

    def _end(self, column: int, half: bool) -> str:
        """Return the begin or the end of each region, scaled to the picture, as a column."""
        body = self.body
        chosen = body.add("Gather", body.input(1), body.integers(column), axis=1)
        scaled = body.add("Mul", chosen, self.number(body.attribute("spatial_scale", 1.0)))
        return body.add("Sub", scaled, self.number(0.5)) if half else scaled

    def _neighbours(self, place: str) -> list[tuple[str, str]]:
        """Return both neighbours of each sample and their shares; none of what is far outside."""
        body, one, zero = self.body, self.number(1.0), self.number(0.0)
        last = body.add("Sub", self.length, one)
        above = body.add("GreaterOrEqual", place, self.number(-1.0))
        inside = body.add("And", above, body.add("LessOrEqual", place, self.length))
        kept = body.add("Max", place, zero)
        low = body.add("Min", body.add("Floor", kept), last)
        high = body.add("Min", body.add("Add", low, one), last)
        at_end = body.add("Equal", low, last)
        part = body.add("Where", at_end, zero, body.add("Sub", kept, low))
        rest = body.add("Sub", one, part)
        shares = [body.add("Where", inside, share, zero) for share in (rest, part)]
        return [
            (body.add("Cast", end, to=INT64), s) for end, s in zip((low, high), shares, strict=True)
        ]


def _weighed(
    body: Body, flat: str, row: tuple[Points, str, str], column: tuple[Points, str, str]
) -> str:
    """Return [regions, channels, rows * columns]: a neighbour of each sample times its share."""
    wide = column[0].extent
    places = [
        body.add("Unsqueeze", row[1], body.integers(2)),
        body.add("Unsqueeze", column[1], body.integers(1)),
    ]
    index = body.add("Add", body.add("Mul", places[0], wide), places[1])
    index = body.add("Reshape", index, body.integers(0, 1, -1))
    count = body.add("Shape", index, start=2, end=3)
    shape = body.add("Concat", body.add("Shape", flat, start=0, end=2), count, axis=0)
    seen = body.add("GatherElements", flat, body.add("Expand", index, shape), axis=2)
    share = body.add(
        "Mul",
        body.add("Unsqueeze", row[2], body.integers(2)),
        body.add("Unsqueeze", column[2], body.integers(1)),
    )
    return body.add("Mul", seen, body.add("Reshape", share, body.integers(0, 1, -1)))


FUNCTIONS = {"RoiAlign": roi_align}

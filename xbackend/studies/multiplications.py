"""How the number of multiplications goes with the number of classes: the paper's Figure 4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt

from xbackend.comparison.comparison import TapComparison, compare_runs
from xbackend.models.generated.numbers import unsigned
from xbackend.store.records import Run
from xbackend.store.store import Store
from xbackend.studies.configuration import Configuration, Key
from xbackend.studies.convolutions import Convolution, write_model
from xbackend.studies.figure import Lines, Series
from xbackend.studies.judgement import TOO_FEW, doubts, no_outputs, platforms_trusted, trusted
from xbackend.studies.study import Outcome, Record, Study, Task, by_backend
from xbackend.studies.table import Table
from xbackend.studies.verdict import FAILS, HOLDS, OPEN, Verdict

SMALLEST = 3
"""Rows and columns that a picture has at least, as in the paper's configurations."""
TOGETHER = 400_000_000
"""Most multiplications in one graph; XNNPACK keeps 8 bytes for each three of them."""

KEYS = (
    Key("multiplications", "numbers", "about how many each convolution has"),
    Key("filters", "numbers", "f: how many filters"),
    Key("kernels", "numbers", "k: rows and columns of a filter"),
    Key("channels", "number", "c: of the picture"),
)


@dataclass(frozen=True)
class Point:
    """One convolution."""

    filters: int
    kernel: int
    channels: int
    extent: int
    """Rows and columns of the picture and of what comes out."""
    wanted: int
    """About how many multiplications were asked for."""

    @property
    def name(self) -> str:
        """The name of its output."""
        return f"f{self.filters}_k{self.kernel}_c{self.channels}_i{self.extent}"

    @property
    def multiplications(self) -> int:
        """How many there are, those with the zeros around the picture among them."""
        return self.filters * self.channels * self.kernel**2 * self.extent**2

    @property
    def series(self) -> tuple[int, int]:
        """What a line of the figure has in common."""
        return self.filters, self.kernel


def points(configuration: Configuration) -> list[Point]:
    """Return the convolutions; of those that a small picture makes alike, the first.

    >>> sizes = {"multiplications": [1000, 1200], "filters": [1], "kernels": [7], "channels": 3}
    >>> [(point.extent, point.multiplications) for point in points(sizes)]
    [(3, 1323)]
    """
    channels = configuration["channels"]
    found: dict[str, Point] = {}
    for wanted in configuration["multiplications"]:
        for filters in configuration["filters"]:
            for kernel in configuration["kernels"]:
                extent = max(SMALLEST, isqrt(wanted // (filters * channels * kernel**2)))
                point = Point(filters, kernel, channels, extent, wanted)
                found.setdefault(point.name, point)
    return list(found.values())


def batches(wanted: Sequence[Point]) -> list[list[Point]]:
    """Return the convolutions in groups that one worker computes within some memory.

    >>> sizes = {"filters": [1], "kernels": [2, 3, 4], "channels": 3}
    >>> found = batches(points({"multiplications": [1000, 300_000_000], **sizes}))
    >>> [[point.extent for point in batch] for batch in found]
    [[9, 6, 4, 5000], [3333], [2500]]
    """
    found: list[list[Point]] = [[]]
    for point in wanted:
        together = sum(each.multiplications for each in found[-1]) + point.multiplications
        if found[-1] and together > TOGETHER:
            found.append([])
        found[-1].append(point)
    return found


def carry_out(task: Task) -> Outcome:
    """Run all convolutions of the configuration and count the classes of each."""
    wanted = points(task.configuration)
    runs = [run for batch in batches(wanted) for run in _run(task, batch)]
    backends = by_backend(runs)
    found = {word: _classify(task.means.store, of, wanted) for word, of in backends.items()}
    return Outcome(
        records=tuple(row for word, taps in found.items() for row in _records(word, taps)),
        tables=tuple(_table(word, taps, task.configuration).text() for word, taps in found.items()),
        verdicts=tuple(_judge(word, backends[word], taps) for word, taps in found.items()),
        plot="study",
        drawn=tuple(_panel(word, taps) for word, taps in found.items() if taps),
        notes=doubts(runs),
    )


def _run(task: Task, batch: Sequence[Point]) -> list[Run]:
    convolutions = [_convolution(point) for point in batch]
    pictures = {
        each.reads: unsigned(each.reads, (1, point.channels, point.extent, point.extent))
        for each, point in zip(convolutions, batch, strict=True)
    }
    path = write_model(task.means.store, "multiplications", convolutions, pictures)
    return task.run_on(pictures, task.order(path))


def _convolution(point: Point) -> Convolution:
    shape = (point.filters, point.channels, point.kernel, point.kernel)
    weights = unsigned(f"multiplications/{point.name}", shape)
    return Convolution(point.name, f"{point.name}/picture", weights)


Found = Mapping[Point, TapComparison]


def _classify(store: Store, runs: Sequence[Run], wanted: Sequence[Point]) -> Found:
    taps = {tap.tap: tap for sample in compare_runs(store, runs).samples for tap in sample.taps}
    return {point: taps[point.name] for point in wanted if point.name in taps}


def _records(backend: str, found: Found) -> list[Record]:
    return [
        {
            "backend": backend,
            "filters": point.filters,
            "kernel": point.kernel,
            "channels": point.channels,
            "extent": point.extent,
            "multiplications": point.multiplications,
            "classes": len(trusted(tap)),
            "bits": None if tap.emulation_unsafe else tap.metrics.remaining_precision,
        }
        for point, tap in found.items()
    ]


def _table(backend: str, found: Found, configuration: Configuration) -> Table:
    """Return a row for each number of multiplications, a column for each line of the figure."""
    columns = sorted({point.series for point in found})
    rows = []
    for wanted in configuration["multiplications"]:
        counts = {
            point.series: str(len(trusted(tap)))
            for point, tap in found.items()
            if point.wanted == wanted
        }
        rows.append((f"{wanted:.0e}".replace("e+0", "e"), *(counts.get(c, "–") for c in columns)))
    headers = ("about", *(f"f={filters} k={kernel}" for filters, kernel in columns))
    title = f"{backend}: classes by number of multiplications"
    return Table(title, headers, tuple(rows) if found else ())


def _lines(found: Found) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Return for each line its points, ascending: multiplications and classes."""
    lines: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for point, tap in found.items():
        row = (point.multiplications, len(trusted(tap)))
        lines.setdefault(point.series, []).append(row)
    return {series: sorted(rows) for series, rows in sorted(lines.items())}


def _judge(backend: str, runs: Sequence[Run], found: Found) -> Verdict:
    if not found:
        return no_outputs(backend)
    if len(platforms_trusted(runs, found.values())) < 2:
        return Verdict(backend, OPEN, TOO_FEW)
    ends = [(rows[0][1], rows[-1][1]) for rows in _lines(found).values() if len(rows) > 1]
    if not ends:
        return Verdict(backend, OPEN, "it takes two numbers of multiplications")
    most = max(len(trusted(tap)) for tap in found.values())
    if most == 1:
        return Verdict(backend, OPEN, "the platforms gave the same bits in every convolution")
    rising = sum(last > first for first, last in ends)
    falling = sum(last < first for first, last in ends)
    reason = f"{rising} of {len(ends)} kinds of convolution gain classes, {falling} lose some"
    if not rising and not falling:
        reason = f"{most} classes at most, as many with the fewest as with the most"
    return Verdict(backend, HOLDS if rising and not falling else FAILS, reason)


def _panel(backend: str, found: Found) -> Lines:
    kernels = sorted({point.kernel for point in found})
    filters = sorted({point.filters for point in found})
    series = tuple(
        Series(f"f={f}, k={k}", tuple(rows), hue=kernels.index(k), dash=filters.index(f))
        for (f, k), rows in _lines(found).items()
    )
    return Lines(backend, "multiplications", "classes", series, logarithmic=True)


STUDY = Study(
    name="multiplications",
    text="one convolution, from few to very many multiplications",
    source="Figure 4",
    claim="more multiplications give more classes",
    criterion=(
        "Holds if convolutions of at least one kind (f filters of k by k) have more classes with "
        "the most multiplications than with the fewest, and those of no kind have fewer."
    ),
    own_keys=KEYS,
    carry_out=carry_out,
)

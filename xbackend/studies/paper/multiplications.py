"""How the number of multiplications goes with the number of classes: the paper's Figure 4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt

from xbackend.comparison.compare import compare_runs
from xbackend.comparison.comparison import TapComparison
from xbackend.models.generated.random_numbers import uniform_unit
from xbackend.store.records import Run
from xbackend.store.store import Store
from xbackend.studies.configuration import ConfigKey, Configuration
from xbackend.studies.figure import LinePlot, Series
from xbackend.studies.paper.convolutions import Convolution, write_model
from xbackend.studies.study import Record, Study, StudyContext, StudyResult, by_backend
from xbackend.studies.table import Table
from xbackend.studies.trust import (
    TOO_FEW,
    no_outputs,
    trusted_classes,
    trusted_platforms,
    untrusted_run_notes,
)
from xbackend.studies.verdict import FAILS, HOLDS, INCONCLUSIVE, Verdict

SMALLEST = 3
"""Rows and columns that a picture has at least, as in the paper's configurations."""
TOGETHER = 400_000_000
"""Most multiplications in one graph; XNNPACK keeps 8 bytes for each three of them."""

KEYS = (
    ConfigKey("multiplications", "numbers", "about how many each convolution has"),
    ConfigKey("filters", "numbers", "f: how many filters"),
    ConfigKey("kernels", "numbers", "k: rows and columns of a filter"),
    ConfigKey("channels", "number", "c: of the picture"),
)


@dataclass(frozen=True)
class ConvolutionConfig:
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


def convolution_configs(configuration: Configuration) -> list[ConvolutionConfig]:
    """Return the convolutions; of those that a small picture makes alike, the first.

    >>> sizes = {"multiplications": [1000, 1200], "filters": [1], "kernels": [7], "channels": 3}
    >>> [(point.extent, point.multiplications) for point in convolution_configs(sizes)]
    [(3, 1323)]
    """
    channels = configuration["channels"]
    found: dict[str, ConvolutionConfig] = {}
    for wanted in configuration["multiplications"]:
        for filters in configuration["filters"]:
            for kernel in configuration["kernels"]:
                extent = max(SMALLEST, isqrt(wanted // (filters * channels * kernel**2)))
                point = ConvolutionConfig(filters, kernel, channels, extent, wanted)
                found.setdefault(point.name, point)
    return list(found.values())


def batches(wanted: Sequence[ConvolutionConfig]) -> list[list[ConvolutionConfig]]:
    """Return the convolutions in groups that one worker computes within some memory.

    >>> sizes = {"filters": [1], "kernels": [2, 3, 4], "channels": 3}
    >>> found = batches(convolution_configs({"multiplications": [1000, 300_000_000], **sizes}))
    >>> [[point.extent for point in batch] for batch in found]
    [[9, 6, 4, 5000], [3333], [2500]]
    """
    found: list[list[ConvolutionConfig]] = [[]]
    for point in wanted:
        together = sum(each.multiplications for each in found[-1]) + point.multiplications
        if found[-1] and together > TOGETHER:
            found.append([])
        found[-1].append(point)
    return found


def run_study(task: StudyContext) -> StudyResult:
    """Run all convolutions of the configuration and count the classes of each."""
    wanted = convolution_configs(task.configuration)
    runs = [run for batch in batches(wanted) for run in _run(task, batch)]
    backends = by_backend(runs)
    found = {word: _classify(task.context.store, of, wanted) for word, of in backends.items()}
    return StudyResult(
        records=tuple(row for word, taps in found.items() for row in _records(word, taps)),
        tables=tuple(_table(word, taps, task.configuration) for word, taps in found.items()),
        verdicts=tuple(_judge(word, backends[word], taps) for word, taps in found.items()),
        plot="study",
        plot_data=tuple(_panel(word, taps) for word, taps in found.items() if taps),
        notes=untrusted_run_notes(runs),
    )


def _run(task: StudyContext, batch: Sequence[ConvolutionConfig]) -> list[Run]:
    convolutions = [_convolution(point) for point in batch]
    pictures = {
        each.reads: uniform_unit(each.reads, (1, point.channels, point.extent, point.extent))
        for each, point in zip(convolutions, batch, strict=True)
    }
    path = write_model(task.context.store, "multiplications", convolutions, pictures)
    return task.run_on(pictures, task.request(path))


def _convolution(point: ConvolutionConfig) -> Convolution:
    shape = (point.filters, point.channels, point.kernel, point.kernel)
    weights = uniform_unit(f"multiplications/{point.name}", shape)
    return Convolution(point.name, f"{point.name}/picture", weights)


TapsByConfig = Mapping[ConvolutionConfig, TapComparison]


def _classify(
    store: Store, runs: Sequence[Run], wanted: Sequence[ConvolutionConfig]
) -> TapsByConfig:
    taps = {tap.tap: tap for sample in compare_runs(store, runs).samples for tap in sample.taps}
    return {point: taps[point.name] for point in wanted if point.name in taps}


def _records(backend: str, found: TapsByConfig) -> list[Record]:
    return [
        {
            "backend": backend,
            "filters": point.filters,
            "kernel": point.kernel,
            "channels": point.channels,
            "extent": point.extent,
            "multiplications": point.multiplications,
            "classes": len(trusted_classes(tap)),
            "bits": None if tap.emulation_unsafe else tap.metrics.remaining_precision,
        }
        for point, tap in found.items()
    ]


def _table(backend: str, found: TapsByConfig, configuration: Configuration) -> Table:
    """Return a row for each number of multiplications, a column for each line of the figure."""
    columns = sorted({point.series for point in found})
    rows = []
    for wanted in configuration["multiplications"]:
        counts = {
            point.series: str(len(trusted_classes(tap)))
            for point, tap in found.items()
            if point.wanted == wanted
        }
        rows.append((f"{wanted:.0e}".replace("e+0", "e"), *(counts.get(c, "–") for c in columns)))
    headers = ("about", *(f"f={filters} k={kernel}" for filters, kernel in columns))
    title = f"{backend}: classes by number of multiplications"
    return Table(title, headers, tuple(rows) if found else ())


def _lines(found: TapsByConfig) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Return for each line its points, ascending: multiplications and classes."""
    lines: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for point, tap in found.items():
        row = (point.multiplications, len(trusted_classes(tap)))
        lines.setdefault(point.series, []).append(row)
    return {series: sorted(rows) for series, rows in sorted(lines.items())}


def _judge(backend: str, runs: Sequence[Run], found: TapsByConfig) -> Verdict:
    if not found:
        return no_outputs(backend)
    if len(trusted_platforms(runs, found.values())) < 2:
        return Verdict(backend, INCONCLUSIVE, TOO_FEW)
    ends = [(rows[0][1], rows[-1][1]) for rows in _lines(found).values() if len(rows) > 1]
    if not ends:
        return Verdict(backend, INCONCLUSIVE, "it takes two numbers of multiplications")
    most = max(len(trusted_classes(tap)) for tap in found.values())
    if most == 1:
        return Verdict(
            backend, INCONCLUSIVE, "the platforms gave the same bits in every convolution"
        )
    rising = sum(last > first for first, last in ends)
    falling = sum(last < first for first, last in ends)
    reason = f"{rising} of {len(ends)} kinds of convolution gain classes, {falling} lose some"
    if not rising and not falling:
        reason = f"{most} classes at most, as many with the fewest as with the most"
    return Verdict(backend, HOLDS if rising and not falling else FAILS, reason)


def _panel(backend: str, found: TapsByConfig) -> LinePlot:
    kernels = sorted({point.kernel for point in found})
    filters = sorted({point.filters for point in found})
    series = tuple(
        Series(f"f={f}, k={k}", tuple(rows), hue=kernels.index(k), dash=filters.index(f))
        for (f, k), rows in _lines(found).items()
    )
    return LinePlot(backend, "multiplications", "classes", series, log_x=True)


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
    run=run_study,
)

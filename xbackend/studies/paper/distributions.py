"""Whether the distribution of weights or inputs matters: twelve combinations on one layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xbackend.comparison.compare import compare_runs
from xbackend.comparison.comparison import TapComparison
from xbackend.errors import UsageError
from xbackend.preparation.model import find_model
from xbackend.store.records import Run
from xbackend.store.store import Store
from xbackend.studies.configuration import ConfigKey, Configuration
from xbackend.studies.figure import Cell, Grid
from xbackend.studies.paper.convolutions import Convolution, write_model
from xbackend.studies.paper.exact_inference import read_layer
from xbackend.studies.paper.random_arrays import glorot, moments, normal, uniform
from xbackend.studies.study import (
    Record,
    Study,
    StudyContext,
    StudyResult,
    by_backend,
    platform_label,
    platform_labels,
)
from xbackend.studies.table import Table
from xbackend.studies.trust import (
    TOO_FEW,
    no_outputs,
    trusted_classes,
    trusted_platforms,
    untrusted_run_notes,
)
from xbackend.studies.verdict import FAILS, HOLDS, INCONCLUSIVE, Verdict

Array = np.ndarray[Any, Any]

WEIGHTS = ("trained", "no-bias", "glorot", "fitted")
"""As trained; without the bias; as Keras begins; nearly normal, with the trained ones' moments."""
INPUTS = ("real", "uniform", "normal")
"""What the layers before give for real samples; from 0 to 1; nearly normal, likewise."""

KEYS = (
    ConfigKey("model", "word", "a built-in name, or a file of it, whose layer is taken"),
    ConfigKey("layer", "word", "the ONNX value of a convolution"),
    ConfigKey("weights", "words", "distributions of weights", WEIGHTS),
    ConfigKey("inputs", "words", "distributions of inputs", INPUTS),
)

Pattern = tuple[int, ...]
"""The class of each run in each sample, numbered as they first appear."""


def run_study(task: StudyContext) -> StudyResult:
    """Run the layer with all combinations and compare which platforms are alike in each."""
    convolutions, inputs = combine(task.configuration)
    store = task.context.store
    runs = task.run_on(
        inputs, task.request(write_model(store, "distributions", convolutions, inputs))
    )
    names = [each.name for each in convolutions]
    backends = by_backend(runs)
    found = {word: _classify(store, of, names) for word, of in backends.items()}
    return StudyResult(
        records=tuple(
            row for word, of in backends.items() for row in _records(word, of, found[word])
        ),
        tables=tuple(_table(word, of, found[word]) for word, of in backends.items()),
        verdicts=tuple(_judge(word, of, found[word]) for word, of in backends.items()),
        plot="study",
        plot_data=tuple(_panel(word, of, found[word]) for word, of in backends.items() if of),
        notes=untrusted_run_notes(runs),
    )


def combine(configuration: Configuration) -> tuple[list[Convolution], dict[str, Array]]:
    """Return one convolution for each combination, and the inputs by their names."""
    model = find_model(configuration["model"])
    if model.samples is None or "onnx" not in model.files:
        raise UsageError(
            f"The model '{configuration['model']}' brings no samples, so no real inputs are known. "
            "Choose a built-in one: xbackend models"
        )
    samples = np.load(model.samples, allow_pickle=False)
    weights, bias, real = read_layer(model.files["onnx"], configuration["layer"], samples)
    made = {kind: _weights(kind, weights, bias) for kind in configuration["weights"]}
    convolutions = [
        Convolution(f"{kind}-{name}", name, *made[kind])
        for kind in made
        for name in configuration["inputs"]
    ]
    return convolutions, {name: _inputs(name, real) for name in configuration["inputs"]}


def _weights(kind: str, trained: Array, bias: Array) -> tuple[Array, Array | None]:
    """Return the weights of a distribution, of which only the trained ones have a bias."""
    if kind == "trained":
        return trained, bias
    if kind == "no-bias":
        return trained, None
    if kind == "glorot":
        return glorot("distributions/glorot", trained.shape), None
    return normal("distributions/fitted", trained.shape, *moments(trained)), None


def _inputs(name: str, real: Array) -> Array:
    if name == "real":
        return real
    if name == "uniform":
        return uniform("distributions/uniform", real.shape)
    return normal("distributions/normal", real.shape, *moments(real))


TapsByName = Mapping[str, Sequence[TapComparison]]
"""A combination to its tensor in each sample."""


def _classify(store: Store, runs: Sequence[Run], names: Sequence[str]) -> TapsByName:
    samples = compare_runs(store, runs).samples
    taps = [tap for sample in samples for tap in sample.taps]
    return {name: [tap for tap in taps if tap.tap == name] for name in names if taps}


def pattern(taps: Sequence[TapComparison], runs: Sequence[Run]) -> Pattern:
    """Return which runs are alike; a run that cannot be trusted is in class 0."""
    numbers = []
    for tap in taps:
        number = {name: at for at, ids in enumerate(trusted_classes(tap), 1) for name in ids}
        numbers += [number.get(run.id, 0) for run in runs]
    return tuple(numbers)


def _records(backend: str, runs: Sequence[Run], found: TapsByName) -> list[Record]:
    several = len({run.row["settings"].get("threads") for run in runs}) > 1
    return [
        {
            "backend": backend,
            "weights": name.rpartition("-")[0],
            "inputs": name.rpartition("-")[2],
            "sample": tap.input,
            "platform": platform_label(run, several),
            "class": number or None,
        }
        for name, taps in found.items()
        for tap in taps
        for run, number in zip(runs, pattern([tap], runs), strict=True)
    ]


def _cells(runs: Sequence[Run], taps: Sequence[TapComparison]) -> list[str]:
    """Return for each run its classes in all samples, one number where they are the same."""
    found = []
    for run in runs:
        numbers = [pattern([tap], [run])[0] for tap in taps]
        found.append("/".join(str(n or "?") for n in dict.fromkeys(numbers)))
    return found


def _table(backend: str, runs: Sequence[Run], found: TapsByName) -> Table:
    rows = tuple((*_named(name), *_cells(runs, taps)) for name, taps in found.items())
    title = f"{backend}: classes by weights and inputs"
    return Table(title, ("weights", "inputs", *platform_labels(runs)), rows, text_columns=2)


def _named(name: str) -> tuple[str, str]:
    weights, _, inputs = name.rpartition("-")
    return weights, inputs


def _judge(backend: str, runs: Sequence[Run], found: TapsByName) -> Verdict:
    if not found:
        return no_outputs(backend)
    everything = [tap for taps in found.values() for tap in taps]
    if len(trusted_platforms(runs, everything)) < 2:
        return Verdict(backend, INCONCLUSIVE, TOO_FEW)
    patterns = {pattern([tap], runs) for tap in everything}
    counts = sorted({len(trusted_classes(tap)) for tap in everything})
    if counts == [1]:
        return Verdict(
            backend, INCONCLUSIVE, "the platforms gave the same bits in every combination"
        )
    if len(patterns) == 1:
        reason = f"the same {counts[0]} classes in all {len(found)} combinations"
        return Verdict(backend, HOLDS, reason)
    return Verdict(backend, FAILS, f"{len(patterns)} ways to fall into {_range(counts)} classes")


def _range(counts: Sequence[int]) -> str:
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _panel(backend: str, runs: Sequence[Run], found: TapsByName) -> Grid:
    marks = tuple(
        tuple(Cell(text, int(text) - 1 if text.isdigit() else None) for text in _cells(runs, taps))
        for taps in found.values()
    )
    rows = tuple(f"weights {one}, inputs {two}" for one, two in map(_named, found))
    return Grid(f"{backend}: classes", "", tuple(platform_labels(runs)), rows, marks)


STUDY = Study(
    name="distributions",
    text="one layer, twelve combinations of weights and inputs",
    source="section 3.5",
    claim="the distribution of weights and inputs does not matter for which platforms are alike",
    criterion=(
        "Holds if the platforms fall into the same classes in every combination and every sample, "
        "and into more than one."
    ),
    own_keys=KEYS,
    run=run_study,
)

"""What activations and pooling do to deviations: the paper's SUP-8 and SUP-9."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from xbackend.comparison.activations import ActivationComparison, activation_totals, activations
from xbackend.comparison.compare import compare_runs
from xbackend.store.records import Run
from xbackend.store.store import Store
from xbackend.studies.configuration import ConfigKey
from xbackend.studies.figure import LinePlot, Series
from xbackend.studies.study import Record, Study, StudyContext, StudyResult, by_backend
from xbackend.studies.table import Table
from xbackend.studies.trust import no_outputs, tap_notes, untrusted_run_notes
from xbackend.studies.verdict import FAILS, HOLDS, INCONCLUSIVE, Verdict

KEYS = (ConfigKey("models", "words", "built-in names or files, as for 'xbackend run'"),)

MIXING = frozenset(("Softmax", "LogSoftmax"))
"""Activations that add up values, and are no layers between others in the paper's networks."""

Passages = Sequence[ActivationComparison]


@dataclass(frozen=True)
class Shares:
    """Deviating values before and after the layers of one operator, averaged."""

    before: float
    after: float


def run_study(task: StudyContext) -> StudyResult:
    """Run models on all platforms with all layers recorded."""
    runs: list[Run] = []
    found: dict[str, dict[str, Passages]] = {word: {} for word in task.configuration["backends"]}
    for model in task.configuration["models"]:
        made = task.run(task.request(model, taps="layers"))
        runs += made
        for word, of in by_backend(made).items():
            found[word][model] = _passages(task.context.store, of)
    backends = by_backend(runs)
    return StudyResult(
        records=tuple(
            record
            for word, models in found.items()
            for model, passages in models.items()
            for record in _records(word, model, passages)
        ),
        tables=tuple(_table(word, models) for word, models in found.items()),
        verdicts=tuple(_judge(word, backends.get(word, []), found[word]) for word in found),
        plot="study",
        plot_data=tuple(_panels(found)),
        notes=(*untrusted_run_notes(runs), *tap_notes(runs)),
    )


def _passages(store: Store, runs: Sequence[Run]) -> Passages:
    """Return what layers do between the runs that an emulator has no part in, if two are left.

    Otherwise between all runs, without the layers that it has a part in.
    """
    sure = [run for run in runs if not run.emulation_unsafe]
    compared = compare_runs(store, sure if len(sure) > 1 else runs)
    return [
        passage
        for passage in activations(compared)
        if passage.tap.operator not in MIXING and not _in_doubt(passage)
    ]


def _in_doubt(passage: ActivationComparison) -> bool:
    return bool(set(passage.tap.emulation_unsafe) & set(passage.runs))


def _records(backend: str, model: str, passages: Passages) -> list[Record]:
    keys = (
        *("input", "layer", "operator", "kind", "tap_before", "tap_after"),
        *("deviating_fraction_before", "deviating_fraction_after"),
        *("remaining_precision_before", "remaining_precision_after", "change"),
    )
    documents = [passage.to_dict() for passage in passages]
    return [
        {"backend": backend, "model": model, **{key: each[key] for key in keys}}
        for each in documents
    ]


def shares(passages: Iterable[ActivationComparison]) -> dict[str, Shares]:
    """Return for each operator what deviates before and after, over layers that have any."""
    found: dict[str, list[tuple[float, float]]] = {}
    for passage in passages:
        before, after = _share(passage)
        if passage.deviates and before is not None and after is not None:
            found.setdefault(str(passage.tap.operator), []).append((before, after))
    return {
        operator: Shares(*(sum(side) / len(rows) for side in zip(*rows, strict=True)))
        for operator, rows in found.items()
    }


def _share(passage: ActivationComparison) -> tuple[float | None, float | None]:
    if passage.before is None or passage.after is None:
        return None, None
    return passage.before.metrics.deviating_fraction, passage.after.metrics.deviating_fraction


def _table(backend: str, models: Mapping[str, Passages]) -> Table:
    rows: list[tuple[str, ...]] = []
    for model, passages in models.items():
        known = shares(passages)
        for total in activation_totals(passages):
            changes = [f"{n:.3g}" for n in (total.increases, total.keeps, total.decreases)]
            share = known.get(total.operator)
            sides = ("–", "–") if share is None else map(_percent, (share.before, share.after))
            rows.append((model, total.operator, str(total.layers), *changes, *sides))
    headers = ("model", "operator", "layers", "more bits", "as many", "fewer", "before", "after")
    title = f"{backend}: bits that agree, and values that deviate, before and after"
    return Table(title, headers, tuple(rows), text_columns=2)


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _judge(backend: str, runs: Sequence[Run], models: Mapping[str, Passages]) -> Verdict:
    if not runs:
        return no_outputs(backend)
    if len({run.row["platform"] for run in runs}) < 2:
        return Verdict(backend, INCONCLUSIVE, "it takes two platforms")
    everything = [passage for passages in models.values() for passage in passages]
    known = shares(each for each in everything if each.tap.kind == "activation")
    if not known:
        return Verdict(backend, INCONCLUSIVE, "nothing that counts deviates before or after one")
    shown = ", ".join(
        f"{operator} {_percent(share.before)} to {_percent(share.after)}"
        for operator, share in known.items()
    )
    fewer = all(share.after < share.before for share in known.values())
    return Verdict(backend, HOLDS if fewer else FAILS, shown)


def _panels(found: Mapping[str, Mapping[str, Passages]]) -> Iterable[LinePlot]:
    """Yield a panel for each backend: deviating values before and after, layer by layer."""
    for backend, models in found.items():
        series = []
        for hue, (model, passages) in enumerate(models.items()):
            first = [p for p in passages if p.tap.input == passages[0].tap.input]
            for dash, (when, side) in enumerate((("before", 0), ("after", 1))):
                values = [(float(at), _share(p)[side]) for at, p in enumerate(first, 1)]
                points = tuple((at, 100 * value) for at, value in values if value is not None)
                series.append(Series(f"{model}, {when}", points, hue=hue, dash=dash))
        if any(each.points for each in series):
            title = f"{backend}: values that deviate, first sample"
            across = "activation or pooling layer"
            yield LinePlot(title, across, "%", tuple(series), no_jitter=True)


STUDY = Study(
    name="activations",
    text="values that deviate before and after activations and pooling",
    source="SUP-8, SUP-9",
    claim="fewer values deviate after activations than before them",
    criterion=(
        "Holds if that is so of every kind of activation, on average over its layers and samples "
        "with a deviation. Softmax, which adds up values, is left out; pooling is in the table."
    ),
    own_keys=KEYS,
    run=run_study,
)

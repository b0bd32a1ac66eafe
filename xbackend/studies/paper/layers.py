"""Where deviations begin, layer by layer: the paper's Figure 5."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from xbackend.comparison.compare import compare_runs
from xbackend.comparison.layers import TapSummary, summarise_taps
from xbackend.store.records import Run
from xbackend.studies.configuration import ConfigKey
from xbackend.studies.figure import LinePlot, Series
from xbackend.studies.study import Record, Study, StudyContext, StudyResult, by_backend
from xbackend.studies.table import Table
from xbackend.studies.trust import no_outputs, tap_notes, untrusted_run_notes
from xbackend.studies.verdict import FAILS, HOLDS, INCONCLUSIVE, Verdict

KEYS = (ConfigKey("model", "word", "a built-in name or a file, as for 'xbackend run'"),)

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators that add up products: convolutions and dense layers."""

Taps = Sequence[TapSummary]


def run_study(task: StudyContext) -> StudyResult:
    """Run a model on all platforms with all layers recorded."""
    runs = task.run(task.request(task.configuration["model"], taps="layers"))
    backends = by_backend(runs)
    found = {
        word: summarise_taps(compare_runs(task.context.store, of).samples)
        for word, of in backends.items()
    }
    return StudyResult(
        records=tuple(record for word, taps in found.items() for record in _records(word, taps)),
        tables=tuple(_table(word, taps) for word, taps in found.items()),
        verdicts=tuple(_judge(word, backends[word], taps) for word, taps in found.items()),
        plot="study",
        plot_data=tuple(_panel(word, taps) for word, taps in found.items() if taps),
        notes=(*untrusted_run_notes(runs), *tap_notes(runs)),
    )


def _records(backend: str, taps: Taps) -> list[Record]:
    return [
        {
            "backend": backend,
            "layer": tap.layer,
            "tap": tap.tap,
            "operator": tap.operator,
            "kind": tap.kind,
            "classes": tap.eqc_count,
            "born": tap.origin.born,
            "born_by_emulation": tap.origin.born_by_emulation,
            "collapsed": tap.origin.collapsed,
            "bits": tap.metrics.remaining_precision,
            "deviating": tap.metrics.deviating_fraction,
            "in_doubt": bool(tap.emulation_unsafe),
        }
        for tap in taps
    ]


def _sure(tap: TapSummary) -> int:
    """Return how many classes a layer bears for which no emulator can be blamed."""
    return (tap.origin.born or 0) - tap.origin.born_by_emulation


def _table(backend: str, taps: Taps) -> Table:
    """Return a row for each operator: in how many layers classes are born and collapse."""
    operators = dict.fromkeys(str(tap.operator) for tap in taps if tap.operator)
    rows = []
    for operator in operators:
        of = [tap for tap in taps if tap.operator == operator]
        kept = [tap.metrics.remaining_precision for tap in of]
        known = [bits for bits in kept if bits is not None]
        rows.append(
            (
                operator,
                str(len(of)),
                str(sum(_sure(tap) > 0 for tap in of)),
                str(sum((tap.origin.collapsed or 0) > 0 for tap in of)),
                str(max(tap.eqc_count for tap in of)),
                str(min(known)) if known else "–",
            )
        )
    headers = ("operator", "layers", "bear classes", "join classes", "most classes", "fewest bits")
    return Table(f"{backend}: what layers do to classes", headers, tuple(rows))


def _judge(backend: str, runs: Sequence[Run], taps: Taps) -> Verdict:
    if not runs:
        return no_outputs(backend)
    if len({run.row["platform"] for run in runs}) < 2:
        return Verdict(backend, INCONCLUSIVE, "it takes two platforms")
    bearing = Counter(str(tap.operator) for tap in taps if _sure(tap) > 0)
    if not bearing:
        return Verdict(backend, INCONCLUSIVE, "no recorded layer bears a class")
    shown = ", ".join(f"{count} {operator}" for operator, count in bearing.most_common())
    reason = f"classes are born in {shown} of {len(taps)} layers"
    return Verdict(backend, HOLDS if set(bearing) <= set(PRODUCTS) else FAILS, reason)


def _panel(backend: str, taps: Taps) -> LinePlot:
    numbered = list(enumerate(taps, 1))
    classes = tuple((float(at), float(tap.eqc_count)) for at, tap in numbered)
    kept = tuple(
        (float(at), float(tap.metrics.remaining_precision))
        for at, tap in numbered
        if tap.metrics.remaining_precision is not None
    )
    lines = (Series("classes", classes), Series("bits that agree", kept, hue=1))
    return LinePlot(f"{backend}, layer by layer", "layer", "", lines, no_jitter=True)


STUDY = Study(
    name="layers",
    text="a network layer by layer: where classes are born, what agrees",
    source="Figure 5",
    claim="deviations begin in convolutions and dense layers",
    criterion=(
        "Holds if every layer that gives other bits from inputs with the same bits, where no "
        "emulator can be blamed, adds up products: Conv, ConvTranspose, Gemm or MatMul."
    ),
    own_keys=KEYS,
    run=run_study,
)

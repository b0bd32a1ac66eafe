"""Turns facts into words, for every format: the only place where reports say what was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xbackend.comparison.findings import LayerVerdict, ReferenceComparisonRow, TensorPair
from xbackend.facts.accuracy import AccuracyFacts, LayerLoss
from xbackend.facts.changes import ChangeFacts, LayerCount
from xbackend.facts.cohorts import CohortFacts, FirstDifference, RandomRun, TensorPlace
from xbackend.facts.isolated import IsolationFacts
from xbackend.facts.outcome import Outcome, RunCounts
from xbackend.preparation.saturation import SaturationReach

from .formatting import DAGGER, format_number, pluralize, printable

NOTHING_COMPARED = {
    Outcome.NO_RUN: "No run gave an output: there is nothing to compare.",
    Outcome.ONE_RUN: "One run alone: there is nothing to compare it with.",
    Outcome.NOTHING_SHARED: "No two runs computed the same output of the same sample: there is "
    "nothing to compare.",
}
"""Sentences where no run was held against another."""
MOST_LAYERS = 6
"""So many layers are named in a sentence on classes."""
MOST_TAPS = 3
"""So many in one that goes on after them."""
BORN_MEANS = (
    "Only layers whose inputs have the same bits in two runs can be seen to bear a class; what "
    "others add to a difference that they inherit, 'xbackend compare --isolate' tells."
)


def verdict(facts: CohortFacts) -> str:
    """Return one sentence that says whether the runs of a cohort agree, and where they part."""
    if facts.outcome in NOTHING_COMPARED:
        return NOTHING_COMPARED[facts.outcome]
    if facts.outcome is Outcome.SAME_BITS:
        return _agreement(facts)
    count = pluralize(facts.classes, "class")
    parts = [f"Outputs fall into {count}{_gaps(facts)}", _first(facts), *distances(facts)]
    return "; ".join([*parts, *_labels(facts)]) + "."


def answer(facts: CohortFacts) -> str:
    """Return the verdict in a few words, for the end of `run`."""
    if facts.outcome in NOTHING_COMPARED:
        return NOTHING_COMPARED[facts.outcome]
    runs = pluralize(facts.runs, "run")
    if facts.outcome is Outcome.SAME_BITS:
        return f"The same bits in {runs}{_gaps(facts)}."
    parts = [f"Other bits: {pluralize(facts.classes, 'class')} in {runs}{_gaps(facts)}"]
    return "; ".join([*parts, *distances(facts), *_labels(facts)]) + "."


def counts_sentence(counts: RunCounts) -> str:
    """Return how many runs gave nothing to compare; empty if all did."""
    ended = [("failed", counts.failed), ("was skipped", counts.skipped)]
    parts = [f"{number} {what}" for what, number in ended if number]
    if len(parts) and counts.skipped != 1:
        parts[-1] = parts[-1].replace("was skipped", "were skipped")
    return f"Of {pluralize(counts.total, 'run')} {' and '.join(parts)}." if parts else ""


def _gaps(facts: CohortFacts) -> str:
    """Return that runs lack outputs, which sets nobody apart."""
    if not facts.gaps:
        return ""
    lack = "lacks" if len(facts.gaps) == 1 else "lack"
    return f" by what two runs share ({pluralize(len(facts.gaps), 'run')} {lack} an output)"


def _agreement(facts: CohortFacts) -> str:
    sentence = f"All {facts.runs} runs give the same bits{_gaps(facts)}"
    if facts.first is not None:
        return f"{sentence}, although a layer differs: {name_place(facts.first.place)}."
    return f"{sentence}, in every layer they share too." if facts.shared_layers else f"{sentence}."


def _first(facts: CohortFacts) -> str:
    first = facts.first
    if first is None:
        return "where they part is not known"
    where = f"first difference at {name_place(first.place)}"
    if not first.is_output:
        return f"{where}{_unseen(first)}"
    if first.place.layer is not None and not first.before:
        return f"{where}, before which the model has no layer"
    unknown = first.place.layer is None and facts.inner_layers and not facts.shared_layers
    if unknown or (first.before and not first.shared_before):
        return "no two runs recorded the same layer"
    return f"{where}{_unseen(first)}"


def _unseen(first: FirstDifference) -> str:
    if not first.unseen_before:
        return ""
    return f", behind {pluralize(first.unseen_before, 'layer')} that not all runs recorded"


def distances(facts: CohortFacts) -> list[str]:
    """Return how far apart the outputs are: those that cannot be compared, floats, integers."""
    found = []
    if facts.incomparable:
        found.append("their dtypes or shapes differ")
    if facts.fewest_bits is not None:
        bits = facts.fewest_bits
        found.append(f"at least {bits.bits} of {bits.of} mantissa bits agree")
    if facts.farthest_integers is not None:
        steps = format_number(facts.farthest_integers.steps)
        found.append(f"integers are up to {steps} apart")
    return found


def _labels(facts: CohortFacts) -> list[str]:
    if not facts.has_labels:
        return []
    if not facts.flipped:
        return ["no label flips"]
    return [f"labels flip in {pluralize(len(facts.flipped), 'run')}"]


def name_place(place: TensorPlace | LayerVerdict | LayerLoss) -> str:
    """Return where a tensor is in the graph: `layer 3 (Conv, tap 'conv1')`."""
    name = printable(place.tap)
    if place.layer is None:
        return f"tap '{name}'"
    return f"layer {place.layer} ({printable(place.operator)}, tap '{name}')"


def cohort_notes(facts: CohortFacts) -> list[str]:
    """Return what counts say must be known before a cohort's tables are trusted."""
    found = []
    if facts.not_finite:
        elements = pluralize(facts.not_finite, "element")
        found.append(f"NaN or infinity stands against another number at {elements} of the outputs.")
    if facts.partly_recorded:
        found.append(_partly_recorded(facts.partly_recorded, facts.partly_differing))
    if facts.unmeasured:
        found.append(
            f"Of {pluralize(facts.unmeasured, 'layer')} in several classes the store does not keep "
            "the bytes, so how far apart they are is not known."
        )
    found += [
        f"{printable(each.backend)}.{printable(each.setting)} came to "
        f"{printable(each.value)} in {pluralize(len(each.runs), 'run')}: {printable(each.reason)}."
        for each in facts.substitutions
    ]
    found += [
        f"In {printable(each.taps[0])}{_and_more(each.taps)} of {each.backend}'s layers two "
        "products can be too much for the 16 bits in which some processors add them, which may be "
        "why; see 'xbackend saturation'."
        for each in facts.exposures
    ]
    return found


def random_text(found: RandomRun) -> str:
    """Return that a run is not the same twice, as what goes on after its name."""
    cure = "Dropout is off in eval mode; noise must be an input to be the same everywhere."
    if found.told:
        return f"draws random numbers, so its bits are those of one seed. {cure}"
    why = ", or its threads race" if found.may_race else ""
    return (
        f"draws random numbers{why}: not deterministic between two inferences of one session, so "
        f"its layers are those of another draw. {cure}"
    )


def _partly_recorded(count: int, differing: int) -> str:
    """Return how many layers some runs lack, and how many of these tables show as they differ."""
    head = f"{pluralize(count, 'layer')} {'was' if count == 1 else 'were'} not recorded by all runs"
    if not differing:
        return f"{head}; between the runs that have them none of these differs."
    shown = "" if differing == count else f", of which {differing} differ{'s'[: differing == 1]}"
    return (
        f"{head}{shown}: classes of a layer are those of the runs that have it, as the column "
        "'runs' counts."
    )


def saturation_sentence(reach: SaturationReach) -> str:
    """Return in which layers inputs overflow, in which they do not, and of which nobody knows."""
    names = ", ".join(map(printable, reach.unknown))
    said = f"Of {names} it is not known, as what they read was not recorded."
    unknown = [said] if reach.unknown else []
    if reach.over:
        over = ", ".join(map(printable, reach.over))
        return " ".join([f"These inputs overflow in {over}.", *unknown])
    if reach.clear:
        which = "none of the others" if reach.unknown else "none of them"
        return " ".join([f"These inputs overflow in {which}; others may.", *unknown])
    return " ".join(unknown)


def pair_sentence(pair: TensorPair) -> str:
    """Return everything that is measured of two classes of a tensor."""
    one, other = pair.classes
    head = f"{printable(pair.tap)}, input {printable(pair.input)}, class {one} against {other}"
    found = pair.metrics
    if found is None:
        return f"{head}: their dtypes or shapes differ."
    shares = ", ".join(
        f"{float(share):.0%} {format_number(ulp)}" for share, ulp in found.ulp_quantiles.items()
    )
    numbers = {
        "mean error": found.mean_error, "rms error": found.rms_error, "relative": found.relative,
        "SNR in dB": found.snr_db, "cosine": found.cosine,
    }  # fmt: skip
    parts = [f"{name} {format_number(value)}" for name, value in numbers.items()]
    parts.append(f"ulp of elements: {shares}")
    if found.not_finite:
        parts.append(f"{pluralize(found.not_finite, 'element')} left out as not finite")
    parts += [
        f"farthest at {list(each.index)}: {each.text[0]} and {each.text[1]} "
        f"({format_number(each.ulp)} ulp)"
        for each in found.worst_abs[:1]
    ]
    return f"{head}: {'; '.join(parts)}."


def _and_more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if names[1:] else ""


def change_sentences(facts: ChangeFacts) -> list[str]:
    """Return where classes are born and where they collapse."""
    if facts.outcome in NOTHING_COMPARED:
        return [NOTHING_COMPARED[facts.outcome]]
    found = [
        f"Classes are born at {_counted(facts.born)}."
        if facts.born
        else "No layer is known to bear a class.",
        f"Classes collapse at {_counted(facts.joined)}."
        if facts.joined
        else "No layer is known to join classes.",
    ]
    if facts.unknown:
        found.append(f"Of {pluralize(facts.unknown, 'layer')} neither is known.")
    if facts.own_elsewhere:
        names = quoted(facts.own_elsewhere)
        found.append(f"Isolation finds an error of their own in others, too: {names}.")
    return [*found, BORN_MEANS] if facts.born or facts.own_elsewhere else found


def _counted(layers: Sequence[LayerCount]) -> str:
    shown = [
        f"{printable(each.tap)} ({printable(each.operator or '–')}, {each.count})"
        for each in layers[:MOST_LAYERS]
    ]
    more = len(layers) - MOST_LAYERS
    text = ", ".join(shown) + (f" and {more} more" if more > 0 else "")
    return f"{pluralize(len(layers), 'layer')}: {text}"


def quoted(names: Sequence[str]) -> str:
    """Return the first of some names of tensors, and how many more there are."""
    shown = ", ".join(f"'{printable(name)}'" for name in names[:MOST_TAPS])
    more = len(names) - MOST_TAPS
    return f"{shown} and {more} more" if more > 0 else shown


def isolation_verdict(facts: IsolationFacts, cure: str) -> list[str]:
    """Return which layer is the first with an error of its own, and what is not known.

    `cure` are the options that keep frameworks from fusing layers, empty if there are none.
    """
    found = [_first_own(facts)]
    if facts.unknown:
        reasons = ", or ".join(dict.fromkeys(each.reason for each in facts.unknown))
        names = quoted([each.tap for each in facts.unknown])
        what = f"{pluralize(len(facts.unknown), 'layer')} cannot be isolated, {names}"
        tail = f" Cure: run both with {cure}." if cure else ""
        found.append(f"{what}: {printable(reasons)}.{tail}")
    if facts.by_emulation:
        names = quoted([each.tap for each in facts.by_emulation])
        found.append(f"{DAGGER} an emulator computes {names} unlike a real processor: no finding.")
    return found


def _first_own(facts: IsolationFacts) -> str:
    total, rest = pluralize(facts.layers, "layer"), _inheriting(facts)
    if len(facts.own) == 1:
        return f"Of {total}, {name_place(facts.own[0])} alone has an error of its own; {rest}."
    if facts.own:
        return (
            f"The first layer whose own arithmetic differs is {name_place(facts.own[0])}; "
            f"{len(facts.own)} of {total} have an error of their own, {rest}."
        )
    if facts.unknown:
        return f"Of {total}, none that can be isolated has an error of its own; {rest}."
    if facts.by_emulation:
        return f"Of {total}, none has an error of its own; {rest}."
    if facts.inherited:
        return f"Of {total}, none has an error of its own; {rest}, from the inputs."
    return f"No layer of {facts.layers} deviates: there is nothing to isolate."


def _inheriting(facts: IsolationFacts) -> str:
    count = len(facts.inherited)
    return f"{pluralize(count, 'other')} only {'inherits' if count == 1 else 'inherit'} one"


Namer = Callable[[ReferenceComparisonRow], str]
"""What a row of runs is called."""


def nearest_sentence(rows: Sequence[AccuracyFacts], name: Namer) -> str:
    """Return who is nearest to float64 and who farthest, where that is known."""
    first, last = rows[0].row, rows[-1].row
    if len(rows) == 1:
        return f"{name(first)}, compared with float64 at the outputs: {_distance(first)}."
    if first.output.relative is None:
        return "No run's outputs are a finite distance from float64."
    if first.output.relative == last.output.relative:
        relative = format_number(first.output.relative)
        return f"All are equally near to float64 at the outputs: relative error {relative}."
    return (
        f"Nearest to float64 at the outputs is {name(first)} ({_distance(first)}), farthest "
        f"{name(last)} ({_distance(last)})."
    )


def _distance(row: ReferenceComparisonRow) -> str:
    if row.output.relative is None:
        return f"no finite relative error, {row.output.correct_bits} correct bits"
    relative = format_number(row.output.relative)
    return f"relative error {relative}, {row.output.correct_bits} correct bits"


def loss_sentences(rows: Sequence[AccuracyFacts], name: Namer) -> list[str]:
    """Return where numbers leave their format, then where the most accuracy of others is lost."""
    shown = [rows[0], *rows[1:][-1:]]
    found = [
        f"By {name(each.row)} numbers overflow, or become NaN, at "
        f"{_places(each.overflows)}, where float64 does not: no accuracy is left there."
        for each in rows
        if each.overflows
    ]
    lost = dict.fromkeys(
        f"by {name(each.row)} at {name_place(each.lost)}: {each.lost.bits:.1f} bits"
        for each in shown
        if each.lost is not None and each.lost.bits is not None
    )
    if not lost:
        return found
    most = "Of the finite layers most" if any(each.overtaken for each in shown) else "Most"
    return [*found, f"{most} accuracy is lost {'; '.join(lost)}."]


def _places(layers: Sequence[LayerLoss]) -> str:
    shown = ", ".join(name_place(each) for each in layers[:MOST_TAPS])
    more = len(layers) - MOST_TAPS
    return f"{shown} and {more} more" if more > 0 else shown


def strange_sentence(row: ReferenceComparisonRow, name: Namer) -> str:
    """Return which tensors of a run are not those of the reference at all."""
    return (
        f"Note: {name(row)}: {quoted(row.strange)} hold other numbers than the reference "
        "altogether, which is no loss of accuracy but another tensor."
    )

"""What the export of a model changed, in words: source against graph in one framework."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.export import (
    CLOSE,
    OTHER,
    RANDOM,
    SAME,
    STEP,
    ExportJudgement,
    TensorDifference,
    export_judgements,
    is_random,
)
from xbackend.comparison.summary import Summary
from xbackend.store.records import Run

from .wording.formatting import format_number, pluralize, printable

FEW_NAMES = 3

NOTHING = "No export is judged: no run of a model's source stands beside one of its exported graph."

PROGRAM_EXPORTER = "dynamo"
"""The exporter of PyTorch programs: what its source rows run is the program."""

PICKING = frozenset({"ArgMax", "ArgMin", "TopK"})
"""Operators that name elements, of which several may be equal."""


def render(comparison: Comparison) -> str:
    """Write the sentences about all exports of a comparison."""
    found = (text for each in export_judgements(comparison) for text in judgement_sentences(each))
    return "\n".join(dict.fromkeys(found)) or NOTHING


def export_sentences(comparison: Comparison, summary: Summary) -> list[str]:
    """Return what is known of the export in one cohort, each sentence once."""
    judged = export_judgements(comparison, summary.cohort)
    texts = [text for each in judged for text in judgement_sentences(each)]
    return list(dict.fromkeys([*texts, *exporter_sentences(summary.cohort.runs)]))


def judgement_sentences(judged: ExportJudgement) -> list[str]:
    """Return the verdict on an export, and what several samples would show that one does not."""
    sentences = {SAME: _same, CLOSE: _close, STEP: _step, OTHER: _other, RANDOM: _random}
    found = [sentences[judged.verdict](judged)]
    if judged.distinct_inputs == 1 and judged.verdict not in (OTHER, RANDOM):
        found.append(
            "All samples are one: a branch that the exporter made constant is found by several "
            "samples that take different branches; give them with --inputs."
        )
    return found


def _title(judged: ExportJudgement) -> str:
    """Return what was run as the source: a program is run, not the module that it was made of."""
    export = judged.source.row.get("export") or {}
    if export.get("exporter") == PROGRAM_EXPORTER:
        title = "the torch.export program of your module"
    else:
        title = f"your {judged.title}"
    return f"{title} (in {judged.source.row['backend']})"


def _same(judged: ExportJudgement) -> str:
    count = pluralize(judged.inputs, "input")
    return f"The exported model gives the same bits as {_title(judged)} on {count}."


def _close(judged: ExportJudgement) -> str:
    if judged.output is None:
        return (
            f"The exported model gives the same output bits as {_title(judged)}, but layers differ "
            f"a little, first at {_node(judged.first)}."
        )
    return (
        f"The exported model's outputs are not the bits of {_title(judged)}: "
        f"{_how_far(judged.output)}, first at {_node(judged.first)}. So little may be rounding: "
        "that the certificates of layers tell ('xbackend compare --certify')."
    )


def _step(judged: ExportJudgement) -> str:
    return (
        f"The exported model is far from {_title(judged)} from {_node(judged.first)} on: "
        f"{_how_far(judged.first)}{_sample(judged)}. Its input differs a little before that, and "
        "there a little is enough, so whether it is another function is not known."
    )


def _random(judged: ExportJudgement) -> str:
    side = judged.source if is_random(judged.source) else judged.graph
    who = _title(judged) if side is judged.source else "the exported model"
    return f"Whether the export is right cannot be told, as {who} draws random numbers."


def _other(judged: ExportJudgement) -> str:
    count = f"{judged.inputs_with_verdict} of {pluralize(judged.inputs, 'input')}"
    return (
        f"The exported model is another function than {_title(judged)}: first at "
        f"{_node(judged.first)}, {_how_far(judged.first)}{_sample(judged)}; so it is on {count}."
        f"{_ties(judged.first)}"
    )


def wrong_export_text(judged: ExportJudgement) -> str:
    """Return the same as what goes on after a colon."""
    text = _other(judged)
    return text[0].lower() + text[1:]


def _ties(difference: TensorDifference | None) -> str:
    if difference is None or difference.operator not in PICKING:
        return ""
    return (
        " Where values tie, ONNX takes the first of them and another framework may take any, so "
        "look whether the values picked are equal."
    )


def _sample(judged: ExportJudgement) -> str:
    if judged.first is None or judged.inputs == 1:
        return ""
    return f" on input {printable(judged.first.input)}"


def _node(difference: TensorDifference | None) -> str:
    """Return where a tensor is in the graph, such as `node 2 (Floor, 'floor_divide')`."""
    if difference is None:
        return "a place that is not known"
    name = printable(difference.tap)
    if difference.layer is None:
        return f"'{name}'"
    return f"node {difference.layer} ({printable(difference.operator)}, '{name}')"


def _how_far(difference: TensorDifference | None) -> str:
    """Return how many elements differ and by how much.

    `6 of 8 values differ by 1`.
    """
    if difference is None:
        return "no output differs"
    count = f"{difference.deviating} of {difference.elements} values"
    if not difference.deviating:
        return "all values are equal, but not their bits (zeros of the other sign)"
    if difference.largest is None or difference.least is None:
        return f"{count} differ, by no finite number"
    verb = "differs" if difference.deviating == 1 else "differ"
    if difference.least == difference.largest:
        return f"{count} {verb} by {format_number(difference.largest)}"
    share = difference.relative
    return f"{count} {verb} by up to {format_number(difference.largest)}{_share(share)}"


def _share(share: float | None) -> str:
    """Return a distance as a share of the largest value.

    >>> _share(0.0213), _share(1.64), _share(None)
    (' (2.1 % of the largest value)', ' (1.6 times the largest value)', '')
    """
    if share is None:
        return ""
    shown = f"{100 * share:.2g} % of" if share < 1 else f"{share:.2g} times"
    return f" ({shown} the largest value)"


def exporter_sentences(runs: Sequence[Run]) -> list[str]:
    """Return what the exporter warned of, and which layers of the graph a source does not show."""
    told = [run.row.get("export") or {} for run in runs]
    found = [f"The exporter warned: {text}" for each in told for text in each.get("warnings", ())]
    if any(each.get("train_mode") and each.get("exporter") == "trace" for each in told):
        found.append("The module was handed over in train mode; its eval mode was run.")
    if any(each.get("train_mode") and each.get("exporter") != "trace" for each in told):
        found.append(
            "The program was exported in train mode: its dropout draws random numbers and its "
            "normalisation takes each batch's own statistics. Call eval() before exporting it."
        )
    found += [_unmatched(run) for run in runs if (run.row.get("export") or {}).get("unmatched")]
    found += [text for run in runs for text in _predicted(run)]
    return [printable(text) for text in found]


def _unmatched(run: Run) -> str:
    export = run.row["export"]
    missing: Sequence[str] = export["unmatched"]
    shown = _few(missing)
    return (
        f"Of the graph's {export['matched'] + len(missing)} values {export['matched']} are "
        f"compared with a tensor of the {run.row['backend']} source; not: {shown}."
    )


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - FEW_NAMES
    return ", ".join(listed[:FEW_NAMES]) + (f" and {more} more" if more > 0 else "")


def _predicted(run: Run) -> list[str]:
    """Return a sentence where Keras's `predict` gives other bits than calling the model."""
    told = (run.row.get("facts") or {}).get("predict") or {}
    if not told.get("other_bits"):
        return []
    text = (
        f"model.predict gives other bits than calling the model on {told['other_bits']} of "
        f"{pluralize(told['samples'], 'input')}; the row is the call, tf.mode=function is nearer "
        "to predict."
    )
    return [text]

"""Whether a compiler is behind the deviations: with XLA and without it."""

from __future__ import annotations

from collections.abc import Sequence

from xbackend.errors import UsageError
from xbackend.store.records import Run
from xbackend.studies.configuration import ConfigKey, Configuration
from xbackend.studies.setting_runs import (
    SettingRuns,
    panel,
    records,
    run_settings,
    select_backend,
    table,
)
from xbackend.studies.study import Study, StudyContext, StudyResult
from xbackend.studies.trust import no_outputs, proven_output_classes, untrusted_run_notes
from xbackend.studies.verdict import FAILS, HOLDS, INCONCLUSIVE, Verdict

KEYS = (
    ConfigKey("model", "word", "a built-in name or a file, as for 'xbackend run'"),
    ConfigKey("taps", "word", "layers before the output that prove what an emulated output cannot"),
    ConfigKey(
        "variants", "words", "settings to compare; the first of each backend compiles nothing"
    ),
)


def run_study(task: StudyContext) -> StudyResult:
    """Run a model with each setting on all platforms."""
    chosen = task.configuration
    _check_variants(chosen)
    variants = run_settings(task, chosen["variants"], chosen["platforms"])
    backends = {word: select_backend(variants, word) for word in chosen["backends"]}
    drawn = [(word, of) for word, of in backends.items() if any(each.runs for each in of)]
    return StudyResult(
        records=tuple(record for of in backends.values() for record in records(of)),
        tables=tuple(table(word, of) for word, of in backends.items()),
        verdicts=tuple(_judge(word, of) for word, of in backends.items()),
        plot="study",
        plot_data=tuple(panel(word, of) for word, of in drawn),
        notes=untrusted_run_notes(task.runs),
    )


def _check_variants(configuration: Configuration) -> None:
    """Raise UsageError for a backend that has no two settings to compare."""
    words = [text.partition(".")[0] for text in configuration["variants"]]
    for word in configuration["backends"]:
        if words.count(word) < 2:
            raise UsageError(
                f"The study has no two settings of '{word}' to compare. Add some to 'variants', "
                f"such as {word}.KEY=VALUE, in a file given with --config."
            )


def _judge(backend: str, variants: Sequence[SettingRuns]) -> Verdict:
    plain, *compiled = variants
    if not plain.runs:
        return no_outputs(backend)
    said = _changes(variants)
    if len({run.row["platform"] for run in plain.runs}) < 2:
        return Verdict(backend, INCONCLUSIVE, f"one platform; {said}")
    count = len(proven_output_classes(plain.runs))
    if count > 1:
        return Verdict(backend, HOLDS, f"{count} classes with {plain.setting}; {said}")
    if any(len(proven_output_classes(each.runs)) > 1 for each in compiled if each.runs):
        return Verdict(backend, FAILS, f"no deviation that counts with {plain.setting}; {said}")
    return Verdict(backend, INCONCLUSIVE, f"no deviation that counts between the platforms; {said}")


def _changes(variants: Sequence[SettingRuns]) -> str:
    """Return what the settings after the first do to the bits on each platform."""
    plain, *others = variants
    parts = []
    for each in others:
        pairs = [(one, two) for one in plain.runs for two in each.runs if _alike(one, two)]
        changed = sum(len(proven_output_classes(pair)) > 1 for pair in pairs)
        parts.append(f"{each.setting} changes bits on {changed} of {len(pairs)}")
    return ", ".join(parts)


def _alike(one: Run, two: Run) -> bool:
    """Tell whether two runs differ in the setting alone."""
    keys = [(run.row["platform"], run.row["settings"]["threads"]) for run in (one, two)]
    return bool(keys[0] == keys[1])


STUDY = Study(
    name="xla",
    text="a network with XLA and without, or with another compiler",
    source="section 3.5",
    claim="platforms deviate without a compiler such as XLA, so that it is not the cause",
    criterion=(
        "Holds if the platforms fall into several classes with a backend's first setting, which "
        "compiles nothing; does not hold if they do only with another. It takes two platforms."
    ),
    own_keys=KEYS,
    run=run_study,
)

"""Whether deviations come from where operations are placed: on which processor or library."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from xbackend.platforms.emulation_doubt import has_unsafe_output
from xbackend.platforms.parse import expand_platforms, parse_platform
from xbackend.store.records import Run
from xbackend.studies.configuration import ConfigKey
from xbackend.studies.setting_runs import (
    SettingRuns,
    class_numbers,
    panel,
    records,
    run_settings,
    select_backend,
)
from xbackend.studies.study import Record, Study, StudyContext, StudyResult
from xbackend.studies.table import Table
from xbackend.studies.trust import no_outputs, proven_output_classes, untrusted_run_notes
from xbackend.studies.verdict import FAILS, HOLDS, INCONCLUSIVE, Verdict

KEYS = (
    ConfigKey("model", "word", "a built-in name or a file, as for 'xbackend run'"),
    ConfigKey("taps", "word", "layers before the output that prove what an emulated output cannot"),
    ConfigKey(
        "gpu",
        "words",
        "settings that put a backend on a GPU; tried where nothing is emulated",
        may_be_empty=True,
    ),
)

ALONE = "No GPU took part, so nothing is said of operations that are divided among processors."

GPUS = ("GPU", "NVIDIA", "CUDA", "Tensorrt", "ROCM", "MIGraphX")
"""Words in the names that frameworks give to GPUs and to what computes on them."""

RECORDED = ("placement", "nodes", "operators", "device")
"""Keys of a run's facts that say where operations ran, the one that says most first."""


def run_study(task: StudyContext) -> StudyResult:
    """Run a model on all platforms, and on GPUs where the configuration asks for it."""
    chosen = task.configuration
    variants = run_settings(task, [""], chosen["platforms"])
    platforms = expand_platforms(tuple(chosen["platforms"]))
    real = [text for text in platforms if not parse_platform(text).emulator]
    on_gpus = run_settings(task, chosen["gpu"], real) if real else []
    backends = {word: select_backend([*variants, *on_gpus], word) for word in chosen["backends"]}
    drawn = [(word, of) for word, of in backends.items() if any(each.runs for each in of)]
    alone = () if any(map(on_gpu, task.runs)) else (ALONE,)
    return StudyResult(
        records=tuple(record for of in backends.values() for record in _records(of)),
        tables=tuple(_table(word, of) for word, of in backends.items()),
        verdicts=tuple(_judge(word, of) for word, of in backends.items()),
        plot="study",
        plot_data=tuple(panel(word, of) for word, of in drawn),
        notes=(*untrusted_run_notes(task.runs), *alone),
    )


def placement_of(run: Run) -> Any:
    """Return what a run recorded of where its operations ran, None where it said nothing."""
    facts = run.row.get("facts") or {}
    return next((facts[key] for key in RECORDED if facts.get(key)), None)


def on_gpu(run: Run) -> bool:
    """Tell whether any operation of a run was placed on a GPU, by its configuration or a user's."""
    return any(word in summarise_placement(placement_of(run)) for word in GPUS)


def _key(run: Run) -> str:
    return json.dumps(placement_of(run), sort_keys=True)


def summarise_placement(found: Any) -> str:
    """Return a placement as a table shows it: who ran how many operations.

    >>> summarise_placement({"conv": "CPU:0", "relu": "CPU:0", "dense": "GPU:0"})
    'CPU:0 2, GPU:0 1'
    >>> summarise_placement({"CPUExecutionProvider": ["Conv a", "Relu b"]})
    'CPUExecutionProvider 2'
    >>> summarise_placement({"CPU:0 Conv2D": 2, "CPU:0 MaxPool": 1})
    'CPU:0 3'
    >>> summarise_placement({"count": 9, "delegated": 7, "delegated_kinds": ["CONV_2D"]})
    'delegate 7, own kernels 2'
    """
    if not isinstance(found, dict):
        return "–" if found is None else str(found)
    if "delegated" in found:
        return f"delegate {found['delegated']}, own kernels {found['count'] - found['delegated']}"
    counts: Counter[str] = Counter()
    for key, value in found.items():
        if isinstance(value, str):
            counts[value] += 1
        else:
            counts[key.partition(" ")[0]] += len(value) if isinstance(value, list) else value
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def _records(variants: Sequence[SettingRuns]) -> list[Record]:
    return [
        {
            **record,
            "placement": summarise_placement(placement_of(run)),
            "alike": _key(run) == _key(first),
        }
        for first in (run for each in variants[:1] for run in each.runs[:1])
        for record, run in zip(
            records(variants), (run for each in variants for run in each.runs), strict=True
        )
    ]


def _table(backend: str, variants: Sequence[SettingRuns]) -> Table:
    """Return a row for each run: how many operations who ran, and the class of the outputs."""
    kinds: dict[str, int] = {}
    for each in variants:
        for run in each.runs:
            kinds.setdefault(_key(run), len(kinds) + 1)
    number = class_numbers(variants)
    rows = tuple(
        (
            each.setting,
            str(run.row["platform"]),
            summarise_placement(placement_of(run)),
            str(kinds[_key(run)]),
            f"{number[run.id]}{'?' * has_unsafe_output(run)}",
        )
        for each in variants
        for run in each.runs
    )
    title = f"{backend}: placements and classes of the outputs (?: perhaps by emulation)"
    headers = ("setting", "platform", "operations", "placement", "class")
    return Table(title, headers, rows, text_columns=3)


def _judge(backend: str, variants: Sequence[SettingRuns]) -> Verdict:
    runs = [run for each in variants for run in each.runs]
    if not runs:
        return no_outputs(backend)
    if len({run.row["platform"] for run in runs}) < 2:
        return Verdict(backend, INCONCLUSIVE, "it takes two platforms")
    alike: dict[str, list[Run]] = {}
    for run in runs:
        alike.setdefault(_key(run), []).append(run)
    parted = max(alike.values(), key=lambda of: len(proven_output_classes(of)))
    if placement_of(parted[0]) is None:
        return Verdict(backend, INCONCLUSIVE, "it does not say where operations ran")
    if len(proven_output_classes(parted)) > 1:
        count = len(proven_output_classes(parted))
        return Verdict(backend, HOLDS, f"{count} classes in {len(parted)} runs placed alike")
    if len(proven_output_classes(runs)) > 1:
        return Verdict(backend, FAILS, f"one class for each of {len(alike)} placements")
    return Verdict(backend, INCONCLUSIVE, "no deviation that counts")


STUDY = Study(
    name="placement",
    text="who ran which operation, where platforms deviate",
    source="section 3.5",
    claim="platforms deviate although operations are placed alike",
    criterion=(
        "Holds if runs whose operations were placed alike (the same ones on the same kind of "
        "processor, provider or delegate) fall into several classes; does not hold if only those "
        "placed otherwise do."
    ),
    own_keys=KEYS,
    run=run_study,
)

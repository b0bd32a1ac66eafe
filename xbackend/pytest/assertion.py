"""Asserts in a test that a model computes the same wherever it is run, or says where not."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from xbackend.api.baseline import baseline as write_baseline
from xbackend.api.baseline import check_baseline, update_baseline
from xbackend.api.comparison import Comparison, certify, compare
from xbackend.api.runs import Runs, run
from xbackend.errors import UsageError, XbackendError, did_you_mean
from xbackend.plugins import registry
from xbackend.pytest import current


@dataclass(frozen=True)
class Asked:
    """What is asked for: by the call, else by the test's marker, else by default."""

    backends: Any = None
    platforms: Any = None
    precisions: Any = None
    threads: Any = 1
    settings: Any = None
    min_bits: int | None = None
    max_ulp: int | None = None
    rules: Sequence[str] = ()
    certify: bool = False
    baseline: Any = None
    store: Any = None
    timeout: float = 600.0

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Asked:
        """Take what the call says, and what the marker does. Raises UsageError for other words."""
        known = [each.name for each in fields(cls)]
        marked = current.marked()
        for word in marked:
            if word not in known:
                raise UsageError(
                    f"'@pytest.mark.xbackend({word}=…)' is not known. Known: {', '.join(known)}."
                    f"{did_you_mean(word, known)}"
                )
        return cls(**{**marked, **{key: of for key, of in given.items() if of is not None}})

    @property
    def all_rules(self) -> list[str]:
        """The rules of outputs; the same bits where nothing says what else is enough."""
        found = [self.rules] if isinstance(self.rules, str) else list(self.rules)
        found += [] if self.min_bits is None else [f"output: bits>={self.min_bits}"]
        found += [] if self.max_ulp is None else [f"output: ulp<={self.max_ulp}"]
        found += ["rounding"] if self.certify else []
        return found or ([] if self.baseline else ["output: classes<=1"])

    @property
    def where(self) -> Any:
        """The store: the one that was named, else pytest's own folder."""
        if self.store is not None or os.environ.get("XBACKEND_STORE"):
            return self.store
        return current.cache()


def assert_consistent(
    model: object = None,
    inputs: Any = None,
    backends: Any = None,
    *,
    platforms: Any = None,
    precisions: Any = None,
    threads: Any = None,
    settings: Any = None,
    min_bits: int | None = None,
    max_ulp: int | None = None,
    rules: str | Sequence[str] | None = None,
    certify: bool | None = None,
    baseline: Any = None,
    store: Any = None,
    timeout: float | None = None,
) -> Comparison:
    """Run a model everywhere that is asked for; fail, with the answer, where outputs differ.

    Without `min_bits`, `max_ulp`, `rules`, `certify` or `baseline` the bits must be the same. A
    label may never flip. What is not given is taken from `@pytest.mark.xbackend(…)`.

    Args:
        model: What `xbackend.run` takes: a file, a built-in name, a model in memory.
        inputs: Likewise: a file, an array, a dictionary of arrays.
        backends: Such as `["ort", "tflite"]`; one that cannot run it fails the test.
        platforms: Such as `["native", "qemu:Haswell"]`.
        precisions: Such as `["float32"]`; each is compared by itself.
        threads: One number or several.
        settings: `{"ort.optimization": "basic"}`.
        min_bits: Mantissa bits that all outputs must share.
        max_ulp: The largest distance.
        rules: Rules of outputs and layers: `conv*: ulp<=64`.
        certify: Whether rounding must explain every layer that can be judged.
        baseline: A file of known classes, relative to the test's folder; new ones must keep the
            rules. `pytest --xbackend-update` writes it.
        store: Where runs are kept; default: $XBACKEND_STORE, else a folder in pytest's cache.
        timeout: Seconds for each worker.

    Returns:
        The comparison.

    Raises:
        AssertionError: Where it is not so, in sentences.
        UsageError: For what cannot be asked for.
    """
    __tracebackhide__ = True
    given = {key: value for key, value in locals().items() if key not in ("model", "inputs")}
    given.pop("__tracebackhide__", None)
    asked = Asked.of(given)
    runs = run(
        model,
        inputs=inputs,
        backends=asked.backends,
        platforms=asked.platforms,
        precisions=asked.precisions,
        threads=asked.threads,
        settings=asked.settings,
        store=asked.where,
        timeout=asked.timeout,
    )
    found = compare(runs, across=False)
    broken = [*_not_run(runs, named=asked.backends is not None), *_judged(found, asked)]
    if broken:
        raise AssertionError(_said(found, runs, broken)) from None
    return found


def _not_run(runs: Runs, named: bool) -> list[str]:
    """Return a sentence for each run that gave nothing; of skipped ones if they were named."""
    stopped = [*runs.failed, *(runs.skipped if named else ())]
    return [
        f"{run.row['backend']} on {run.row['platform']} {run.row['status']}: "
        f"{(run.row['error'] or {}).get('message')}"
        for run in stopped
    ]


def _judged(found: Comparison, asked: Asked) -> list[str]:
    """Return a sentence for each rule that is broken, label that flips and class not known."""
    rules = asked.all_rules
    if asked.baseline is None:
        return [*found.broken_gates(rules), *_flips(found)]
    path = _path(asked.baseline)
    if current.updates():
        if path.exists():
            update_baseline(found, path, everything=True)
        else:
            write_baseline(found, path)
        return []
    if not path.exists():
        return [f"There is no baseline {path} yet: write it with 'pytest {current.UPDATE}'."]
    outputs = [rule for rule in rules if rule != "rounding"]
    certified = _certified(found) if asked.certify else found
    judgement = check_baseline(certified, path, rules=outputs)
    told = registry.renderer("baseline-judgement")(judgement)
    return [] if judgement.passes else [*told.splitlines()]


def _certified(found: Comparison) -> Comparison:
    try:
        return certify(found)
    except XbackendError:  # what nobody can judge no certificate lets through
        return found


def _flips(found: Comparison) -> list[str]:
    return [
        f"Labels of {section.model} in {section.precision} flip in {len(section.label_flips)} of "
        f"{len(section.summary.cohort.runs)} runs."
        for section in found.sections
        if section.label_flips
    ]


def _path(file: Any) -> Path:
    """Return the file of a baseline, beside the test where that is running."""
    folder = current.folder()
    return Path(file) if folder is None else Path(folder) / file


def _said(found: Comparison, runs: Runs, broken: Sequence[str]) -> str:
    """Return the answer, what is broken, and where to look further."""
    answer = found.render("answer").strip()
    where = f" --store {runs.store.folder}"
    look = f"Look further: xbackend explain{where}"
    return "\n".join([answer, *(f"* {sentence}" for sentence in broken), look])

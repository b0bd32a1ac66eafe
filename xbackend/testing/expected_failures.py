"""Failures that are known: typed, with their reason, and an error once they are stale."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

FailureKind = Literal["unsupported", "wrong value", "crash", "not converted"]

FILE = "expected_failures.py"
"""Beside the tests that read it; it assigns a tuple of `ExpectedFailure` to `EXPECTED`."""


@dataclass(frozen=True)
class ExpectedFailure:
    """A test that is known to fail, and must."""

    pattern: str
    """The test's name, or a glob of names: every test that it matches must fail."""
    kind: FailureKind
    """How it fails: `unsupported`, `wrong value`, `crash`, or `not converted` to an artifact."""
    reason: str
    """One sentence: why the backend cannot pass it."""
    version: str
    """The framework and version that was seen to fail, such as `tensorflow 2.21.0`."""


@dataclass(frozen=True)
class CaseOutcome:
    """What became of one test."""

    kind: Literal["passed"] | FailureKind
    message: str = ""
    """What went wrong, in the words of who noticed; empty if it passed."""


PASSED = CaseOutcome("passed")


def load_expected(test_file: str) -> tuple[ExpectedFailure, ...]:
    """Read `EXPECTED` of the `expected_failures.py` beside a test file; empty without one."""
    path = Path(test_file).with_name(FILE)
    if not path.exists():
        return ()
    spec = importlib.util.spec_from_file_location(f"expected_failures_{path.parent.name}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"Cannot import {path}.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return tuple(module.EXPECTED)


def find_expected(name: str, expected: Iterable[ExpectedFailure]) -> ExpectedFailure | None:
    """Return the first entry whose pattern matches a test's name."""
    return next((entry for entry in expected if matches(name, entry.pattern)), None)


def matches(name: str, pattern: str) -> bool:
    """Tell whether a pattern means a test: it is its whole name, brackets and all, or a glob of it.

    >>> matches("test_it[int8]", "test_it[int8]"), matches("test_it[int8]", "test_it*")
    (True, True)
    """
    return name == pattern or fnmatchcase(name, pattern)


def explain_mismatch(
    name: str, outcome: CaseOutcome, expected: Iterable[ExpectedFailure]
) -> str | None:
    """Say what is wrong with an outcome, None where it is as expected.

    >>> explain_mismatch("test_relu", PASSED, ())
    >>> stale = ExpectedFailure("test_re*", "crash", "It crashes.", "1.0")
    >>> explain_mismatch("test_relu", PASSED, [stale])
    "test_relu passes now: its expected failure 'test_re*' is stale. Remove that entry."
    """
    entry = find_expected(name, expected)
    if entry is None:
        return None if outcome == PASSED else f"{name}: {outcome.kind}: {outcome.message}"
    if outcome == PASSED:
        return (
            f"{name} passes now: its expected failure '{entry.pattern}' is stale. "
            "Remove that entry."
        )
    if outcome.kind != entry.kind:
        return f"{name} was expected as '{entry.kind}' but is '{outcome.kind}': {outcome.message}"
    return None


def stale_patterns(names: Sequence[str], expected: Iterable[ExpectedFailure]) -> tuple[str, ...]:
    """Return the patterns that match no test: each is stale."""
    return tuple(
        entry.pattern
        for entry in expected
        if not any(matches(name, entry.pattern) for name in names)
    )

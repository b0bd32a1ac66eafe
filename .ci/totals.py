"""Adds up what pytest said in each tox environment; the last line is the total."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree


def main(folder: Path) -> None:
    """Print one line for each result file in a folder, and the total."""
    total: Counter[str] = Counter()
    for path in sorted(folder.glob("*.xml")):
        counts = read_counts(path)
        total += counts
        print(f"{path.stem + ':':<10} {line(counts)}, {counts['seconds']} s")
    print(line(total))


def read_counts(path: Path) -> Counter[str]:
    """Count the tests of one JUnit file. Errors are failures; expected failures are skipped."""
    counts: Counter[str] = Counter()
    for suite in ElementTree.parse(path).getroot().iter("testsuite"):
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped = int(suite.get("skipped", 0))
        counts["failed"] += failed
        counts["skipped"] += skipped
        counts["passed"] += int(suite.get("tests", 0)) - failed - skipped
        counts["seconds"] += round(float(suite.get("time", 0)))
    return counts


def line(counts: Counter[str]) -> str:
    """Say the counts as pytest does."""
    return f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped"


if __name__ == "__main__":
    main(Path(sys.argv[1]))

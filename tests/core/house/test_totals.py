"""The last lines of `make test` add up what pytest said in each environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CORE = """<?xml version="1.0"?><testsuites><testsuite name="pytest" errors="1" failures="2"
skipped="3" tests="10" time="1.6"></testsuite></testsuites>"""
TORCH = """<?xml version="1.0"?><testsuites><testsuite name="pytest" errors="0" failures="0"
skipped="0" tests="5" time="60.2"></testsuite></testsuites>"""


def test_the_last_line_is_the_total_in_the_words_of_pytest(root: Path, tmp_path: Path) -> None:
    (tmp_path / "core.xml").write_text(CORE)
    (tmp_path / "torch.xml").write_text(TORCH)
    program = root / ".ci" / "totals.py"
    done = subprocess.run([sys.executable, program, tmp_path], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "core:      4 passed, 3 failed, 3 skipped, 2 s",
        "torch:     5 passed, 0 failed, 0 skipped, 60 s",
        "9 passed, 3 failed, 3 skipped",
    ]

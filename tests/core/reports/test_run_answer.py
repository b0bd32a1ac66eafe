"""What ends a command that ran something."""

from __future__ import annotations

import subprocess
import sys

from xbackend.reports import answer
from xbackend.reports.results import runs
from xbackend.testing.store_builder import StoreBuilder


def test_one_run_is_told_in_the_words_of_a_comparison(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0]})
    said = answer.render(bench.compare()).strip()
    assert said == runs.ONE_RUN_ALONE
    assert runs.ONE_RUN_ALONE in runs.render(list(bench.store.runs()), bench.store.folder)


def test_one_run_is_told_without_numpy() -> None:
    program = "import sys; import xbackend.reports.results.runs; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr

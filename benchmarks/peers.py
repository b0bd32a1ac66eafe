"""Polygraphy, in an environment of its own that this file makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from .timing import Ratio, ratio

HERE = Path(__file__).parent
ENVIRONMENT = HERE / ".environments" / "polygraphy"
PACKAGES = ("polygraphy==0.53.6", "numpy==1.26.4")
LIMITS = {"as it is": 1 / 50, "logging off": None}
CASES = (
    ("remaining precision", "logging off"),
    ("all metrics", "logging off"),
    ("all metrics", "as it is"),
)
"""What of ours is held against what of Polygraphy's: its log takes time too."""


def compare_polygraphy(rounds: int) -> list[Ratio]:
    """Measure CompareFunc.simple on 10^7 elements, side by side in one process."""
    command = [str(_python()), "-m", "benchmarks.polygraphy_side_by_side", str(rounds)]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=HERE.parent,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    found = []
    for pair, seconds in json.loads(done.stdout.splitlines()[-1]).items():
        for ours, theirs in CASES:
            title = f"{ours}, 2 x 10^7 float32, {pair}"
            peer = f"Polygraphy's CompareFunc.simple, {theirs}"
            found.append(ratio(title, peer, seconds[ours], seconds[theirs], LIMITS[theirs]))
    return found


def _python() -> Path:
    """Return the environment's Python; the first call makes it."""
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", *PACKAGES]
        subprocess.run(install, check=True, stdout=sys.stderr)
        (ENVIRONMENT / "installed").touch()
    return python

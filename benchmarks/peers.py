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
FASTER = 50


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
    seconds = json.loads(done.stdout.splitlines()[-1])
    found = []
    for ours, what in (("all", "all metrics"), ("bits", "remaining precision")):
        for theirs, peer in (("told", "as it is"), ("quiet", "logging off")):
            title = f"{what}, 2 x 10^7 float32"
            name = f"Polygraphy's CompareFunc.simple, {peer}"
            found.append(ratio(title, name, seconds[ours], seconds[theirs], 1 / FASTER))
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

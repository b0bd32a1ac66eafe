"""The command line against scripts that a user would write by hand."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import onnx

from xbackend.models.catalogue import builtin

from .timing import Ratio, ratio, time_interleaved

MODEL = "cifar10-small"
WORDS = ("tf", "ort", "torch", "tflite", "fixed")
BARE = Path(__file__).parent / "bare"
AT_ONCE = 2
HELP, IMPORT, ONE, FIVE = 3.0, 1.2, 2.0, 1.25
DONT_WRITE = "PYTHONDONTWRITEBYTECODE"
STARTS_PER_ROUND = 5
"""Starting takes milliseconds, so a round is several starts."""


@dataclass(frozen=True)
class Scratch:
    """A folder for stores and outputs, and what the scripts read."""

    folder: Path
    models: dict[str, Path]
    """A backend's word to the file that its script takes."""
    samples: Path

    def bare(self, word: str) -> None:
        """Run a bare script."""
        run([sys.executable, str(BARE / f"{word}.py"), str(self.models[word]),
              str(self.samples), str(self.folder)])  # fmt: skip

    def all_bare(self, words: Sequence[str]) -> None:
        """Run bare scripts, two at a time."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self.bare, words))

    def ours(self, words: Sequence[str], store: str, *more: str, model: str = MODEL) -> None:
        """Run `xbackend run` into a store of the scratch folder, whatever that has already."""
        run([*_command(), "run", model, "--backends", ",".join(words), "--jobs", str(AT_ONCE),
              "--fresh", "--store", str(self.folder / store), *more])  # fmt: skip


@contextmanager
def scratch() -> Iterator[Scratch]:
    """Make a scratch folder, with the built-in model in the forms that the scripts take."""
    model = builtin(MODEL)
    files = {name: file.path for name, file in model.files.items()}
    with tempfile.TemporaryDirectory(prefix="xbackend-benchmark-") as name:
        folder = Path(name)
        models = {
            "ort": files["onnx"],
            "tf": files["keras"],
            "tflite": files["tflite"],
            "torch": _weights(files["onnx"], folder / "float32.npz"),
            "fixed": _weights(files["onnx-int8"], folder / "int8.npz"),
        }
        yield Scratch(folder, models, model.samples)


def _weights(path: Path, target: Path) -> Path:
    """Write a model's weights as NumPy arrays, for frameworks that do not read ONNX."""
    held = onnx.load(path).graph.initializer
    np.savez(target, **{each.name: onnx.numpy_helper.to_array(each) for each in held})
    return target


def run(command: Sequence[str], session: bool = False) -> None:
    """Run a command to its end, in a session of its own if asked.

    Raises SystemExit with what it printed where it fails.
    """
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=os.sep,
        start_new_session=session,
        env=_with_bytecode(),
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")


def _with_bytecode() -> dict[str, str]:
    """Return the environment, in which Python keeps its bytecode, as it has that of packages.

    An editable installation would be compiled anew at every start without.
    """
    return {name: value for name, value in os.environ.items() if name != DONT_WRITE}


def _command() -> list[str]:
    return [str(Path(sys.executable).with_name("xbackend"))]


def _repeatedly(run: Callable[[], None]) -> None:
    for _ in range(STARTS_PER_ROUND):
        run()


def compare_help(rounds: int) -> list[Ratio]:
    """Measure how long the command line takes to say what it can."""
    seconds = time_interleaved(
        {
            "ours": partial(_repeatedly, partial(run, [*_command(), "--help"])),
            "bare": partial(
                _repeatedly, partial(run, [sys.executable, "-c", "import argparse, json"])
            ),
        },
        rounds,
    )
    ours, theirs = ([each / STARTS_PER_ROUND for each in seconds[name]] for name in seconds)
    peer = "python -c 'import argparse, json'"
    return [ratio("`xbackend --help`", peer, ours, theirs, HELP)]


def compare_import(rounds: int) -> list[Ratio]:
    """Measure how long importing the package takes, of which a user may need one function."""
    peer = "python -c 'import argparse, json'"
    programs = {"ours": "import xbackend", "bare": "import argparse, json"}
    seconds = time_interleaved(
        {
            name: partial(_repeatedly, partial(run, [sys.executable, "-c", program]))
            for name, program in programs.items()
        },
        rounds,
    )
    ours, theirs = ([each / STARTS_PER_ROUND for each in seconds[name]] for name in programs)
    return [ratio("`python -c 'import xbackend'`", peer, ours, theirs, IMPORT)]


def compare_one(rounds: int) -> list[Ratio]:
    """Measure a run of one backend, with a store that knows the model and with a new one."""
    with scratch() as place:
        fresh = count()
        seconds = time_interleaved(
            {
                "bare": partial(place.bare, "ort"),
                "warm": partial(place.ours, ["ort"], "warm"),
                "outputs": partial(place.ours, ["ort"], "warm", "--taps", "outputs"),
                "cold": lambda: place.ours(["ort"], f"cold-{next(fresh)}"),
            },
            rounds,
        )
    peer = "bare script"
    titles = {
        "warm": ("`xbackend run --backends ort`", ONE),
        "outputs": ("the same with `--taps outputs`", ONE),
        "cold": ("the same into a new store, model converted first", None),
    }
    return [
        ratio(title, peer, seconds[name], seconds["bare"], limit)
        for name, (title, limit) in titles.items()
    ]


def compare_five(rounds: int) -> list[Ratio]:
    """Measure a run of all backends, and the bare scripts of all, two at a time."""
    with scratch() as place:
        seconds = time_interleaved(
            {
                "bare": partial(place.all_bare, WORDS),
                "ours": partial(place.ours, WORDS, "warm", "--set", "tf.graph=onnx"),
            },
            rounds,
        )
    title = "`xbackend run` with all five backends"
    peer = f"five bare scripts, {AT_ONCE} at a time"
    return [ratio(title, peer, seconds["ours"], seconds["bare"], FIVE)]

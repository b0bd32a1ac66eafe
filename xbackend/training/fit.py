"""Runs the process that trains a network, and keeps what it gave."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import numpy as np

from xbackend.errors import ConversionError, UsageError
from xbackend.models.dataset import Dataset, Images
from xbackend.models.variant import find_variant
from xbackend.training.jpegs import JpegImages

Array = np.ndarray[Any, Any]
Progress = Callable[[dict[str, Any]], None]

NETWORKS = {
    "cifar10-small": "the paper's small CNN",
    "cifar10-r18": "the paper's ResNet18",
    "deepweeds-r50v2": "the paper's ResNet50V2",
}
"""Name of what can be trained to what it is."""
TRAINABLE = ("relu", "sigmoid", "linear")
"""The variants that can be trained; in Keras a normalisation is always a BatchNormalization."""
CHILD_PROGRAM = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; "
    "from xbackend.training.keras_fit import main; main()"
)
"""The program of the process; the current folder must not shadow a package."""
PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn", "pillow")
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "PYTHONHASHSEED": "0"}
"""On the CPU: small networks gain nothing from a GPU, and its sums have no fixed order."""


@dataclass(frozen=True)
class Recipe:
    """How to train; the defaults are the paper's."""

    model: str = "cifar10-small"
    epochs: int = 30
    batch: int = 32
    seed: int = 42
    optimizer: str = "adam"
    variant: str = "relu"
    start: str = ""
    """Whose bound the weights begin with where that is not the variant's: `he` or `glorot`."""
    threads: int = 1
    """Of TensorFlow's operators. Another number may give other bits."""


@dataclass(frozen=True)
class TrainingResult:
    """What training gave."""

    outputs: Array
    """The network's output for each held-out picture, float32."""
    accuracy: float
    """Share of the held-out pictures that are classified rightly."""
    parameters: int
    record: dict[str, Any]
    """Recipe, data, accuracy, packages and versions: what model.json holds of it."""


def fit(recipe: Recipe, data: Dataset, output: Path, progress: Progress) -> TrainingResult:
    """Train in a process of its own and write the Keras file `output`.

    `progress` gets a dict with `epoch`, `step` of `steps`, `loss` and `accuracy` so far,
    within an epoch at most every `PROGRESS_INTERVAL` seconds, and after it with `validation`, the
    accuracy there.
    """
    check_recipe(recipe)
    with tempfile.TemporaryDirectory(prefix="xbackend-train-") as scratch:
        outputs = Path(scratch) / "outputs.npy"
        job = {
            **asdict(recipe),
            "training": _save_images(data.training, Path(scratch) / "training"),
            "validation": data.validation
            and _save_images(data.validation, Path(scratch) / "validation"),
            "held_out": _save_images(data.held_out, Path(scratch) / "held_out"),
            "divisor": data.divisor,
            "predicted_at_once": _block(data),
            "every": PROGRESS_INTERVAL,
            "output": str(output),
            "outputs": str(outputs),
        }
        last = _run(job, Path(scratch), progress)
        predicted = np.load(outputs, allow_pickle=False)
    accuracy = float((predicted.argmax(axis=1) == data.held_out.labels).mean())
    return TrainingResult(predicted, accuracy, last["parameters"], _record(recipe, data, accuracy))


PROGRESS_INTERVAL = 20.0
"""Seconds between two lines of progress within an epoch."""


def check_recipe(recipe: Recipe) -> None:
    """Raise UsageError where a recipe is not sound or TensorFlow is missing."""
    if recipe.model not in NETWORKS:
        known = ", ".join(NETWORKS)
        raise UsageError(f"There is no network {recipe.model!r} to train. Networks: {known}.")
    find_variant(recipe.variant, TRAINABLE)
    for word in ("epochs", "batch", "threads"):
        if getattr(recipe, word) < 1:
            raise UsageError(f"--{word} is {getattr(recipe, word)}; give a number from 1.")
    if not 0 <= recipe.seed < 2**32:
        raise UsageError(f"--seed is {recipe.seed}; give a number from 0 to 4294967295.")
    if importlib.util.find_spec("tensorflow") is None:
        raise UsageError("Training needs tensorflow. Install it with: pip install 'xbackend[tf]'")


def _save_images(images: Images, folder: Path) -> dict[str, Any]:
    """Say where pictures are for the process to read; an array is written there."""
    folder.mkdir()
    np.save(folder / "labels.npy", images.labels)
    row = {"labels": str(folder / "labels.npy")}
    if isinstance(images.pixels, JpegImages):
        pixels = images.pixels
        place = str(pixels.place.resolve())
        return {**row, "place": place, "names": pixels.names, "side": pixels.side}
    np.save(folder / "pixels.npy", np.asarray(images.pixels))
    return {**row, "pixels": str(folder / "pixels.npy")}


def _block(data: Dataset) -> int:
    """Return how many pictures are predicted at once: few of the large ones."""
    (picture,) = data.held_out.pixels[np.array([0])]
    return max(8, 256 * 32 * 32 * 3 // int(picture.size))


def _run(job: dict[str, Any], scratch: Path, progress: Progress) -> dict[str, Any]:
    """Run the process, hand on its lines, return the last one."""
    line: dict[str, Any] = {}
    (scratch / "job.json").write_text(json.dumps(job), encoding="utf-8")
    errors = scratch / "errors.txt"
    with errors.open("wb") as stderr, _spawn(scratch / "job.json", stderr) as process:
        try:
            for text in process.stdout or ():
                line = json.loads(text)
                if "epoch" in line:
                    progress(line)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise ConversionError(_failure(process.returncode, errors))
    return line


def _spawn(job: Path, stderr: IO[bytes]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD_PROGRAM, str(job)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env={**os.environ, **ENVIRONMENT},
    )


def _failure(status: int, errors: Path) -> str:
    lines = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    reason = lines[-1].strip() if lines else "it said nothing"
    ended = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return f"Training {ended}: {reason}"


def _record(recipe: Recipe, data: Dataset, accuracy: float) -> dict[str, Any]:
    return {
        "data": data.source,
        "training": len(data.training.labels),
        "held_out": len(data.held_out.labels),
        "divisor": data.divisor,
        "accuracy": accuracy,
        "network": recipe.model,
        **{key: value for key, value in asdict(recipe).items() if key != "model"},
        "start": recipe.start or find_variant(recipe.variant).start,
        "packages": _versions(),
    }


def _versions() -> dict[str, str]:
    return {name: version for name in PACKAGES if (version := _version(name))}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""

"""Write a model's folder: the network in every format that can be made, samples and model.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xbackend.models.catalogue import MANIFEST, SCHEMA_VERSION
from xbackend.models.cifar10 import Dataset, Images
from xbackend.models.keras_fit import INPUT, scale
from xbackend.models.train import Trained

Array = np.ndarray[Any, Any]
Rows = dict[str, dict[str, Any]]

FILES = {
    "keras": "model.keras",
    "onnx": "model.onnx",
    "tflite": "model.tflite",
    "onnx-int8": "model.int8.onnx",
    "tflite-int8": "model.int8.tflite",
}
"""Formats of a model's folder and their file names, the source first."""

SAMPLES = "samples.npy"
RANKS = {"usual": 0.5, "hesitant": 0.02, "boundary": 0.0}
"""Names of the samples, and where each lies among the held-out pictures that are classified
rightly, ordered by how far the first class is ahead of the second."""

CALIBRATION = 100
"""How many training pictures int8 is calibrated on."""


def choose_samples(outputs: Array, labels: Array) -> dict[str, int]:
    """Return for each name of a sample which held-out picture it is.

    The network is right on all three; on `boundary` it is least sure, so that a small deviation
    between backends has the best chance of changing the class.
    """
    ordered = np.sort(outputs, axis=1)
    margins = ordered[:, -1] - ordered[:, -2]
    right = np.flatnonzero(outputs.argmax(axis=1) == labels)
    ranked = right[np.argsort(margins[right], kind="stable")]
    return {name: int(ranked[int(len(ranked) * rank)]) for name, rank in RANKS.items()}


def write_samples(folder: Path, chosen: Mapping[str, int], data: Dataset) -> dict[str, Any]:
    """Write the samples as float32 in [0, 1] and return their part of model.json."""
    indices = list(chosen.values())
    array = scale(data.held_out.pixels[indices], data.divisor)
    np.save(folder / SAMPLES, array, allow_pickle=False)
    return {
        "file": SAMPLES,
        "digest": digest(folder / SAMPLES),
        "input": INPUT,
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "names": list(chosen),
        "labels": [int(data.held_out.labels[index]) for index in indices],
        "held_out": indices,
        "rule": "right, at these shares of the order by margin: "
        + ", ".join(f"{name} {share:.0%}" for name, share in RANKS.items()),
    }


def write_calibration(path: Path, data: Dataset) -> None:
    """Write evenly spaced training pictures as the inputs that int8 is calibrated on."""
    pictures = calibration(data.training)
    np.savez(path, **{INPUT: scale(pictures, data.divisor)})


def calibration(images: Images) -> Array:
    """Return at most `CALIBRATION` pictures at equal distances."""
    step = max(1, len(images.labels) // CALIBRATION)
    return images.pixels[::step][:CALIBRATION]


def write_manifest(
    folder: Path,
    name: str,
    description: str,
    trained: Trained,
    files: Rows,
    samples: Mapping[str, Any],
    classes: Iterable[str],
) -> None:
    """Write model.json, which says what each file is and how it was made."""
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "description": description,
        "parameters": trained.parameters,
        "digest": digest_of_all(files),
        "files": files,
        "samples": samples,
        "classes": list(classes),
        "training": trained.record,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def digest_of_all(files: Rows) -> str:
    """Return the SHA-256 over the formats and digests of all files, in alphabetical order."""
    lines = "".join(f"{key} {files[key]['digest']}\n" for key in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()

"""The process that trains a network with Keras: a job's file as argument, progress on output.

Same job, machine and versions: the same weights. The order of the pictures depends on the seed
alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from xbackend.errors import XbackendError
from xbackend.models.dataset import Images
from xbackend.models.keras_file import canonicalise
from xbackend.models.variant import VARIANTS
from xbackend.training.jpegs import JpegImages
from xbackend.training.keras_networks import NETWORKS, LayerFactory

Array = np.ndarray[Any, Any]


def main() -> None:
    """Train as the job says; what packages print goes to standard error."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        for message in train(job):
            _send(channel, message)
    except XbackendError as error:
        sys.exit(str(error))


def _send(channel: IO[str], message: Mapping[str, Any]) -> None:
    channel.write(json.dumps(message) + "\n")
    channel.flush()


def train(job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield progress, write the model and the held-out outputs, yield the parameters."""
    keras = _keras(job["seed"], job["threads"])
    model = _network(keras, job)
    model.compile(
        optimizer=job["optimizer"],
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    yield from _epochs(model, job)
    np.save(job["outputs"], _outputs(model, read_images(job["held_out"]), job))
    _without_optimizer(keras, model, job).save(job["output"])
    canonicalise(Path(job["output"]))
    yield {"parameters": int(model.count_params())}


def _keras(seed: int, threads: int) -> Any:
    """Import Keras over TensorFlow, seeded and deterministic, so that every run gives the same."""
    import keras
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    tensorflow.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)
    return keras


def _network(keras: Any, job: Mapping[str, Any]) -> Any:
    variant = VARIANTS[job["variant"]]
    return NETWORKS[job["model"]](LayerFactory(keras, variant, job["start"] or variant.start))


def _without_optimizer(keras: Any, model: Any, job: Mapping[str, Any]) -> Any:
    """Copy the weights into a network that was never compiled: a third of the file's size."""
    plain = _network(keras, job)
    plain.set_weights(model.get_weights())
    return plain


def read_images(row: Mapping[str, Any]) -> Images:
    """Open the pictures that a job names: an array that stays on disk, or files to be decoded."""
    labels = np.load(row["labels"], allow_pickle=False)
    if "names" in row:
        return Images(JpegImages(Path(row["place"]), row["names"], row["side"]), labels)
    return Images(np.load(row["pixels"], mmap_mode="r", allow_pickle=False), labels)


def _epochs(model: Any, job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    training = read_images(job["training"])
    for epoch in range(job["epochs"]):
        line: dict[str, Any] = {}
        for line in _steps(model, training, job, epoch):
            if line["step"] < line["steps"]:
                yield line
        if job["validation"]:
            line["validation"] = _accuracy(model, read_images(job["validation"]), job)
        yield line


def _steps(
    model: Any, training: Images, job: Mapping[str, Any], epoch: int
) -> Iterator[dict[str, Any]]:
    """Take the steps of an epoch; yield how it goes now and then, and after the last one."""
    order = np.random.default_rng((job["seed"], epoch)).permutation(len(training.labels))
    starts = range(0, len(order), job["batch"])
    sums, seen, told = np.zeros(2), 0, time.monotonic()
    for step, start in enumerate(starts, 1):
        batch = training.select(order[start : start + job["batch"]])
        scaled = scale(batch.pixels[:], job["divisor"])
        loss_and_accuracy = model.train_on_batch(scaled, batch.labels)
        seen += len(batch.labels)
        sums += len(batch.labels) * np.asarray(loss_and_accuracy, float)
        if step == len(starts) or time.monotonic() - told >= job["every"]:
            told = time.monotonic()
            loss, accuracy = sums / seen
            progress = {"epoch": epoch + 1, "step": step, "steps": len(starts)}
            yield {**progress, "loss": loss, "accuracy": accuracy}


def _accuracy(model: Any, images: Images, job: Mapping[str, Any]) -> float:
    predicted = _outputs(model, images, job).argmax(axis=1)
    return float((predicted == images.labels).mean())


def _outputs(model: Any, images: Images, job: Mapping[str, Any]) -> Array:
    size = job["predicted_at_once"]
    blocks = (slice(at, at + size) for at in range(0, len(images.labels), size))
    parts = [model.predict_on_batch(scale(images.pixels[b], job["divisor"])) for b in blocks]
    return np.concatenate(parts)


def scale(pixels: Array, divisor: int) -> Array:
    """Bring bytes to float32 in [0, 1], with the one rounding of the division.

    >>> scale(np.array([0, 8, 16], np.uint8), 16).tolist()
    [0.0, 0.5, 1.0]
    """
    return pixels.astype(np.float32) / np.float32(divisor)

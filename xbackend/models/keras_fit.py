"""The process that trains a network with Keras: a job's file as argument, progress on output.

Same job, machine and versions: the same weights. The order of the pictures depends on the seed
alone.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from xbackend.models.keras_file import canonicalise

Array = np.ndarray[Any, Any]
Layers = Iterator[Any]


def cifar10_small(layers: Any) -> Layers:
    """Yield the layers of the paper's small network, 59,354 parameters.

    Activations are layers of their own, so each is a node and a tap of its own in ONNX.
    """
    yield layers.Conv2D(3, 3, padding="same", name="conv1")
    yield layers.Activation("relu", name="relu1")
    yield layers.MaxPooling2D(2, name="pool1")
    yield layers.Conv2D(5, 5, padding="same", name="conv2")
    yield layers.Activation("relu", name="relu2")
    yield layers.MaxPooling2D(2, name="pool2")
    yield layers.Flatten(name="flatten")
    yield layers.Dense(128, name="dense1")
    yield layers.Activation("relu", name="relu3")
    yield layers.Dense(128, name="dense2")
    yield layers.Activation("relu", name="relu4")
    yield layers.Dense(10, name="dense3")
    yield layers.Activation("softmax", name="softmax")


NETWORKS = {"cifar10-small": cifar10_small}
"""Name of the model to the function that yields its layers."""
INPUT = "image"
SHAPE = (32, 32, 3)


def main() -> None:
    """Train as the job says; what packages print goes to standard error."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for message in train(job):
        _send(channel, message)


def _send(channel: IO[str], message: Mapping[str, Any]) -> None:
    channel.write(json.dumps(message) + "\n")
    channel.flush()


def train(job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the progress of each epoch, write model and held-out outputs, yield the parameters."""
    keras = _keras(job["seed"])
    with np.load(job["data"], allow_pickle=False) as data:
        arrays = dict(data)
    model = _network(keras, job["model"])
    model.compile(
        optimizer=job["optimizer"],
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    yield from _epochs(model, arrays, job)
    np.save(job["outputs"], _outputs(model, arrays["held_out_pixels"], job["divisor"]))
    _without_optimizer(keras, model, job["model"]).save(job["output"])
    canonicalise(Path(job["output"]))
    yield {"parameters": int(model.count_params())}


def _keras(seed: int) -> Any:
    """Import Keras over TensorFlow, one thread and seeded, so that every run gives the same."""
    import keras
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    tensorflow.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)
    return keras


def _network(keras: Any, name: str) -> Any:
    inputs = keras.Input(SHAPE, name=INPUT)
    return keras.Sequential([inputs, *NETWORKS[name](keras.layers)], name=name)


def _without_optimizer(keras: Any, model: Any, name: str) -> Any:
    """Copy the weights into a network that was never compiled: a third of the file's size."""
    plain = _network(keras, name)
    plain.set_weights(model.get_weights())
    return plain


def _epochs(
    model: Any, arrays: Mapping[str, Array], job: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    pixels, labels, batch = arrays["pixels"], arrays["labels"], job["batch"]
    for epoch in range(job["epochs"]):
        order = np.random.default_rng((job["seed"], epoch)).permutation(len(labels))
        sums = np.zeros(2)
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            scaled = scale(pixels[chosen], job["divisor"])
            loss_and_accuracy = model.train_on_batch(scaled, labels[chosen])
            sums += len(chosen) * np.asarray(loss_and_accuracy, float)
        loss, accuracy = sums / len(labels)
        yield {"epoch": epoch + 1, "loss": loss, "accuracy": accuracy}


def _outputs(model: Any, pixels: Array, divisor: int) -> Array:
    blocks = range(0, len(pixels), 256)
    parts = [model.predict_on_batch(scale(pixels[at : at + 256], divisor)) for at in blocks]
    return np.concatenate(parts)


def scale(pixels: Array, divisor: int) -> Array:
    """Bring bytes to float32 in [0, 1], with the one rounding of the division.

    >>> scale(np.array([0, 8, 16], np.uint8), 16).tolist()
    [0.0, 0.5, 1.0]
    """
    return pixels.astype(np.float32) / np.float32(divisor)

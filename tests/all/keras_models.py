"""Makes Keras models, harmless and harmful, in a folder: `python keras_models.py FOLDER`.

A process of its own makes them, since TensorFlow does not share one with other frameworks. For
each harmless model, `<name>.npz` holds images, what Keras gives for them, and the weights.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf

LAYERS = keras.layers
IMAGES = np.random.default_rng(2).random((6, 12, 12, 3), np.float32)


def small() -> keras.Model:
    """Build a plain CNN."""
    return keras.Sequential(
        [
            keras.Input((12, 12, 3), name="image"),
            LAYERS.Conv2D(4, 3, name="conv1"),
            LAYERS.ReLU(name="relu1"),
            LAYERS.MaxPooling2D(name="pool1"),
            LAYERS.Conv2D(6, 3, activation="relu", name="conv2"),
            LAYERS.Flatten(name="flat"),
            LAYERS.Dense(8, activation="relu", name="dense1"),
            LAYERS.Dense(5, activation="softmax", name="label"),
        ],
        name="small",
    )


def norm() -> keras.Model:
    """Build normalizations, a residual branch, depthwise convolutions and two outputs."""
    image = keras.Input((12, 12, 3), name="image")
    stem = LAYERS.Conv2D(4, 3, use_bias=False, name="stem")(image)
    stem = LAYERS.ReLU(name="stem_relu")(LAYERS.BatchNormalization(name="stem_norm")(stem))
    branch = LAYERS.Conv2D(4, 3, padding="same", name="branch")(stem)
    branch = LAYERS.BatchNormalization(name="branch_norm")(branch)
    joined = LAYERS.ReLU(name="joined")(LAYERS.Add(name="sum")([stem, branch]))
    deep = LAYERS.DepthwiseConv2D(3, name="depth")(joined)
    deep = LAYERS.SeparableConv2D(6, 3, strides=2, padding="same", name="separable")(deep)
    deep = LAYERS.BatchNormalization(name="deep_norm")(deep)
    pooled = LAYERS.GlobalAveragePooling2D(name="pooled")(deep)
    scores = LAYERS.Dense(5, name="scores")(pooled)
    label = LAYERS.Dense(2, activation="softmax", name="label")(pooled)
    return keras.Model(image, [scores, label], name="norm")


def exotic() -> keras.Model:
    """Build an operation that neither ONNX nor TensorFlow Lite has."""
    values = keras.Input((4,), name="values")
    return keras.Model(values, keras.ops.erfinv(values))


@keras.saving.register_keras_serializable(package="elsewhere")
class Doubled(LAYERS.Layer):
    """A layer whose Python code is not in the file."""

    def call(self, inputs: Any) -> Any:
        """Double."""
        return inputs * 2


def fill(model: keras.Model) -> None:
    """Give every weight a value that no other has."""
    generator = np.random.default_rng(7)
    for weight in model.weights:
        low = 0.5 if weight.path.endswith(("gamma", "variance")) else -0.5
        weight.assign(generator.uniform(low, low + 1, weight.shape))


def save(model: keras.Model, name: str, folder: Path) -> None:
    """Save in all three formats, and what the model gives."""
    fill(model)
    model.save(folder / f"{name}.keras")
    model.save(folder / f"{name}.h5")
    model.export(folder / name, verbose=False)
    rows = [keras.tree.flatten(model(image[None], training=False)) for image in IMAGES]
    outputs = {
        f"output:{output}": np.concatenate([row[place].numpy() for row in rows])
        for place, output in enumerate(getattr(model, "output_names", None) or ["label"])
    }
    weights = {f"weight:{weight.path}": weight.numpy() for weight in model.weights}
    np.savez(folder / f"{name}.npz", image=IMAGES, **outputs, **weights)


def save_lambda(folder: Path) -> list[str]:
    """Save models whose Lambda writes a file, and return the formats that were seen to do so."""
    marker = str(folder / "lambda-was-here")
    image = keras.Input((4,), name="image")
    harmful = LAYERS.Lambda(
        lambda x: (open(marker, "w").close(), x)[1],
        name="harm",
    )
    model = keras.Model(image, harmful(image))
    seen = []
    for suffix in ("keras", "h5"):
        path = folder / f"lambda.{suffix}"
        model.save(path)
        Path(marker).unlink(missing_ok=True)
        loaded = keras.saving.load_model(path, safe_mode=False)
        loaded(np.zeros((1, 4), np.float32))
        if Path(marker).exists():
            seen.append(suffix)
        Path(marker).unlink(missing_ok=True)
    return seen


def save_python_operation(folder: Path) -> None:
    """Save a SavedModel that calls Python."""

    def harm(x: Any) -> Any:
        Path(folder / "pyfunc-was-here").touch()
        return x

    module = tf.Module()
    specification = tf.TensorSpec((1, 4), tf.float32, name="image")
    module.call = tf.function(
        lambda image: {"y": tf.ensure_shape(tf.py_function(harm, [image], tf.float32), (1, 4))},
        input_signature=[specification],
    )
    tf.saved_model.save(module, folder / "pyfunc", signatures=module.call)


def save_file_operation(folder: Path) -> None:
    """Save a SavedModel that writes a file whenever it is run."""
    module = tf.Module()

    def harm(image: Any) -> Any:
        with tf.control_dependencies([tf.io.write_file(str(folder / "written"), "x")]):
            return {"y": tf.identity(image)}

    module.call = tf.function(harm, input_signature=[tf.TensorSpec((1, 4), tf.float32, "image")])
    tf.saved_model.save(module, folder / "writes", signatures=module.call)


class _Writer(tf.saved_model.experimental.TrackableResource):  # type: ignore[misc]
    """A resource that TensorFlow makes while it loads the model: it writes a file of events."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = place
        self.resource_handle  # noqa: B018 (which makes it)

    def _create_resource(self) -> Any:
        return tf.raw_ops.SummaryWriter(shared_name="w", container="")

    def _initialize(self) -> Any:
        tf.raw_ops.CreateSummaryFileWriter(
            writer=self.resource_handle,
            logdir=self.place,
            max_queue=1,
            flush_millis=1,
            filename_suffix=".x",
        )
        return 1


def save_writer(folder: Path) -> bool:
    """Save a SavedModel that writes a file when it is loaded; return whether it was seen to."""
    module = tf.Module()
    module.writer = _Writer(str(folder / "events"))
    specification = tf.TensorSpec((1, 4), tf.float32, name="image")
    module.call = tf.function(lambda image: {"y": image + 1}, input_signature=[specification])
    tf.saved_model.save(module, folder / "writer", signatures=module.call)
    shutil.rmtree(folder / "events", ignore_errors=True)
    tf.saved_model.load(str(folder / "writer"))
    seen = (folder / "events").exists()
    shutil.rmtree(folder / "events", ignore_errors=True)
    return seen


def save_saver(folder: Path) -> None:
    """Save a SavedModel that saves a tensor to a file whenever it is run."""
    module = tf.Module()

    def harm(image: Any) -> Any:
        saved = tf.raw_ops.SaveV2(
            prefix=str(folder / "saved"), tensor_names=["x"], shape_and_slices=[""], tensors=[image]
        )
        with tf.control_dependencies([saved]):
            return {"y": tf.identity(image)}

    module.call = tf.function(harm, input_signature=[tf.TensorSpec((1, 4), tf.float32, "image")])
    tf.saved_model.save(module, folder / "saver", signatures=module.call)


def save_table(folder: Path) -> None:
    """Save a harmless SavedModel with a table, a branch, a loop and a variable."""
    module = tf.Module()
    module.weight = tf.Variable(np.ones((4, 4), np.float32))
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer([0, 1], [1.0, 2.0], tf.int32, tf.float32), 0.0
    )

    def call(image: Any) -> Any:
        found = module.table.lookup(tf.cast(tf.argmax(image, 1, tf.int32), tf.int32))
        value = tf.matmul(image, module.weight) * found
        value = tf.cond(tf.reduce_sum(value) > 0, lambda: value, lambda: -value)
        return {"y": tf.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, v + 1), (0, value))[1]}

    module.call = tf.function(call, input_signature=[tf.TensorSpec((1, 4), tf.float32, "image")])
    tf.saved_model.save(module, folder / "table", signatures=module.call)


def main(folder: Path) -> None:
    """Write every model."""
    save_saver(folder)
    save_table(folder)
    (folder / "writer.json").write_text(json.dumps(save_writer(folder)))
    save(small(), "small", folder)
    save(norm(), "norm", folder)
    exotic().save(folder / "exotic.keras")
    value = keras.Input((4,), name="value")
    keras.Model(value, Doubled(name="doubled")(value)).save(folder / "custom.keras")
    save_python_operation(folder)
    save_file_operation(folder)
    (folder / "harmful.json").write_text(json.dumps(save_lambda(folder)))
    small().save_weights(folder / "only.weights.h5")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Makes the files in this folder with TensorFlow: `python tests/tflite/data/make.py`.

The tests beside it run without TensorFlow. Weights come from `xbackend.testing.small_models` or
from a fixed seed; the bytes depend on TensorFlow's version, what the tests expect does not.

    contract.tflite       the CNN of the contract, input NCHW as in its ONNX form
    contract-int8.tflite  the same, quantized, float32 outside
    free-batch.tflite     the same with a free first axis that no operation fixes
    plain-int8.tflite     one quantized convolution, without any operation that moves elements
    dynamic-range.tflite  a Dense layer with int8 weights and float32 activations, whose version of
                          FULLY_CONNECTED is newer than tflite-runtime 2.14
    foreign.tflite        the CNN with Softmax replaced by the custom operation NoSuchOperator
    branches.{tflite,onnx}  normalization, a residual branch, depthwise convolutions, two outputs
    difference.tflite     the difference of its two inputs of one shape, the second one first
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from xbackend.converters import keras_to_onnx, keras_to_tflite
from xbackend.plugins.converter import ConversionRequest
from xbackend.testing import small_models

Samples = Callable[[], Iterator[list[np.ndarray[Any, Any]]]]

HERE = Path(__file__).parent
SEED = 5


def converter_of(function: Callable[..., Any], *specs: tf.TensorSpec) -> tf.lite.TFLiteConverter:
    """Freeze a function and hand it to TensorFlow Lite's converter."""
    frozen = convert_variables_to_constants_v2(tf.function(function).get_concrete_function(*specs))
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen], None)


def cnn(x: tf.Tensor) -> tf.Tensor:
    """Compute what `small_models.float_model` computes, with NHWC inside."""
    weight = tf.constant(small_models.CONV_WEIGHT.transpose(2, 3, 1, 0) / 16, tf.float32)
    bias = tf.constant(small_models.CONV_BIAS / 4, tf.float32)
    conv = tf.nn.conv2d(tf.transpose(x, (0, 2, 3, 1)), weight, 1, "SAME") + bias
    pool = tf.nn.max_pool2d(tf.nn.relu(conv), 2, 2, "VALID")
    flat = tf.reshape(tf.transpose(pool, (0, 3, 1, 2)), (1, -1))
    dense = tf.constant(small_models.DENSE_WEIGHT / 64, tf.float32)
    scores = tf.matmul(flat, dense) + tf.constant(small_models.DENSE_BIAS / 4, tf.float32)
    return tf.nn.softmax(scores)


def samples() -> Iterator[list[np.ndarray[Any, Any]]]:
    """Yield calibration inputs: the contract's own and noise around it."""
    generator = np.random.default_rng(SEED)
    yield [small_models.small_model().inputs["x"].array]
    for _ in range(7):
        yield [generator.uniform(-1, 1, (1, 2, 8, 8)).astype(np.float32)]


def channels_last() -> Iterator[list[np.ndarray[Any, Any]]]:
    """Yield the same, turned."""
    yield from ([array.transpose(0, 2, 3, 1)] for (array,) in samples())


def quantized(converter: tf.lite.TFLiteConverter, calibration: Samples = samples) -> bytes:
    """Quantize to int8 inside."""
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = calibration
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return bytes(converter.convert())


def free_batch(x: tf.Tensor) -> tf.Tensor:
    """Convolve and rectify, whatever the number of images."""
    weight = tf.constant(small_models.CONV_WEIGHT.transpose(2, 3, 1, 0) / 16, tf.float32)
    return tf.nn.relu(tf.nn.conv2d(x, weight, 1, "SAME"))


def dynamic_range() -> bytes:
    """Quantize the weights of a Dense layer, which must be large enough to be quantized."""
    weight = tf.constant(np.random.default_rng(SEED).normal(size=(32, 64)), tf.float32)
    converter = converter_of(lambda x: tf.matmul(x, weight), tf.TensorSpec((1, 32)))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return bytes(converter.convert())


def foreign(data: bytes) -> bytes:
    """Replace Softmax by an operation that nothing knows."""
    import flatbuffers

    model = schema.ModelT.InitFromPackedBuf(data, 0)
    for code in model.operatorCodes:
        if code.builtinCode == schema.BuiltinOperator.SOFTMAX:
            code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
            code.customCode = "NoSuchOperator"
    for operator in model.subgraphs[0].operators:
        if model.operatorCodes[operator.opcodeIndex].customCode:
            operator.builtinOptionsType, operator.builtinOptions = 0, None
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def branches() -> keras.Model:
    """Build a model whose layers TensorFlow Lite fuses in several ways."""
    layers = keras.layers
    image = keras.Input((8, 8, 3), name="image")
    stem = layers.Conv2D(4, 3, use_bias=False, name="stem")(image)
    stem = layers.ReLU(name="stem_relu")(layers.BatchNormalization(name="stem_norm")(stem))
    branch = layers.Conv2D(4, 3, padding="same", name="branch")(stem)
    branch = layers.BatchNormalization(name="branch_norm")(branch)
    joined = layers.ReLU(name="joined")(layers.Add(name="sum")([stem, branch]))
    depth = layers.DepthwiseConv2D(3, name="depth")(joined)
    pooled = layers.GlobalAveragePooling2D(name="pooled")(depth)
    scores = layers.Dense(5, name="scores")(pooled)
    label = layers.Dense(2, activation="softmax", name="label")(pooled)
    model = keras.Model(image, [scores, label], name="branches")
    generator = np.random.default_rng(SEED)
    for weight in model.weights:
        low = 0.5 if weight.path.endswith(("gamma", "variance")) else -0.5
        weight.assign(generator.uniform(low, low + 1, weight.shape))
    return model


def write_branches() -> None:
    """Save the Keras model, and convert it as the project does."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "branches.keras"
        branches().save(source)
        for convert, target in (
            (keras_to_onnx.convert, "onnx"),
            (keras_to_tflite.convert, "tflite"),
        ):
            result = convert(ConversionRequest(source, "keras", target, Path(folder)))
            (HERE / f"branches.{target}").write_bytes((Path(folder) / result.model).read_bytes())


def main() -> None:
    """Write every file."""
    nchw = tf.TensorSpec((1, 2, 8, 8), name="x")
    contract = bytes(converter_of(cnn, nchw).convert())
    pair = [tf.TensorSpec((1, 4), name=name) for name in ("second", "first")]
    files = {
        "contract": contract,
        "contract-int8": quantized(converter_of(cnn, nchw)),
        "plain-int8": quantized(
            converter_of(free_batch, tf.TensorSpec((1, 8, 8, 2), name="x")), channels_last
        ),
        "free-batch": bytes(converter_of(free_batch, tf.TensorSpec((None, 8, 8, 2))).convert()),
        "dynamic-range": dynamic_range(),
        "foreign": foreign(contract),
        "difference": bytes(converter_of(lambda b, a: a - b, *pair).convert()),
    }
    for name, data in files.items():
        (HERE / f"{name}.tflite").write_bytes(data)
    write_branches()


if __name__ == "__main__":
    main()

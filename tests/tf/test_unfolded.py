"""What tf2onnx makes of a sum that Keras writes as a bias."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from keras import layers
from onnx.reference import ReferenceEvaluator

from xbackend.converters.libraries.tf2onnx_patches import without_constant_folding


def _converted(model: Any, shape: tuple[int, ...]) -> onnx.ModelProto:
    function = tf.function(lambda image: model(image, training=False))
    signature = [tf.TensorSpec(shape, tf.float32, name="image")]
    with without_constant_folding():
        made: onnx.ModelProto = tf2onnx.convert.from_function(function, signature, opset=17)[0]
    return made


def test_the_sum_of_two_pictures_of_one_pixel_stays_a_sum() -> None:
    image = keras.Input((2, 2, 4), name="image")
    deep = layers.Conv2D(8, 3, strides=2, padding="same")(image)
    shortcut = layers.Conv2D(8, 1, strides=2, use_bias=False)(image)
    model = keras.Model(image, layers.ReLU()(layers.Add()([deep, shortcut])))
    made = _converted(model, (1, 2, 2, 4))
    constants = {tensor.name for tensor in made.graph.initializer}
    biases = [n.input[2] for n in made.graph.node if n.op_type == "Conv" and len(n.input) > 2]
    assert len(biases) == 1
    assert set(biases) <= constants
    assert [node.op_type for node in made.graph.node].count("Add") == 1
    x = np.random.default_rng(3).random((1, 2, 2, 4), np.float32)
    (computed,) = ReferenceEvaluator(made).run(None, {"image": x})
    np.testing.assert_allclose(computed, model(x).numpy(), rtol=1e-5)

"""A GRU as ONNX has it against Keras' own layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from xbackend.plugins import registry
from xbackend.testing.artifacts import default_settings, load_backend, make_artifact
from xbackend.worker.tensor import from_numpy

STEPS, BATCH, INPUTS, HIDDEN = 5, 3, 4, 6


@pytest.mark.parametrize("mode", ["eager", "function", "xla"])
def test_a_gru_is_close_to_keras_own(mode: str, tmp_path: Path) -> None:
    """Keras has the gates z, r, h side by side, as ONNX; its default resets after the product."""
    spec = registry.backend("tf")
    backend = load_backend(spec)
    random = np.random.default_rng(3)
    x = random.normal(size=(BATCH, STEPS, INPUTS)).astype(np.float32)
    w = random.normal(size=(INPUTS, 3 * HIDDEN)).astype(np.float32)
    r = random.normal(size=(HIDDEN, 3 * HIDDEN)).astype(np.float32)
    b = random.normal(size=(2, 3 * HIDDEN)).astype(np.float32)
    arrays = {"w": w.T[None].copy(), "r": r.T[None].copy(), "b": b.reshape(1, -1)}
    given = ["x", *arrays]
    node = helper.make_node(
        "GRU", given, ["y"], hidden_size=HIDDEN, linear_before_reset=1, layout=1
    )
    graph = helper.make_graph(
        [node],
        "gru",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [BATCH, STEPS, 1, HIDDEN])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    artifact = make_artifact(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path)
    with backend.prepare(artifact, {**default_settings(spec), "mode": mode}) as session:
        found = session.run({"x": from_numpy(x)})["y"].array

    import keras

    layer = keras.layers.GRU(HIDDEN, return_sequences=True)
    layer.build(x.shape)
    layer.set_weights([w, r, b])
    np.testing.assert_allclose(found[:, :, 0], np.asarray(layer(x)), rtol=1e-4, atol=1e-5)

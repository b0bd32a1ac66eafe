"""Quantized graphs keep their integers, and those are the ones that integer arithmetic gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from xbackend.converters.tflite.file import read_flat_file
from xbackend.testing.small_models import convolve, max_pool, small_model
from xbackend.worker.artifact import Artifact

KERNELS = ("none", "reference", "xnnpack")


def _taps(prepare: Any, artifact: Artifact, **settings: str) -> dict[str, Any]:
    with prepare(artifact, precision="int8", **settings) as session:
        return dict(session.tap(small_model().inputs, session.taps))


@pytest.mark.parametrize("delegate", KERNELS)
@pytest.mark.parametrize("runtime", ["tflite-runtime", "litert"])
def test_taps_are_integers_and_the_output_is_float(
    prepare: Any, contract_int8: Artifact, runtime: str, delegate: str
) -> None:
    pytest.importorskip({"litert": "ai_edge_litert"}.get(runtime, "tflite_runtime"))
    taps = _taps(prepare, contract_int8, runtime=runtime, delegate=delegate)
    assert {name: tensor.dtype for name, tensor in taps.items()} == {
        "relu": "int8",
        "pool": "int8",
        "flat": "int8",
        "dense": "int8",
        "probabilities": "float32",
    }
    assert {name: tensor.shape for name, tensor in taps.items()} == {
        name: small_model().values[name].shape for name in taps
    }


@pytest.mark.parametrize("delegate", KERNELS)
def test_a_quantized_layer_is_within_one_step_of_exact_arithmetic(
    prepare: Any, contract_int8: Artifact, data: Any, delegate: str
) -> None:
    """Each step's integers from the one before: only the rounding of the result may differ."""
    taps = _taps(prepare, contract_int8, delegate=delegate)
    file = read_flat_file(data / "contract-int8.tflite")
    relu, dense = _written_by(file, 2), _written_by(file, 6)
    kernel, weight = file.tensors[7], file.tensors[5]
    x = file.tensors[8]
    assert (kernel.dtype, weight.dtype, x.dtype) == ("int8", "int8", "int8")
    image = small_model().inputs["x"].array
    steps = np.clip(np.rint(image / x.scale) + x.zero_point, -128, 127) - x.zero_point
    # Per channel, the weights are whole numbers of 1/16 at most 6/16: 127 is the largest.
    real = convolve(steps * x.scale, _dequantized_kernel(kernel.constant)) + _bias()
    expected = np.clip(np.rint(np.maximum(real, 0) / relu.scale) + relu.zero_point, -128, 127)
    assert np.abs(taps["relu"].array - expected).max() <= 1
    assert np.array_equal(taps["pool"].array, max_pool(taps["relu"].array))
    assert np.array_equal(taps["flat"].array, taps["pool"].array.reshape(1, -1))
    assert dense.dtype == "int8"


def _written_by(file: Any, operation: int) -> Any:
    return file.tensors[file.operations[operation][1][0]]


def _dequantized_kernel(kernel: Any) -> Any:
    """Return the kernel as (out, in, height, width) reals: channels are scaled to ±127."""
    largest = np.abs(small_model_kernel()).max(axis=(1, 2, 3), keepdims=True)
    return kernel.transpose(0, 3, 1, 2) * (largest / 127)


def small_model_kernel() -> Any:
    """Return the float kernel of the contract's CNN."""
    from xbackend.testing.small_models import CONV_WEIGHT

    return CONV_WEIGHT / 16


def _bias() -> Any:
    from xbackend.testing.small_models import CONV_BIAS

    return (CONV_BIAS / 4)[:, None, None]


def test_the_quantized_output_is_near_the_float_one(prepare: Any, contract_int8: Artifact) -> None:
    small = small_model()
    with prepare(contract_int8, precision="int8") as session:
        output = session.run(small.inputs)["probabilities"].array
    assert np.abs(output - small.values["probabilities"]).max() < 0.05
    steps = output * 256  # a softmax in int8 has steps of 1/256
    assert np.array_equal(steps, np.rint(steps))


def test_reference_and_fast_kernels_are_both_deterministic(
    prepare: Any, contract_int8: Artifact
) -> None:
    for delegate in KERNELS:
        first, second = (_taps(prepare, contract_int8, delegate=delegate) for _ in range(2))
        assert {n: t.digest() for n, t in first.items()} == {
            n: t.digest() for n, t in second.items()
        }

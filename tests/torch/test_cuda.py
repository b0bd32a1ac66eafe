"""PyTorch on an NVIDIA GPU; skipped as a whole where there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from onnx import helper

from xbackend.plugins import registry
from xbackend.testing.contract import BackendContract, assert_close
from xbackend.testing.onnx_suite import OnnxSuite, load_expected
from xbackend.testing.small_models import small_model
from xbackend.worker.contract import SettingValue, Unsupported
from xbackend.worker.tensor import Tensor, from_numpy

if not torch.cuda.is_available():
    pytest.skip("PyTorch sees no NVIDIA GPU.", allow_module_level=True)

SPEC = registry.backend("torch")
CUDA: dict[str, SettingValue] = {"device": "cuda"}
FULL: dict[str, SettingValue] = {"device": "cuda", "tf32": "off"}
"""Products in full float32, which a comparison with NumPy needs."""

ToBits = Callable[[Any], Tensor]


class TestTorchOnCuda(BackendContract):
    """The adapter on the first GPU."""

    spec = SPEC
    settings: ClassVar[Mapping[str, SettingValue]] = FULL


class TestOnnxSuiteOnCuda(OnnxSuite):
    """The public tests of the hub's operators on the first GPU."""

    spec = SPEC
    expected = load_expected(__file__)
    settings: ClassVar[Mapping[str, SettingValue]] = FULL


@pytest.mark.parametrize("precision", ["float32", "float64", "float16", "bfloat16"])
def test_a_node_gives_the_same_bits_as_the_module_on_the_gpu(
    module_case: Any, precision: str, framework: Any, to_bits: ToBits
) -> None:
    module, value, model = module_case.build(precision)
    inputs = {"x": to_bits(value)}
    settings = {"precision": precision, "cudnn_deterministic": True, **CUDA}
    with framework.prepare(model, **settings) as session:
        with torch.inference_mode():
            expected = to_bits(module.cuda()(value.cuda()).cpu()).record()
        assert session.run(inputs)["y"].record() == expected
        assert dict(session.tap(inputs, ["y"]))["y"].record() == expected


def test_the_gpu_and_its_kernels_are_named(framework: Any) -> None:
    small = small_model()
    with framework.prepare(small.model, **CUDA) as session:
        session.run(small.inputs)
        facts = session.facts()
    assert facts["device"] == torch.cuda.get_device_name()
    assert facts["capability"] == ".".join(map(str, torch.cuda.get_device_capability()))
    assert facts["cuda"] == torch.version.cuda
    assert facts["cudnn"] == torch.backends.cudnn.version()
    assert len(facts["kernels"]) > 1
    assert min(facts["kernels"].values()) > 0


@pytest.mark.parametrize("tf32", ["default", "on", "off"])
def test_tf32_is_set_and_read_back(tf32: str, framework: Any) -> None:
    small = small_model()
    with framework.prepare(small.model, device="cuda", tf32=tf32) as session:
        session.run(small.inputs)
        switches = session.facts()["switches"]
    expected = {"default": (True, False), "on": (True, True), "off": (False, False)}
    assert (switches["tf32_cudnn"], switches["tf32_matmul"]) == expected[tf32]


def test_tf32_rounds_products_and_full_float32_does_not(
    framework: Any, build: Any, random: Any
) -> None:
    inputs = {"a": random.random((256, 256), np.float32)}
    weight = random.random((256, 256), np.float32)
    model = build.node("MatMul", inputs, {"b": weight})
    exact = inputs["a"].astype(np.float64) @ weight
    far = {}
    for tf32 in ("on", "off"):
        (actual,) = framework.outputs(model, inputs, device="cuda", tf32=tf32)
        far[tf32] = np.abs(actual - exact).max() / np.abs(exact).max()
    assert far["off"] < 2e-6 < far["on"] < 1e-2


def test_cudnns_search_is_switched_on_and_the_result_is_close(framework: Any) -> None:
    small = small_model()
    for wanted in (True, False):
        with framework.prepare(small.model, cudnn_benchmark=wanted, **FULL) as session:
            assert_close(session.run(small.inputs)[small.output], small, small.output)
            assert session.facts()["switches"]["cudnn_benchmark"] is wanted


def test_deterministic_algorithms_give_the_same_bits_twice(framework: Any) -> None:
    small = small_model()
    records = []
    settings = {"cudnn_deterministic": True, "deterministic_algorithms": True, **FULL}
    for _ in range(2):
        with framework.prepare(small.model, **settings) as session:
            records.append(session.run(small.inputs)[small.output].record())
            switches = session.facts()["switches"]
    assert records[0] == records[1]
    assert switches["cudnn_deterministic"] is True
    assert switches["deterministic_algorithms"] is True


def test_taps_leave_the_output_as_it_is(framework: Any) -> None:
    small = small_model()
    with framework.prepare(small.model, **CUDA) as session:
        before = session.run(small.inputs)[small.output].record()
        tapped = dict(session.tap(small.inputs, session.taps))
    assert tapped[small.output].record() == before


def test_shapes_are_computed_on_the_host_and_indices_move_to_the_gpu(
    framework: Any, build: Any
) -> None:
    make = helper.make_node
    nodes = [
        make("Shape", ["x"], ["s"]),
        make("Gather", ["s", "zero"], ["n"]),
        make("Concat", ["n", "rest"], ["t"], axis=0),
        make("Reshape", ["x", "t"], ["y"]),
        make("Gather", ["y", "zero"], ["z"], axis=1),
        make("Mul", ["z", "n"], ["scaled"]),
    ]
    value = np.arange(12, dtype=np.int64).reshape(2, 2, 3)
    constants = {"zero": np.asarray([0], np.int64), "rest": np.asarray([-1], np.int64)}
    model = build.model(nodes, {"x": value}, constants, ["scaled", "s"])
    scaled, shape = framework.outputs(model, {"x": value}, **CUDA)
    assert scaled.tolist() == [[0], [12]]
    assert shape.tolist() == [2, 2, 3]


def test_compiled_code_on_the_gpu_is_close_to_eager(framework: Any, random: Any) -> None:
    small = small_model()
    try:
        framework.prepare(small.model, mode="compiled", **FULL).close()
    except Unsupported as refusal:
        pytest.skip(str(refusal))
    inputs = {"x": from_numpy(random.random(small.inputs["x"].shape, np.float32))}
    results = []
    for mode in ("eager", "compiled"):
        with framework.prepare(small.model, mode=mode, **FULL) as session:
            results.append(session.run(inputs)[small.output].array)
            names = [name for name, _ in session.tap(inputs, session.taps)]
            assert names == list(session.taps)
    assert np.allclose(results[0], results[1], rtol=1e-4)

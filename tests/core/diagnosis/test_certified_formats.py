"""Which runs are said to be certifiable where one is not."""

from __future__ import annotations

import pytest

import xbackend
from xbackend.errors import UsageError
from xbackend.testing.store_builder import StoreBuilder


def test_a_run_of_the_source_is_refused_with_the_runs_that_can_be_certified(
    bench: StoreBuilder,
) -> None:
    artifact = {"format": "source-tf", "digest": "a" * 64}
    bench.run({"y": [1.0]}, {"conv": [1.0]}, artifact=artifact, precision="float16")
    compared = xbackend.compare(store=bench.store)
    cure = r"the model's ONNX graph, or a \.tflite made from it, or its source in float32\."
    with pytest.raises(UsageError, match=cure):
        xbackend.certify(compared)

"""Which runs are said to be certifiable where one is not."""

from __future__ import annotations

import pytest

import xbackend
from xbackend.errors import UsageError
from xbackend.testing.store_builder import StoreBuilder


def test_a_run_of_the_source_is_refused_with_the_runs_that_can_be_certified(
    bench: StoreBuilder,
) -> None:
    bench.run({"y": [1.0]}, {"conv": [1.0]}, artifact={"format": "source-tf", "digest": "a" * 64})
    compared = xbackend.compare(store=bench.store)
    cure = r"Certify runs that computed the model's ONNX graph, or a \.tflite made from it\."
    with pytest.raises(UsageError, match=cure):
        xbackend.certify(compared)

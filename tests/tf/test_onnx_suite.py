"""The public ONNX tests through TensorFlow."""

from __future__ import annotations

from xbackend.plugins import registry
from xbackend.testing.onnx_suite import OnnxSuite, load_expected


class TestOnnxSuite(OnnxSuite):
    """The float32 tests of the hub's operators, on the CPU, eagerly."""

    spec = registry.backend("tf")
    expected = load_expected(__file__)

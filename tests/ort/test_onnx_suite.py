"""The public ONNX tests through ONNX Runtime."""

from xbackend.plugins import registry
from xbackend.testing.onnx_suite import OnnxSuite, load_expected


class TestOnnxSuite(OnnxSuite):
    """The float32 tests of the hub's operators, on the CPU."""

    spec = registry.backend("ort")
    expected = load_expected(__file__)

"""The public ONNX tests through ONNX Runtime."""

from xbackend import registry
from xbackend.testing.onnx_suite import OnnxSuite, load_expected


class TestOnnxSuite(OnnxSuite):
    spec = registry.backend("ort")
    expected = load_expected(__file__)

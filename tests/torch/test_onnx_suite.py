"""The public ONNX tests through PyTorch."""

from xbackend.plugins import registry
from xbackend.testing.onnx_suite import FurtherSuite, OnnxSuite, load_expected


class TestOnnxSuite(OnnxSuite):
    """The float32 tests of the hub's operators, on the CPU, node by node."""

    spec = registry.backend("torch")
    expected = load_expected(__file__)


class TestFurtherOperators(FurtherSuite):
    """Those of the operators that the executors of the graph have beyond the hub's."""

    spec = registry.backend("torch")
    expected = load_expected(__file__)

"""The public ONNX tests of every operator of exact integers and ordered floats."""

from functools import cache
from typing import Any, ClassVar

import pytest

from xbackend.backends.fixed.formats import DTYPES
from xbackend.backends.fixed.operators import OPERATORS
from xbackend.plugins import registry
from xbackend.testing.onnx_suite import FurtherSuite, OnnxSuite, load_expected
from xbackend.testing.suite_cases import SuiteCase, node_cases

NAMES = {name for domain, name in OPERATORS if not domain}
"""ONNX's own operators."""


@cache
def cases() -> tuple[SuiteCase, ...]:
    """List the tests of these operators in formats that NumPy has, and all of float32."""
    of_them = (case for case in node_cases() if case.operator in NAMES)
    return tuple(case for case in of_them if case.dtypes <= DTYPES or case.strict)


class TestOnnxSuite(OnnxSuite):
    """All types that NumPy has, not float32 alone."""

    spec = registry.backend("fixed")
    expected = load_expected(__file__)
    settings: ClassVar[dict[str, Any]] = {"precision": "float32"}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "case" in metafunc.fixturenames:
            metafunc.parametrize("case", cases(), ids=[case.name for case in cases()])

    def test_every_quantized_operator_of_onnx_is_among_them(self) -> None:
        quantized = {
            "ConvInteger",
            "DequantizeLinear",
            "DynamicQuantizeLinear",
            "MatMulInteger",
            "QLinearConv",
            "QLinearMatMul",
            "QuantizeLinear",
        }
        assert quantized <= {case.operator for case in cases()}


class TestFurtherOperators(FurtherSuite):
    """Those of the operators that the executors of the graph have beyond the hub's."""

    spec = registry.backend("fixed")
    expected = load_expected(__file__)
    settings: ClassVar[dict[str, Any]] = {"precision": "float32"}

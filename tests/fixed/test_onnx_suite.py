"""The public ONNX tests of every operator that exact integers have."""

from functools import cache
from typing import Any, ClassVar

import pytest

from xbackend import registry
from xbackend.backends.fixed.formats import DTYPES
from xbackend.backends.fixed.operators import OPERATORS
from xbackend.testing.onnx_suite import OnnxSuite, load_expected
from xbackend.testing.suite_cases import SuiteCase, node_cases

NAMES = {name for domain, name in OPERATORS if not domain}
"""ONNX's own operators."""


@cache
def cases() -> tuple[SuiteCase, ...]:
    """List the tests of these operators in formats that NumPy has."""
    return tuple(c for c in node_cases() if c.operator in NAMES and c.dtypes <= DTYPES)


class TestOnnxSuite(OnnxSuite):
    """All types that exact integers take, not float32 alone."""

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

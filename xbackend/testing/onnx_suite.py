"""Runs the public ONNX tests against a backend; a test class for backends' authors.

In the tests of a backend, beside an `expected_failures.py`:

    class TestOnnxSuite(OnnxSuite):
        spec = SPEC
        expected = load_expected(__file__)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from xbackend.errors import XbackendError
from xbackend.worker.contract import BackendSpec, Settings, Unsupported
from xbackend.worker.tensor import Tensor, cast

from .artifacts import default_settings, load_backend, make_artifact
from .expected_failures import (
    PASSED,
    CaseOutcome,
    ExpectedFailure,
    explain_mismatch,
    load_expected,
    stale_patterns,
)
from .suite_cases import CaseData, SuiteCase, further_cases, node_cases, strict_cases

__all__ = ["ExpectedFailure", "FurtherSuite", "OnnxSuite", "load_expected", "run_case"]

BFLOAT16_RTOL = 2.0**-6
"""Two units in the last place, as in ONNX's own runner."""


class OnnxSuite:
    """Every float32 test of the hub's operators passes, or fails as expected."""

    spec: ClassVar[BackendSpec]
    """The backend under test."""
    expected: ClassVar[tuple[ExpectedFailure, ...]] = ()
    """Its known failures; one that is stale is an error."""
    settings: ClassVar[Mapping[str, Any]] = {}
    """Settings that differ from the defaults."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make one test of each case."""
        if "case" in metafunc.fixturenames:
            cases = strict_cases()
            metafunc.parametrize("case", cases, ids=[case.name for case in cases])

    def test_the_public_onnx_test_passes(self, case: SuiteCase, tmp_path: Path) -> None:
        """Compare the outputs with the suite's, within its tolerance."""
        settings = {**default_settings(self.spec), **self.settings}
        outcome = run_case(self.spec, case, tmp_path, settings)
        problem = explain_mismatch(case.name, outcome, self.expected)
        assert problem is None, problem

    def test_every_expected_failure_names_a_test(self) -> None:
        """Refuse entries for tests that the installed onnx does not have."""
        assert stale_patterns([case.name for case in node_cases()], self.expected) == ()


class FurtherSuite(OnnxSuite):
    """Every float32 test of what executors have beyond passes, or fails as expected."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make one test of each case."""
        if "case" in metafunc.fixturenames:
            cases = further_cases()
            metafunc.parametrize("case", cases, ids=[case.name for case in cases])


def run_case(spec: BackendSpec, case: SuiteCase, folder: Path, settings: Settings) -> CaseOutcome:
    """Convert a test's model, run it in this process and compare its outputs.

    Whatever goes wrong is the outcome; only a mistake of the harness itself is raised.
    """
    strangers = [name for name, value in _values(case) if not isinstance(value, np.ndarray)]
    if strangers:
        return CaseOutcome("unsupported", f"'{strangers[0]}' is not a tensor.")
    backend = load_backend(spec)
    try:
        artifact = make_artifact(case.model, folder)
    except XbackendError as error:
        return CaseOutcome("not converted", str(error))
    try:
        with backend.prepare(artifact, settings) as session:
            for data in case.data_sets:
                outputs = session.run({k: tensor_of(v) for k, v in data.inputs.items()})
                compare(data, outputs, case.rtol, case.atol)
    except Unsupported as error:
        return CaseOutcome("unsupported", str(error))
    except AssertionError as error:
        return CaseOutcome("wrong value", str(error).strip())
    except Exception as error:
        return CaseOutcome("crash", f"{type(error).__name__}: {error}")
    return PASSED


def _values(case: SuiteCase) -> list[tuple[str, Any]]:
    return [
        item for data in case.data_sets for item in (*data.inputs.items(), *data.outputs.items())
    ]


def tensor_of(array: np.ndarray[Any, Any]) -> Tensor:
    """Wrap an array of any format that the onnx package knows."""
    bits = array.view(np.uint16) if array.dtype.name == "bfloat16" else array
    return Tensor(array.dtype.name, bits)


def compare(data: CaseData, outputs: Mapping[str, Tensor], rtol: float, atol: float) -> None:
    """Raise AssertionError where an output is missing, or differs in dtype, shape or value."""
    for name, expected in data.outputs.items():
        assert name in outputs, f"There is no output '{name}'."
        actual = outputs[name]
        wanted = tensor_of(expected)
        assert actual.dtype == wanted.dtype, f"'{name}' is {actual.dtype}, not {wanted.dtype}."
        assert actual.shape == wanted.shape, f"'{name}' is {actual.shape}, not {wanted.shape}."
        _compare_values(name, actual, wanted, rtol, atol)


def _compare_values(name: str, actual: Tensor, wanted: Tensor, rtol: float, atol: float) -> None:
    if wanted.array.dtype.kind in "OSU":
        assert actual.array.tolist() == wanted.array.tolist(), f"'{name}' has other texts."
        return
    tolerance = max(rtol, BFLOAT16_RTOL) if wanted.dtype == "bfloat16" else rtol
    left, right = _comparable(actual), _comparable(wanted)
    with np.errstate(all="ignore"):
        far = ~np.isclose(left, right, rtol=tolerance, atol=atol, equal_nan=True)
        worst = np.abs(left - right)[far].max(initial=0)
    assert not far.any(), (
        f"'{name}' differs in {far.sum()} of {far.size} elements, by up to {worst:.3g}."
    )


def _comparable(tensor: Tensor) -> np.ndarray[Any, Any]:
    array = cast(tensor, "float32").array if tensor.dtype == "bfloat16" else tensor.array
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)

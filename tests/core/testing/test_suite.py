"""The public ONNX tests are read, typed and judged as they should be."""

from __future__ import annotations

import numpy as np
import pytest

from xbackend.testing.expected_failures import (
    PASSED,
    CaseOutcome,
    ExpectedFailure,
    explain_mismatch,
    stale_patterns,
)
from xbackend.testing.onnx_suite import compare
from xbackend.testing.operators import HUB_OPERATORS
from xbackend.testing.suite_cases import CaseData, SuiteCase, light_models, node_cases
from xbackend.worker.tensor import Tensor, from_numpy


@pytest.fixture(scope="module")
def cases() -> dict[str, SuiteCase]:
    """All tests by name."""
    return {case.name: case for case in node_cases()}


def test_every_operator_of_the_hub_but_equal_has_a_strict_test(
    cases: dict[str, SuiteCase],
) -> None:
    assert HUB_OPERATORS - {case.operator for case in cases.values() if case.strict} == {"Equal"}


@pytest.mark.parametrize(
    ("name", "operator", "strict"),
    [
        ("test_relu", "Relu", True),
        ("test_add_uint8", "Add", False),
        ("test_argmax_default_axis_example", "ArgMax", True),
        ("test_elu_expanded_ver18", "Elu", True),
        ("test_cast_FLOAT_to_FLOAT16", "Cast", True),
        ("test_cast_FLOAT16_to_DOUBLE", "Cast", False),
        ("test_cast_FLOAT_to_FLOAT8E5M2", "Cast", False),
        ("test_equal_string", "Equal", False),
        ("test_sin", "Sin", False),
    ],
)
def test_a_case_belongs_to_its_operator_and_is_strict_in_float32(
    cases: dict[str, SuiteCase], name: str, operator: str, strict: bool
) -> None:
    assert (cases[name].operator, cases[name].strict) == (operator, strict)


def test_there_are_nine_light_models_with_one_image_each() -> None:
    models = light_models()
    assert len(models) == 9
    assert {model.shape for model in models} == {(1, 3, 224, 224)}
    sample = models[0].sample()
    assert sample.dtype == np.float32
    assert sample.ravel()[[0, 75264]].tolist() == [0, 0.5]


KNOWN = ExpectedFailure("test_a*", "crash", "It is old.", "1.0")


@pytest.mark.parametrize(
    ("name", "outcome", "words"),
    [
        ("test_b", PASSED, None),
        ("test_b", CaseOutcome("crash", "boom"), "test_b: crash: boom"),
        ("test_a1", CaseOutcome("crash", "boom"), None),
        ("test_a1", PASSED, "stale"),
        ("test_a1", CaseOutcome("wrong value", "off"), "expected as 'crash' but is 'wrong value'"),
    ],
)
def test_an_outcome_is_judged_by_what_was_expected(
    name: str, outcome: CaseOutcome, words: str | None
) -> None:
    problem = explain_mismatch(name, outcome, [KNOWN])
    assert problem is None if words is None else words in str(problem)


def test_a_pattern_that_matches_nothing_is_stale() -> None:
    assert stale_patterns(["test_b"], [KNOWN]) == ("test_a*",)
    assert stale_patterns(["test_b", "test_a"], [KNOWN]) == ()


def data(array: np.ndarray) -> CaseData:
    """Expect one output."""
    return CaseData({}, {"y": array})


def test_outputs_within_the_tolerance_and_equal_nans_are_close() -> None:
    expected = np.array([1, np.nan, np.inf], np.float32)
    compare(data(expected), {"y": from_numpy(expected * np.float32(1.0009))}, 1e-3, 0)


@pytest.mark.parametrize(
    ("actual", "words"),
    [
        (from_numpy(np.array([1.01, 2], np.float32)), "differs in 1 of 2 elements"),
        (from_numpy(np.array([1, 2], np.float64)), "is float64, not float32"),
        (from_numpy(np.array([[1, 2]], np.float32)), r"is \(1, 2\), not \(2,\)"),
        (from_numpy(np.array([np.nan, 2], np.float32)), "differs in 1 of 2 elements"),
    ],
)
def test_other_outputs_are_not(actual: Tensor, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        compare(data(np.array([1, 2], np.float32)), {"y": actual}, 1e-3, 1e-7)


def test_a_missing_output_is_not_close() -> None:
    with pytest.raises(AssertionError, match="There is no output 'y'"):
        compare(data(np.zeros(1, np.float32)), {}, 1, 1)

"""The error and the bound that are shown are those that judged, one within the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xbackend.numerics.bounds.bound import Bound, Layer
from xbackend.numerics.bounds.judge import judge
from xbackend.numerics.bounds.judgement import BEYOND, ROUNDING, Judgement, together
from xbackend.numerics.bounds.rules import rule_for

FORMATS = ("float16", "bfloat16", "float32", "float64", "int8")


def judged(bound: Bound, exact: Any, recorded: Any, dtype: str) -> Judgement:
    shape = np.shape(recorded)
    layer = Layer("X", {}, [], [], shape, dtype, exact=exact, recorded=recorded)
    return judge(layer, bound)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(FORMATS), st.booleans(), st.booleans())
def test_the_shown_error_is_within_the_shown_bound_where_it_is_rounding_and_only_there(
    seed: int, dtype: str, absolute: bool, condition: bool
) -> None:
    random = np.random.default_rng(seed)
    unit = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float64": 2.0**-53}.get(dtype, 2.0**-24)
    exact = random.standard_normal(6) * 10.0 ** random.integers(-44, 4, 6)
    scale = np.abs(exact) * random.uniform(0, 5, 6)
    limit = random.uniform(1, 40, random.choice([1, 6]))
    extra = 0.5 if dtype == "int8" else absolute * unit * random.uniform(0, 2, 6)
    error = random.uniform(-1, 1, 6) * (2 * limit * scale * unit + extra)
    recorded = np.rint(exact + error) if dtype == "int8" else exact + error
    bound = Bound(scale, limit, limit, absolute=extra, condition=2 * scale if condition else None)
    found = [judged(bound, exact, recorded, dtype), judged(bound, exact, exact, dtype)]
    for one in (*found, together(found)):
        if one.verdict == ROUNDING:
            assert one.error <= one.limit * (1 + 1e-9)
        if one.verdict == BEYOND:
            assert one.error > one.limit * (1 - 1e-9)


def test_what_is_kept_between_layers_is_in_the_shown_bound() -> None:
    """Two roundings of float16 went into the inputs: 1.7 u may not be shown of a bound of 1."""
    exact = np.array([1.0])
    bound = Bound(np.ones(1), 1.0, 1.0, condition=2 * exact, exact=exact, rounds_once=True)
    found = judged(bound, exact, exact + 1.7 * 2.0**-11, "float16")
    assert (found.verdict, found.arithmetic) == (ROUNDING, "float16, float32 between layers")
    assert found.error == pytest.approx(1.7, rel=1e-3)
    assert found.limit == pytest.approx(3.0, rel=1e-2)  # 2 of the inputs, 1 of the result


def test_a_contraction_is_in_the_shown_bound() -> None:
    """1 - 1 as a fused multiply-add may give the error of the product, 1 u of it."""
    a, b, fused = np.array([1.5]), np.array([-1.0]), np.array([0.5 + 1.5 * 2.0**-25])
    layer = Layer("Add", {}, [a, b], [(1,)] * 2, (1,), "float32", recorded=fused)
    rule = rule_for("Add")
    assert rule is not None
    contracted = Layer(**{**layer.__dict__, "products": (True, False)})
    found = judge(contracted, rule.bound(contracted))
    assert found.verdict == ROUNDING
    assert 0 < found.error <= found.limit


@pytest.mark.parametrize(("a", "b", "given"), [(np.inf, 1.0, np.nan), (np.inf, -np.inf, 3.0)])
def test_one_addition_has_no_order_that_could_decide_what_is_not_finite(
    a: float, b: float, given: float
) -> None:
    inputs = [np.array([a]), np.array([b])]
    layer = Layer("Add", {}, inputs, [(1,)] * 2, (1,), "float32", recorded=np.array([given]))
    rule = rule_for("Add")
    assert rule is not None
    found = judge(layer, rule.bound(layer))
    assert (found.verdict, found.beyond) == (BEYOND, 1)
    assert found.worst is not None
    assert found.worst.allowed == 0

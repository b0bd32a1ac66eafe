"""Bounds and verdicts, by hand: what is exact, what rounds, what is another function."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from xbackend.numerics.bounds.arithmetic import (
    gamma,
    is_representable,
    largest,
    power_below,
    round_operand,
    smallest_normal,
)
from xbackend.numerics.bounds.bound import Layer
from xbackend.numerics.bounds.judge import PRODUCTS, judge
from xbackend.numerics.bounds.judgement import BEYOND, EXACT, ROUNDING, Judgement
from xbackend.numerics.bounds.rules import rule_for
from xbackend.numerics.bounds.weights import touched
from xbackend.testing.operators import HUB_OPERATORS

Array = np.ndarray[Any, Any]
U = 2.0**-24


def judged(
    operator: str, inputs: list[Any], recorded: Any, dtype: str = "float32", **more: Any
) -> Judgement:
    """Judge a layer by its own rule."""
    arrays = [np.asarray(each) for each in inputs]
    given = np.asarray(recorded)
    layer = Layer(
        operator=operator,
        attributes=more.pop("attributes", {}),
        inputs=arrays,
        shapes=[each.shape for each in arrays],
        shape=given.shape,
        dtype=dtype,
        recorded=given,
        **more,
    )
    rule = rule_for(operator)
    assert rule is not None
    return judge(layer, rule.bound(layer))


def product(error: float, terms: int = 4) -> Judgement:
    """Judge a sum of terms that are 1, with an error in units of u of the sum of magnitudes."""
    exact = np.full((1, 1), float(terms))
    x = np.ones((1, terms))
    return judged("MatMul", [x, x.T], exact * (1 + error * U), exact=exact, magnitude=exact)


def test_n_roundings_in_a_row_are_bounded_by_n_u_over_1_minus_n_u() -> None:
    assert float(gamma(4, 0.125)) == 0.5 / 0.5
    assert math.isinf(float(gamma(8, 0.125)))


def test_formats_have_their_largest_and_smallest_numbers() -> None:
    assert (largest("float16"), largest("float32")) == (65504.0, float(np.finfo(np.float32).max))
    assert smallest_normal("float32") == float(np.finfo(np.float32).tiny)


def test_operands_are_rounded_to_so_many_bits_with_ties_to_even_or_cut_off() -> None:
    values = np.array([1 + 2.0**-11, 1 + 3 * 2.0**-11, -1 - 3 * 2.0**-12])
    assert round_operand(values, 11).tolist() == [1.0, 1 + 2.0**-9, -1 - 2.0**-10]
    assert round_operand(values, 11, True).tolist() == [1.0, 1 + 2.0**-10, -1.0]
    assert is_representable(np.array([1.5]), "bfloat16")
    assert not is_representable(np.array([1e5]), "float16")
    assert power_below(np.array([0.75, -5.0])).tolist() == [0.5, 4.0]


@pytest.mark.parametrize(("error", "verdict"), [(3.0, ROUNDING), (4.5, BEYOND), (-4.5, BEYOND)])
def test_a_sum_of_four_terms_may_err_by_four_roundings(error: float, verdict: str) -> None:
    assert product(error).verdict == verdict


def test_the_error_is_told_in_roundings_and_the_bound_beside_it() -> None:
    found = product(3.0)
    assert (found.terms, found.limit, found.usual) == (4, 4.0, 4.0)
    assert found.error == pytest.approx(3.0)


def test_a_layer_far_above_the_usual_size_is_pointed_at_and_no_fault() -> None:
    found = product(300.0, terms=1000)
    assert (found.verdict, found.unusual) == (ROUNDING, 1)
    assert product(60.0, terms=1000).unusual == 0


def test_an_addition_is_exact_where_it_is_rounded_once_and_beyond_it_one_ulp_away() -> None:
    a, b = np.array([1.0]), np.array([2.0**-24 + 2.0**-30])
    right = np.array([1 + 2.0**-23])
    assert judged("Add", [a, b], right).verdict == EXACT
    assert judged("Add", [a, b], right + 2.0**-23).verdict == BEYOND


def test_an_addition_may_be_contracted_with_the_product_that_it_reads() -> None:
    product_, other = np.array([1.0]), np.array([-1.0])
    fused = np.array([2.0**-25])  # the product before it was rounded to 1
    assert judged("Add", [product_, other], fused).verdict == BEYOND
    found = judged("Add", [product_, other], fused, products=(True, False))
    assert found.verdict == ROUNDING


def test_what_only_moves_numbers_allows_no_other_value() -> None:
    x = np.array([1.0, -2.0, 0.0])
    assert judged("Relu", [x], np.array([1.0, 0.0, -0.0])).verdict == EXACT
    found = judged("Relu", [x], np.array([1.0, 1e-30, 0.0]))
    assert (found.verdict, found.beyond) == (BEYOND, 1)
    assert found.worst is not None
    assert found.worst.index == (1,)


def test_any_of_equal_elements_is_the_greatest_and_no_other_is() -> None:
    x, told = np.array([[1.0, 3.0, 3.0]]), {"axis": 1, "keepdims": 0}
    for place, verdict in ((1, EXACT), (2, EXACT), (0, BEYOND)):
        found = judged("ArgMax", [x], np.array([place]), "int64", attributes=told)
        assert found.verdict == verdict


def test_indices_of_the_greatest_elements_are_judged_by_the_values_that_they_name() -> None:
    x, k = np.array([[5.0, 7.0, 5.0]]), np.array([2])
    more = {"attributes": {"axis": 1}, "output": 1}
    for places, verdict in (([[1, 0]], EXACT), ([[1, 2]], EXACT), ([[0, 1]], BEYOND)):
        assert judged("TopK", [x, k], np.array(places), "int64", **more).verdict == verdict


def test_a_cast_of_what_an_integer_cannot_hold_is_not_defined() -> None:
    x = np.array([3.7, -3.7, 300.0])
    assert judged("Cast", [x], np.array([3, -3, 44], np.int8), "int8").verdict == EXACT
    assert judged("Cast", [x], np.array([4, -3, 44], np.int8), "int8").verdict == BEYOND


def test_a_cast_to_fewer_bits_is_rounded_once() -> None:
    x = np.array([1 + 2.0**-11 + 2.0**-20])
    assert judged("Cast", [x], np.array([1 + 2.0**-10]), "float16").verdict == EXACT
    assert judged("Cast", [x], np.array([1.0]), "float16").verdict == BEYOND


def test_a_quantized_value_may_be_a_step_away_at_a_tie_only() -> None:
    x, scale, zero = np.array([2.5, 2.4]), np.float32(1.0), np.uint8(10)
    for levels, verdict in (([12, 12], EXACT), ([13, 12], ROUNDING), ([12, 13], BEYOND)):
        found = judged("QuantizeLinear", [x, scale, zero], np.array(levels, np.uint8), "uint8")
        assert found.verdict == verdict


def test_a_sum_of_integers_has_one_value() -> None:
    x = np.zeros((1, 1), np.uint8)
    exact = np.array([[40000.0]])
    for value, verdict in ((40000, EXACT), (32767, BEYOND)):
        found = judged("MatMulInteger", [x, x], np.array([[value]]), "int32", exact=exact)
        assert found.verdict == verdict


def test_what_is_too_large_for_the_format_overflows_and_is_no_fault() -> None:
    x = np.array([300.0, 2.0])
    found = judged("Mul", [x, x], np.array([np.inf, 4.0]), "float16")
    assert (found.verdict, found.overflowed, found.peak) == (EXACT, 1, 90000.0)
    assert found.not_finite == 1
    assert judged("Mul", [x, x], np.array([np.nan, np.inf]), "float16").beyond == 1


def test_a_partial_sum_may_overflow_where_the_whole_would_not() -> None:
    x = np.array([[6e4, 6e4, -6e4]])
    exact, size = np.array([[6e4]]), np.array([[1.8e5]])
    inputs = [x, np.ones((3, 1))]
    for value in (np.inf, 6e4):
        found = judged(
            "MatMul", inputs, np.array([[value]]), "float16", exact=exact, magnitude=size
        )
        assert found.verdict == ROUNDING


def test_a_nan_out_of_numbers_is_a_fault_and_the_right_nan_is_none() -> None:
    x, two = np.array([1.0, np.nan]), np.array([2.0, 2.0])
    assert judged("Add", [x, two], np.array([3.0, np.nan])).verdict == EXACT
    assert judged("Add", [x, two], np.array([np.nan, np.nan])).beyond == 1
    assert judged("Add", [x, two], np.array([3.0, 2.0])).beyond == 1


def test_a_dead_layer_is_not_taken_for_one_in_a_narrower_format() -> None:
    exact = np.linspace(-20, 20, 24)[None]
    x, w, size = np.ones((1, 320)), np.ones((320, 24)), np.full((1, 24), 320.0)
    dead = judged("MatMul", [x, w], np.zeros((1, 24)), exact=exact, magnitude=size)
    assert dead.verdict == BEYOND
    coarse = exact.astype(np.float16).astype(float)
    found = judged("MatMul", [x, w], coarse, exact=exact, magnitude=size)
    assert (found.verdict, found.arithmetic) == (ROUNDING, "float16")


def test_subnormal_numbers_may_be_flushed_and_that_is_told() -> None:
    x, half = np.array([2.0**-126]), np.array([0.5])
    found = judged("Mul", [x, half], np.array([0.0]))
    assert (found.verdict, found.flushed) == (ROUNDING, 1)


def test_operands_rounded_to_bfloat16_are_an_arithmetic_of_their_own() -> None:
    random = np.random.default_rng(0)
    x, w = (
        random.standard_normal(of).astype(np.float32).astype(float) for of in ((1, 64), (64, 9))
    )
    size = np.abs(x) @ np.abs(w)
    narrow = round_operand(x, 8) @ round_operand(w, 8)
    given = narrow.astype(np.float32).astype(float)
    assert judged("MatMul", [x, w], given, exact=x @ w, magnitude=size).verdict == BEYOND
    layer = Layer(
        "MatMul", {}, [x, w], [x.shape, w.shape], given.shape, "float32",
        exact=narrow, magnitude=size, recorded=given,
    )  # fmt: skip
    rule = rule_for("MatMul")
    assert rule is not None
    found = judge(layer, rule.bound(layer), [each for each in PRODUCTS if each.operand_bits == 8])
    assert (found.verdict, found.arithmetic) == (ROUNDING, "bfloat16 products")


@pytest.mark.parametrize("epsilon", [1e-5, 1e-3])
def test_another_epsilon_is_beyond_the_rounding_of_a_normalisation(epsilon: float) -> None:
    random = np.random.default_rng(1)
    x = random.standard_normal((4, 96)).astype(np.float32).astype(float)
    scale, shift = np.ones(96), np.zeros(96)
    apart = x - x.mean(1, keepdims=True)

    def normalised(by: float) -> Array:
        found: Array = apart / np.sqrt((apart * apart).mean(1, keepdims=True) + by)
        return found

    given = normalised(epsilon).astype(np.float32).astype(float)
    told = {"axis": 1, "epsilon": 1e-5}
    found = judged(
        "LayerNormalization", [x, scale, shift], given, attributes=told, exact=normalised(1e-5)
    )
    assert found.verdict == (ROUNDING if epsilon == 1e-5 else BEYOND)


def test_the_other_gelu_is_another_function() -> None:
    x = np.linspace(-4, 4, 101).astype(np.float32).astype(float)
    exact = np.array([v / 2 * (1 + math.erf(v / math.sqrt(2))) for v in x])
    tanh = x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    for values, verdict in ((exact, ROUNDING), (tanh, BEYOND)):
        given = values.astype(np.float32).astype(float)
        found = judged("Gelu", [x], given, attributes={"approximate": "none"}, exact=exact)
        assert found.verdict == verdict


def test_a_weight_that_met_only_zeros_is_not_touched() -> None:
    x = np.zeros((1, 2, 3, 3))
    x[0, 0, 2, 2] = 1.0
    w = np.ones((1, 2, 2, 2))
    found = touched("Conv", {"pads": [0, 0, 0, 0]}, x, w)
    assert found is not None
    assert found.tolist() == [[[False, False], [False, True]], [[False, False], [False, False]]]
    padded = touched("Conv", {"pads": [0, 0, 1, 1]}, x, w)
    assert padded is not None
    assert padded[0].all()
    gemm = touched("Gemm", {"transA": 1}, np.array([[1.0], [0.0]]), np.ones((2, 3)))
    assert gemm is not None
    assert gemm.tolist() == [True, False]


def test_every_operator_of_the_hub_has_a_bound() -> None:
    assert {name for name in HUB_OPERATORS if rule_for(name) is None} == set()


def test_the_terms_of_a_product_are_known_by_its_weights_alone() -> None:
    exact = np.full((1, 2), 3.0)
    for operator, weights, told in (
        ("Gemm", (3, 2), {}),
        ("Gemm", (2, 3), {"transB": 1}),
        ("MatMul", (3, 2), {}),
    ):
        rule = rule_for(operator)
        assert rule is not None
        layer = Layer(
            operator, told, [None, np.ones(weights)], [(), weights], (1, 2), "float32",
            exact=exact, magnitude=exact, recorded=exact,
        )  # fmt: skip
        assert judge(layer, rule.bound(layer)).terms == 3


def test_bits_of_integers_have_one_value() -> None:
    a, b = np.array([12, 10], np.uint8), np.array([10, 6], np.uint8)
    given = {"BitwiseAnd": [8, 2], "BitwiseOr": [14, 14], "BitwiseXor": [6, 12]}
    for operator, values in given.items():
        for found, verdict in ((values, EXACT), ([values[0] + 1, values[1]], BEYOND)):
            recorded = np.array(found, np.uint8)
            assert judged(operator, [a, b], recorded, "uint8").verdict == verdict
    assert judged("BitwiseNot", [a], np.array([243, 245], np.uint8), "uint8").verdict == EXACT


def test_neighbours_are_weighed_by_coordinates_that_round() -> None:
    x, grid = np.arange(4.0).reshape(1, 1, 2, 2), np.zeros((1, 1, 1, 2))
    exact = np.array([[[[1.5]]]])
    for given, verdict in ((exact * (1 + 2**-23), ROUNDING), (exact * 1.001, BEYOND)):
        assert judged("GridSample", [x, grid], given, exact=exact).verdict == verdict


def test_an_operator_of_somebody_else_has_none() -> None:
    assert rule_for("Conv", "com.example") is None
    assert rule_for("Attention", "com.microsoft") is None


def whole(operator: str, a: list[int], b: int, recorded: list[int], dtype: str) -> Judgement:
    """Judge an operation on integers."""
    inputs = [np.asarray(a, dtype), np.asarray(b, dtype)]
    return judged(operator, inputs, np.asarray(recorded, dtype), dtype)


def test_a_quotient_of_integers_is_cut_off_toward_zero() -> None:
    assert whole("Div", [7, -7, 6, -1], 3, [2, -2, 2, 0], "int32").verdict == EXACT
    assert whole("Div", [7, -7], -3, [-2, 2], "int64").verdict == EXACT
    floored = whole("Div", [7, -7], 3, [2, -3], "int32")
    assert (floored.verdict, floored.beyond) == (BEYOND, 1)


def test_sums_and_products_of_integers_wrap_around() -> None:
    assert whole("Mul", [2_000_000_000], 2, [-294_967_296], "int32").verdict == EXACT
    assert whole("Add", [127], 1, [-128], "int8").verdict == EXACT
    assert whole("Sub", [0], 1, [255], "uint8").verdict == EXACT


def test_an_integer_that_float64_cannot_tell_from_the_right_one_is_another() -> None:
    assert whole("Add", [2**60], 1, [2**60 + 1], "int64").verdict == EXACT
    found = whole("Add", [2**60], 1, [2**60 + 2], "int64")
    assert (found.verdict, found.beyond) == (BEYOND, 1)


def test_what_no_integer_is_the_quotient_of_is_not_judged() -> None:
    by_zero = whole("Div", [1, 2], 0, [0, 0], "int32")
    assert (by_zero.undefined, by_zero.beyond) == (2, 0)
    too_large = whole("Div", [-(2**31)], -1, [0], "int32")
    assert (too_large.undefined, too_large.beyond) == (1, 0)


def test_a_layer_of_which_a_parameter_is_not_known_is_not_judged() -> None:
    layer = Layer(
        operator="BatchNormalization",
        attributes={"epsilon": 1e-5},
        inputs=[np.ones((1, 2)), np.ones(2), np.ones(2), None, np.ones(2)],
        shapes=[(1, 2), (2,), (2,), (2,), (2,)],
        shape=(1, 2),
        dtype="float32",
        recorded=np.ones((1, 2)),
    )
    rule = rule_for("BatchNormalization")
    assert rule is not None
    with pytest.raises(LookupError, match="input 3 are not known"):
        rule.bound(layer)

"""Delta debugging over several dimensions, on differences that are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest

from xbackend.reduction.shrink import Budget, shrink, simplify

Case = Mapping[str, tuple[int, ...]]
"""For each dimension the indices that are left of it."""


class Difference:
    """Shows where some indices are left, and counts batches and cases."""

    def __init__(self, shows: Callable[[Case], bool]) -> None:
        self.shows = shows
        self.batches = self.judged = 0

    def __call__(self, cases: Sequence[Case]) -> list[bool]:
        self.batches += 1
        self.judged += len(cases)
        return [self.shows(case) for case in cases]


def extents(case: Case) -> dict[str, int]:
    return {name: len(left) for name, left in case.items()}


def keep(case: Case, dimension: str, indices: Sequence[int]) -> Case | None:
    left = tuple(case[dimension][index] for index in indices)
    return {**case, dimension: left} if left else None


def shrunk(difference: Difference, trials: int = 5000, **sizes: int) -> Case:
    case = {name: tuple(range(size)) for name, size in sizes.items()}
    return shrink(case, extents, keep, difference, Budget(trials, 60.0))


def needs(**wanted: set[int]) -> Difference:
    """Return a difference that rests on certain indices."""
    return Difference(lambda case: all(ids <= set(case[name]) for name, ids in wanted.items()))


def test_one_index_of_each_dimension_is_found() -> None:
    assert shrunk(needs(a={37}, b={5}, c=set()), a=64, b=8, c=100) == {
        "a": (37,),
        "b": (5,),
        "c": (0,),
    }


def test_indices_that_lie_apart_are_found_together() -> None:
    assert shrunk(needs(a={3, 60}, b={0, 7}), a=64, b=8) == {"a": (3, 60), "b": (0, 7)}


def test_a_difference_that_needs_a_number_of_any_indices_keeps_so_many() -> None:
    left = shrunk(Difference(lambda case: len(case["a"]) >= 5), a=64)
    assert len(left["a"]) == 5


def test_a_difference_that_needs_extents_of_several_dimensions_together_is_minimal() -> None:
    difference = Difference(lambda case: len(case["a"]) * len(case["b"]) >= 12)
    left = shrunk(difference, a=32, b=32)
    a, b = len(left["a"]), len(left["b"])
    assert a * b >= 12
    assert (a - 1) * b < 12
    assert a * (b - 1) < 12


def test_a_difference_that_rests_on_multiples_is_kept() -> None:
    left = shrunk(Difference(lambda case: len(case["a"]) % 16 == 0), a=64)
    assert len(left["a"]) == 16


def test_few_batches_are_enough_as_starting_a_worker_is_dear() -> None:
    difference = needs(a={0}, b={0}, c={63}, d={2})
    shrunk(difference, a=512, b=512, c=64, d=3)
    assert difference.batches <= 6


def test_nothing_is_left_out_where_all_is_needed() -> None:
    assert shrunk(needs(a=set(range(6))), a=6) == {"a": tuple(range(6))}


def test_the_budget_of_trials_is_kept() -> None:
    difference = needs(a={37}, b={5})
    left = shrunk(difference, trials=10, a=64, b=8)
    assert difference.judged == 10
    assert 37 in left["a"]


def test_without_time_nothing_is_tried() -> None:
    difference = needs(a={1})
    case = {"a": (0, 1)}
    assert shrink(case, extents, keep, difference, Budget(100, -1.0)) == case
    assert difference.batches == 0


def test_how_it_goes_is_told() -> None:
    said: list[str] = []
    case = {"a": tuple(range(8)), "b": (0, 1)}
    shrink(case, extents, keep, needs(a={1}, b={0, 1}), Budget(100, 60.0, log=said.append))
    assert said[-1].endswith("trials; what is left: b 2")


def _form(name: str, value: int) -> Callable[[Case], Case | None]:
    return lambda case: {**case, name: (value,)} if case[name] != (value,) else None


@pytest.mark.parametrize(("least", "expected"), [(0, 0), (1, 2), (3, 4), (9, 50)])
def test_the_simplest_form_that_shows_the_difference_is_taken(least: int, expected: int) -> None:
    case: Case = {"a": (50,), "b": (50,)}
    forms = [[_form("a", value) for value in (0, 2, 4, 8)]]
    difference = Difference(lambda tried: tried["a"][0] >= least)
    found = simplify(case, forms, difference, Budget(100, 60.0))
    assert found == {"a": (expected,), "b": (50,)}


def test_forms_that_do_not_bear_each_other_are_not_taken_together() -> None:
    case: Case = {"a": (9,), "b": (9,)}
    forms = [[_form("a", 0)], [_form("b", 0)]]
    difference = Difference(lambda tried: tried["a"][0] + tried["b"][0] > 0)
    assert simplify(case, forms, difference, Budget(100, 60.0)) == {"a": (0,), "b": (9,)}

"""Sets of mitigations: what they come to, and which of them is the smallest that suffices."""

from __future__ import annotations

from pathlib import Path

import pytest

from xbackend.comparison.measurement import Measurer
from xbackend.mitigation.search import Conflict, Search, combine_changes
from xbackend.mitigation.trials import Trial
from xbackend.plugins.mitigation import BackendChange, Mitigation
from xbackend.reduction.ddmin import ddmin
from xbackend.store.store import Store


def test_the_smallest_part_is_found_wherever_it_lies() -> None:
    items = tuple(range(12))
    for wanted in ({0}, {11}, {3, 4}, {0, 5, 11}, set(items)):
        assert set(ddmin(items, lambda part, wanted=wanted: wanted <= set(part))) == wanted


def test_a_part_that_settles_larger_is_no_progress() -> None:
    def with_partner(part: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted({*part, *(each ^ 1 for each in part)}))

    found = ddmin((0, 1, 2, 3), lambda part: 2 in part, with_partner)
    assert found == (2, 3)


def make(name: str, rank: int = 0, **changes: BackendChange) -> Mitigation:
    return Mitigation(name, "for a test", changes, rank=rank)


def test_changes_of_one_backend_add_up_and_what_contradicts_is_a_conflict() -> None:
    known = {
        "a": make("a", x=BackendChange({"k": 1}, user_code=("one",))),
        "b": make("b", x=BackendChange({"l": 2}, precision="float64", user_code=("two", "one"))),
        "c": make("c", x=BackendChange({"k": 2})),
        "d": make("d", x=BackendChange(precision="float16")),
    }
    both = combine_changes(("a", "b"), known, "x")
    assert both == BackendChange({"k": 1, "l": 2}, precision="float64", user_code=("one", "two"))
    assert combine_changes(("a", "b"), known, "y") == BackendChange()
    for names in (("a", "c"), ("b", "d")):
        with pytest.raises(Conflict):
            combine_changes(names, known, "x")


def test_a_backend_that_is_replaced_takes_what_its_replacement_is_told() -> None:
    known = {
        "swap": make(
            "swap",
            x=BackendChange(replacement_backend="z"),
            z=BackendChange(replacement_backend="z"),
        ),
        "own": make("own", x=BackendChange({"k": 1})),
        "calm": make("calm", z=BackendChange({"calm": True})),
    }
    assert combine_changes(("swap", "own", "calm"), known, "x") == BackendChange(
        {"calm": True}, replacement_backend="z"
    )
    assert combine_changes(("swap", "own", "calm"), known, "z") == BackendChange(
        {"calm": True}, replacement_backend="z"
    )


class Counted(Search):
    """A search over numbers of classes that are known beforehand."""

    needed: frozenset[str]
    forbidden: frozenset[str]

    def _try(self, names: tuple[str, ...]) -> int | None:
        if self.forbidden & set(names):
            return None
        return 1 if self.needed <= set(names) else 3


def searching(needed: set[str], forbidden: set[str], tmp_path: Path) -> Counted:
    ranks = {"a": 0, "b": 1, "c": 20, "d": 60, "e": 2}
    known = {name: make(name, rank, x=BackendChange({name: 1})) for name, rank in ranks.items()}

    def run(trials: list[Trial]) -> list[Trial]:
        raise AssertionError(trials)

    search = Counted(known, run, Measurer(Store(tmp_path)), 1, ("x",))
    search.needed, search.forbidden = frozenset(needed), frozenset(forbidden)
    return search


@pytest.mark.parametrize(
    ("needed", "found"), [(set(), ()), ({"c"}, ("c",)), ({"a", "e"}, ("a", "e")),
                          ({"b", "d"}, ("b", "d"))],
)  # fmt: skip
def test_the_search_finds_what_is_needed(
    needed: set[str], found: tuple[str, ...], tmp_path: Path
) -> None:
    assert searching(needed, set(), tmp_path).find().names == found


def test_what_cannot_run_is_left_out_of_everything(tmp_path: Path) -> None:
    assert searching({"a", "e"}, {"b"}, tmp_path).find().names == ("a", "e")
    vain = searching({"a", "b"}, {"b"}, tmp_path).find()
    assert (vain.names, vain.classes) == (None, 3)


def test_settings_are_preferred_to_a_single_one_that_replaces_the_framework(
    tmp_path: Path,
) -> None:
    class Either(Counted):
        def _try(self, names: tuple[str, ...]) -> int | None:
            return 1 if {"a", "b"} <= set(names) or "d" in names else 3

    plain = searching(set(), set(), tmp_path)
    either = Either(plain.known, plain.run, plain.measurer, 1, ("x",))
    assert either.find().names == ("a", "b")

"""What a spec says of settings, before any framework is imported."""

from __future__ import annotations

import pytest

from xbackend.worker.contract import BackendSpec, Setting, Unsupported

SPEC = BackendSpec(
    word="abacus",
    title="Abacus",
    adapter="abacus:Adapter",
    modules=(),
    distributions=(),
    formats={"float32": "graph"},
    settings=(
        Setting("beads", 10, "how many on a rod", (5, 10)),
        Setting("wood", "oak", "what it is made of"),
    ),
)


def test_a_value_that_is_none_of_the_choices_is_refused_with_all_of_them() -> None:
    with pytest.raises(Unsupported, match=r"^abacus\.beads cannot be '7': choose one of 5, 10\.$"):
        SPEC.check({"beads": 7, "wood": "oak"})


def test_a_setting_without_choices_takes_any_value() -> None:
    SPEC.check({"beads": 5, "wood": "fir", "threads": 3})

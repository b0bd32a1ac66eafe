"""The names that the coordinator knows are those of the table."""

from xbackend.backends.fixed.known_operators import KNOWN
from xbackend.backends.fixed.operators import OPERATORS


def test_the_names_are_those_of_the_table() -> None:
    assert {f"{domain}.{name}" if domain else name for domain, name in OPERATORS} == KNOWN

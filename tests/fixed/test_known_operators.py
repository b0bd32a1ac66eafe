"""The names that the coordinator knows are those of the table."""

from xbackend.backends.fixed import unsupported
from xbackend.backends.fixed.known_operators import KNOWN


def test_the_names_are_those_of_the_table_and_of_control_flow() -> None:
    assert unsupported.KNOWN == KNOWN

"""The names that the coordinator knows are those of the table."""

from xbackend.backends.torch import program
from xbackend.backends.torch.known_operators import KNOWN


def test_the_names_are_those_of_the_table_and_of_control_flow_and_constant() -> None:
    assert program.KNOWN == KNOWN

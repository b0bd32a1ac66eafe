"""The names that the coordinator knows are those of the table."""

from xbackend.backends.tf import operators
from xbackend.backends.tf.known_operators import KNOWN


def test_the_names_are_those_of_the_table_and_of_control_flow() -> None:
    assert operators.KNOWN == KNOWN

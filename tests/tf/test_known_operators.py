"""The names that the coordinator knows are those of the table."""

from xbackend.backends.tf.known_operators import KNOWN
from xbackend.backends.tf.operators import OPERATORS


def test_the_names_are_those_of_the_table() -> None:
    assert set(OPERATORS) == KNOWN

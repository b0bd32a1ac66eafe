"""The names that the coordinator knows are those of the table."""

from xbackend.backends.torch.known_operators import KNOWN
from xbackend.backends.torch.operators import TABLE


def test_the_names_are_those_of_the_table_and_constant_which_is_no_operation() -> None:
    assert set(TABLE) | {"Constant"} == KNOWN

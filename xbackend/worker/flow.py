"""What control flow and sequences need of a framework; each executor says how it has it."""

from __future__ import annotations

from typing import Any, Sequence


class Flow:
    """What control flow needs of a framework's values."""

    def truth(self, value: Any) -> bool:
        """Return a condition of one element."""
        raise NotImplementedError

    def integer(self, value: Any) -> int:
        """Return an integer of one element."""
        raise NotImplementedError

    def scalar(self, number: Any, dtype: str) -> Any:
        """Return a tensor without axes of a format by NumPy's name."""
        raise NotImplementedError

    def extent(self, value: Any, axis: int) -> int:
        """Return how many elements lie along an axis."""
        raise NotImplementedError

    def item(self, value: Any, axis: int, index: int) -> Any:
        """Return one place of an axis, which is dropped."""
        raise NotImplementedError

    def stack(self, values: Sequence[Any], axis: int) -> Any:
        """Lay tensors of one shape along a new axis."""
        raise NotImplementedError

    def empty(self, shape: Sequence[int], dtype: str) -> Any:
        """Return a tensor without elements."""
        raise NotImplementedError

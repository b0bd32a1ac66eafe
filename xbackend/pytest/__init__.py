"""The plug-in of pytest: from xbackend.pytest import assert_consistent.

Every pytest of an environment that has xbackend imports `plugin`, so that imports next to nothing;
`assertion` is imported once it is used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as `typing` has it, which takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any

    from xbackend.pytest.assertion import assert_consistent as assert_consistent

if not TYPE_CHECKING:  # which would take any name for one that there is

    def __getattr__(name: str) -> Any:
        """Import the assertion once it is used."""
        if name != "assert_consistent":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from xbackend.pytest.assertion import assert_consistent

        return assert_consistent

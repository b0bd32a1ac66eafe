"""Reads all of a store against its names."""

from __future__ import annotations

from dataclasses import dataclass

from xbackend.api.arguments import StoreLike, store_of
from xbackend.store import check
from xbackend.store.escaping import readable


@dataclass(frozen=True)
class CheckedStore:
    """What was read of a store, and what is wrong with it."""

    folder: str
    counts: dict[str, int]
    """How many objects, runs, artifacts and inputs were read."""
    faults: tuple[str, ...]
    """A sentence for each file that is not what its name says; empty where all are."""

    def to_dict(self) -> dict[str, object]:
        """Return JSON values: what `xbackend store check --json` prints."""
        return {"schema_version": 1, "read": self.counts, "faults": list(self.faults)}

    def __str__(self) -> str:
        """Return the faults, a line each, and a sentence."""
        read = ", ".join(f"{number} {name}" for name, number in self.counts.items())
        count = len(self.faults)
        told = f"{count} fault{'s'[: count != 1]}" if count else "all is as its names say"
        return "\n".join([*self.faults, f"{read} read in {self.folder}: {told}"])


def check_store(store: StoreLike = None) -> CheckedStore:
    """Read all of a store against its names; nothing is changed, followed or started.

    Args:
        store: A folder; default: $XBACKEND_STORE or .xbackend.

    Returns:
        What was read, and a sentence for each fault.

    Raises:
        UsageError: Where there is no store.

    Example:
        >>> import xbackend as xb
        >>> runs = xb.run(backends="fixed")
        >>> xb.check_store().faults
        ()
    """
    there = store_of(store)
    found = check.check_store(there)
    return CheckedStore(str(there.folder), found.counts, tuple(map(readable, found.faults)))

"""A job where it is to run: what to start there, and how its objects come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from xbackend.errors import XbackendError
from xbackend.worker.job import Job

CLEANUP_TIMEOUT = 30.0
"""Seconds for leaving a host as it was."""
Sizes = Mapping[str, int]
"""Digests of objects, and how many bytes each has."""


class Unreachable(XbackendError):
    """A platform elsewhere did not take or give back what belongs to a run."""


@dataclass(frozen=True)
class StagedJob:
    """What to start, and the job as the worker's own machine has to read it."""

    command: list[str]
    job: Job
    fetch: Callable[[Sizes], None] = lambda sizes: None
    """Brings objects that the worker wrote elsewhere into the store. Raises Unreachable."""

"""Keeps a store from being pruned while runs are made in it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xbackend.errors import StoreError
from xbackend.store.files import ANNEX
from xbackend.store.store import Store

FILE = "lock"
"""An empty file of a store; the system gives a lock back when the process that holds it ends."""


@contextmanager
def in_use(store: Store) -> Iterator[None]:
    """Hold a store for making runs in it; any number of processes may, while none prunes it."""
    descriptor = _open(store)
    if descriptor is None:
        yield
        return
    try:
        _try_lock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def exclusive(store: Store) -> Iterator[None]:
    """Hold a store for taking things out of it. Raises StoreError while runs are made there."""
    descriptor = _open(store)
    if descriptor is None:
        yield
        return
    try:
        if not _try_lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
            raise StoreError(
                f"Runs are being made in {store.folder}, or it is being pruned. "
                "Wait until that has ended, and prune it then."
            )
        yield
    finally:
        os.close(descriptor)


def _open(store: Store) -> int | None:
    """Return the lock's file, None where none can be: then nothing can be taken out either."""
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open(_whole(store) / FILE, flags, 0o666)
    except OSError:
        return None


def _whole(store: Store) -> Path:
    """Return the folder of the store whose objects these are: reruns share those around them."""
    return store.folder.parent if store.folder.name == ANNEX else store.folder


def _try_lock(descriptor: int, how: int) -> bool:
    """Lock a file; where the file system knows no locks, nothing is held and nobody refused."""
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True

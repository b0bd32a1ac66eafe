"""Content-addressed bytes on disk: `objects/ab/cdef…`, named by their SHA-256."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import stat
from typing import TYPE_CHECKING, Any, Dict

if TYPE_CHECKING:
    from xbackend.worker.tensor import Tensor

_serial = itertools.count()
SYNC = "XBACKEND_SYNC"
BLOCK = 1 << 20
"""Bytes that are compared at a time."""


def object_path(store: str, digest: str) -> str:
    """Return where the bytes of a digest lie in a store."""
    return os.path.join(store, "objects", digest[:2], digest[2:])


def write_object(store: str, data: bytes) -> str:
    """Keep bytes under their SHA-256 and return it; nothing is written if they are there already.

    Any number of processes may do so at once. Raises OSError, and leaves no part of a file. What a
    power cut has left under that name in their place is replaced.
    """
    digest = hashlib.sha256(data).hexdigest()
    path = object_path(store, digest)
    if not _holds(path, data):
        write_atomic(path, data)
    return digest


def _holds(path: str, data: bytes) -> bool:
    """Tell whether a plain file has just these bytes."""
    try:
        seen = os.lstat(path)
        if not stat.S_ISREG(seen.st_mode) or seen.st_size != len(data):
            return False
        with open(path, "rb") as stream, memoryview(data) as whole:
            place = 0
            while place < len(data):
                block = stream.read(BLOCK)
                if not block or block != whole[place : place + len(block)]:
                    return False
                place += len(block)
    except OSError:
        return False
    return True


def write_atomic(path: str, data: bytes, sync: bool = False) -> None:
    """Write a file under a temporary name and rename it, so that it is whole or absent.

    With `sync` the bytes are on the disk before they get their name, and the name before this
    returns, so that a power cut finds the file whole as well.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    # In two containers, or on two machines, processes of the same number write to one store.
    temporary = f"{path}.{os.getpid()}-{next(_serial)}-{os.urandom(4).hex()}.tmp"
    try:
        with open(temporary, "xb") as stream:
            stream.write(data)
        if sync:
            sync_file(temporary)
        os.replace(temporary, path)
        if sync:
            sync_file(os.path.dirname(path))
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def sync_file(path: str) -> None:
    """Have what a file or a folder holds written to the disk, where its file system can do that.

    Raises OSError where it cannot be written. `XBACKEND_SYNC=off` leaves it to the system, which is
    quicker where the disk is slow, and gives up what is promised for a power cut.
    """
    if os.environ.get(SYNC) == "off":
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # folders of some network's systems
            raise
    finally:
        os.close(descriptor)


def write_tensor(store: str, tensor: Tensor) -> Dict[str, Any]:
    """Keep a tensor's bytes and return its record: dtype, shape, digest."""
    digest = write_object(store, tensor.data())
    return {"dtype": tensor.dtype, "shape": list(tensor.shape), "digest": digest}

"""Content-addressed bytes on disk: `objects/ab/cdef…`, named by their SHA-256."""

from __future__ import annotations

import hashlib
import itertools
import os
from typing import TYPE_CHECKING, Any, Dict

if TYPE_CHECKING:
    from xbackend.worker.tensor import Tensor

_serial = itertools.count()


def object_path(store: str, digest: str) -> str:
    """Return where the bytes of a digest lie in a store."""
    return os.path.join(store, "objects", digest[:2], digest[2:])


def write_object(store: str, data: bytes) -> str:
    """Keep bytes under their SHA-256 and return it; nothing is written if they are there already.

    Any number of processes may do so at once. Raises OSError, and leaves no part of a file.
    """
    digest = hashlib.sha256(data).hexdigest()
    path = object_path(store, digest)
    if not os.path.exists(path):
        write_atomic(path, data)
    return digest


def write_atomic(path: str, data: bytes) -> None:
    """Write a file under a temporary name and rename it, so that it is whole or absent."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    # In two containers, or on two machines, processes of the same number write to one store.
    temporary = f"{path}.{os.getpid()}-{next(_serial)}-{os.urandom(4).hex()}.tmp"
    try:
        with open(temporary, "xb") as stream:
            stream.write(data)
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def write_tensor(store: str, tensor: Tensor) -> Dict[str, Any]:
    """Keep a tensor's bytes and return its record: dtype, shape, digest."""
    digest = write_object(store, tensor.data())
    return {"dtype": tensor.dtype, "shape": list(tensor.shape), "digest": digest}

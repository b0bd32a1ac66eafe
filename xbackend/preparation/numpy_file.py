"""Reading .npy and .npz files that may be anything: arrays of numbers, or one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbackend.errors import InputError
from xbackend.store.escaping import readable

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def read_numpy(path: Path, what: str, cure: str) -> dict[str, Array]:
    """Return the arrays of a file by name, an .npy's under the empty name; nothing is unpickled.

    Raises InputError, which says `what` cannot be read and the `cure`.
    """
    import numpy as np

    from xbackend.preparation.archive import refuse_archive_fault

    try:
        refuse_archive_fault(path)
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"": loaded}
        with loaded:
            return _members(loaded)
    except OSError as error:
        raise InputError(f"Cannot read {what} {path}: {error.strerror or error}.") from error
    except Exception as error:  # zip, zlib, LZMA, tokens, syntax: NumPy passes on whatever it meets
        raise InputError(
            f"{path} is not a whole .npy or .npz file of numbers ({_short(error)}). {cure}"
        ) from error


def _members(archive: Any) -> dict[str, Array]:
    import numpy as np

    found = dict(archive)
    for name, member in found.items():
        if not isinstance(member, np.ndarray):
            raise ValueError(f"'{name}' in it is no array")
    return found


def _short(error: BaseException) -> str:
    lines = str(error).splitlines()
    return readable(lines[0][:120]).rstrip(".") if lines else type(error).__name__

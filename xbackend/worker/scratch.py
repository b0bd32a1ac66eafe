"""A folder for what frameworks write while they work; one left by a killed process is removed."""

from __future__ import annotations

import os
from typing import Dict, Iterator, Optional

PREFIX = "xbackend-scratch-"


class Scratch:
    """A folder of this process alone, held by a lock for as long as the process lives."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor

    def variables(self) -> Dict[str, str]:
        """Return the environment variables by which frameworks find the folder."""
        caches = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")
        inner = {name: os.path.join(self.path, name.split("_")[0].lower()) for name in caches}
        return {**dict.fromkeys(("TMPDIR", "TMP", "TEMP"), self.path), **inner}

    def empty(self) -> None:
        """Remove what is in the folder; the folder itself is left to who may write around it."""
        _remove(self.path)


def make_scratch() -> Optional[Scratch]:
    """Make a folder among the system's temporary files, None where that cannot be."""
    base = _temporary()
    sweep_scratch()
    try:
        return _make(base) if base else None
    except OSError:
        return None


def sweep_scratch() -> None:
    """Remove this user's folders whose processes are gone."""
    base = _temporary()
    try:
        for path in _own(base) if base else ():
            descriptor = _locked(path)
            if descriptor is not None:
                _remove(path)
                os.close(descriptor)
    except OSError:
        pass  # the next one may have more luck


def _temporary() -> str:
    places = (os.environ.get("TMPDIR"), "/tmp", "/var/tmp")
    return next((place for place in places if place and _usable(place)), "")


def _own(base: str) -> Iterator[str]:
    """Yield this user's folders, whoever holds them."""
    begins = f"{PREFIX}{os.getuid()}-"
    with os.scandir(base) as entries:
        for entry in entries:
            if entry.name.startswith(begins) and (
                entry.stat(follow_symlinks=False).st_uid == os.getuid()
            ):
                yield entry.path


def _usable(folder: str) -> bool:
    return os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)


def _make(base: str) -> Scratch:
    """Make a folder and lock it; another process may have swept it away between the two."""
    while True:
        path = os.path.join(base, f"{PREFIX}{os.getuid()}-{os.urandom(8).hex()}")
        os.mkdir(path, 0o700)
        descriptor = _locked(path)
        if descriptor is not None:
            if os.path.isdir(path):
                return Scratch(path, descriptor)
            os.close(descriptor)


def _locked(path: str) -> Optional[int]:
    """Return the locked descriptor of a folder, None where it is gone or another holds it."""
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _remove(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError:
        import shutil  # costs more than the rest, and most folders are empty

        shutil.rmtree(path, ignore_errors=True)

"""A folder for what frameworks write while they work; one left by a killed process is removed."""

from __future__ import annotations

import os
from typing import Dict, Iterator, Optional

PREFIX = "worker-"
TRIES = 5
"""How often a folder is made that another process sweeps away before it is locked."""


class Scratch:
    """A folder of this process alone, held by a lock for as long as the process lives."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor

    def remove(self) -> None:
        """Remove the folder and all in it."""
        _remove(self.path)


def variables(folder: str) -> Dict[str, str]:
    """Return the environment variables by which frameworks find a folder for what they write."""
    caches = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")
    inner = {name: os.path.join(folder, name.split("_")[0].lower()) for name in caches}
    return {**dict.fromkeys(("TMPDIR", "TMP", "TEMP"), folder), **inner}


def make_scratch(base: str) -> Optional[Scratch]:
    """Make a folder in `base`, which is made too; None where that cannot be written or locked."""
    sweep_scratch(base)
    if os.path.islink(base):
        return None
    for _ in range(TRIES):
        path = os.path.join(base, f"{PREFIX}{os.urandom(8).hex()}")
        try:
            os.makedirs(path, 0o700)
        except FileNotFoundError:  # another process has just removed the empty base
            continue
        except OSError:
            return None
        descriptor = _locked(path)
        if descriptor is not None:
            if os.path.isdir(path):
                return Scratch(path, descriptor)
            os.close(descriptor)
    return None


def sweep_scratch(base: str) -> None:
    """Remove the folders whose processes are gone, and `base` if it is empty then."""
    if os.path.islink(base):  # in a stranger's store it may lead anywhere
        return
    try:
        for path in _own(base):
            descriptor = _locked(path)
            if descriptor is not None:
                _remove(path)
                os.close(descriptor)
        os.rmdir(base)
    except OSError:
        pass  # in use, or not there


def _own(base: str) -> Iterator[str]:
    """Yield this user's folders, whoever holds them."""
    with os.scandir(base) as entries:
        for entry in entries:
            owner = entry.stat(follow_symlinks=False).st_uid
            if entry.name.startswith(PREFIX) and owner == os.getuid():
                yield entry.path


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
        with os.scandir(path) as entries:
            files = [each.path for each in entries if not each.is_dir(follow_symlinks=False)]
        for file in files:
            os.unlink(file)
        os.rmdir(path)
    except OSError:
        import shutil  # costs more than the rest, and most folders hold a file at the most

        shutil.rmtree(path, ignore_errors=True)

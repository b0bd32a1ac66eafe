"""What is installed in this environment: entry points and versions, remembered between commands.

Asking `importlib.metadata` takes longer than a whole run of a small model, so the answer is kept in
the user's cache folder until a folder on `sys.path` changes, which every installation does.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import stat
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from xbackend.worker.objects import write_atomic

KINDS = "backends converters importers mitigations plots renderers reports savers".split()
GROUPS = tuple(f"xbackend.{kind}" for kind in KINDS)


@dataclass(frozen=True)
class Installed:
    """The entry points and distributions that this Python sees."""

    entry_points: dict[str, dict[str, str]]
    """Group to name to `package.module:attribute`."""
    versions: dict[str, str]
    """Distribution, lower-case with dashes, to version."""


def cache_folder() -> Path:
    """Return the user's cache folder for this package, `$XDG_CACHE_HOME` or `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "xbackend"


def private_folder(name: str) -> Path:
    """Return a folder of the cache that only this user reads and writes, made if it is not there.

    Where there is none to be had, since the home cannot be written or another owns what lies
    there, it is one for this process alone.
    """
    folder = cache_folder() / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        seen = os.lstat(folder)
        if stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.geteuid() and not seen.st_mode & 0o077:
            return folder
    except OSError:
        pass  # A home that cannot be written costs time, nothing else.
    return _passing_folder(name)


@functools.cache
def _passing_folder(name: str) -> Path:
    """Make a folder that ends with this process."""
    import atexit
    import shutil
    import tempfile

    made = tempfile.mkdtemp(prefix=f"xbackend-{name}-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


@functools.cache
def installed() -> Installed:
    """Return what is installed, from the cache if nothing was installed since."""
    path = cache_folder() / f"installed-{_state()}.json"
    try:
        return Installed(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        found = _look()
    try:
        write_atomic(str(path), json.dumps(vars(found)).encode())
    except OSError:
        pass  # A home that cannot be written costs time, nothing else.
    return found


def version(distribution: str) -> str | None:
    """Return the version of a distribution, None if it is not installed."""
    return installed().versions.get(_normal(distribution))


def importable(module: str) -> bool:
    """Tell whether a module could be imported, without importing it."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _state() -> str:
    """Return a digest of the folders on `sys.path`, when they last changed, and what is asked."""
    digest = hashlib.sha256(f"{sys.version}{GROUPS}".encode())
    for folder in sys.path:
        try:
            changed = os.stat(folder or ".").st_mtime_ns
        except OSError:
            continue
        digest.update(f"{os.path.abspath(folder)}\0{changed}\0".encode())
    return digest.hexdigest()[:32]


def _look() -> Installed:
    from importlib import metadata

    versions: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            versions.setdefault(_normal(name), distribution.version)
    points = {
        group: {point.name: point.value for point in metadata.entry_points(group=group)}
        for group in GROUPS
    }
    return Installed(points, versions)


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")

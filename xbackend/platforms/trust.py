"""Which platforms of records are followed: harmless ones, and those that this user has named.

A record is data. `native`, `cores:N` and emulated processors start nothing but this machine's own
Python, so they are followed wherever they stand. An interpreter, a host or an image is only if a
command line or configuration of this user's has named the same text, which is remembered in the
user's cache, or if the command says that platforms are trusted.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from xbackend.errors import UsageError
from xbackend.platforms.parse import parse_platform, split_platform
from xbackend.platforms.platform import Platform
from xbackend.plugins.installed import private_folder
from xbackend.worker.objects import write_atomic

HARMLESS = frozenset({"native", "cores", "qemu", "qemu-arm"})
FOLDER = "named-platforms"


def is_harmless(text: str) -> bool:
    """Tell whether a platform starts nothing but this machine's own Python.

    >>> is_harmless("cores:1+qemu:Haswell"), is_harmless("qemu:Haswell+python:/tmp/python")
    (True, False)
    """
    return all(part.partition(":")[0] in HARMLESS for part in split_platform(text))


def remember_named(texts: tuple[str, ...]) -> None:
    """Keep that this user has named platforms; where nothing can be written, nothing is kept."""
    for text in texts:
        if not is_harmless(text) and not was_named(text):
            try:
                write_atomic(str(_place(text)), b"")
            except OSError:
                return


def remember_function(text: str) -> None:
    """Keep that this user has named a `module:callable` as a model, which is Python to be run."""
    try:
        write_atomic(str(_place(f"function {text}")), b"")
    except OSError:
        return


def function_was_named(text: str) -> bool:
    """Tell whether this user has named a `module:callable` before."""
    return was_named(f"function {text}")


def was_named(text: str) -> bool:
    """Tell whether this user has named a text before."""
    place = _place(text)
    return place.is_file() and not place.is_symlink()


def followed_platform(text: str, trusted: bool) -> Platform:
    """Return the platform that a record names. Raises UsageError for one that is not trusted."""
    if not (trusted or is_harmless(text) or was_named(text)):
        raise UsageError(
            f"The store's runs name the platform '{text}', which would start a program that you "
            "have never named here. Give --trust-platforms if the store is yours."
        )
    return parse_platform(text)


def _place(text: str) -> Path:
    name = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return private_folder(FOLDER) / name

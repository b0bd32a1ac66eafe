"""The set-up for ARM as it lies in the user's cache folder, see `xbackend.platforms.setup_arm`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xbackend.plugins.installed import cache_folder

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Sysroot:
    """A set-up that is done."""

    folder: str
    """The folder's name in `cache_folder()/arm`: a digest of what is in it."""
    asked: dict[str, str | None]
    """Each distribution to the version that was asked for, None for the newest."""
    python: str
    """Such as `3.11`."""
    packages: dict[str, str]
    """Each distribution to its version."""
    debian: dict[str, str]
    """Each of Debian's packages to its version."""
    schema_version: int = SCHEMA_VERSION

    @property
    def root(self) -> Path:
        """The folder that stands for `/`."""
        return sysroots_folder() / self.folder / "root"

    @property
    def site(self) -> Path:
        """The folder that the wheels are unpacked in."""
        return sysroots_folder() / self.folder / "site"

    @property
    def interpreter(self) -> Path:
        """Python for ARM."""
        return self.root / "usr" / "bin" / f"python{self.python}"


def sysroots_folder() -> Path:
    """Return the folder of set-ups; `current.json` in it says which one is in use."""
    return cache_folder().absolute() / "arm"


def find_sysroot() -> Sysroot | None:
    """Return the set-up that is there, None without one."""
    try:
        row: Any = json.loads((sysroots_folder() / "current.json").read_text(encoding="utf-8"))
        found = Sysroot(**row)
    except (OSError, ValueError, TypeError):
        return None
    sound = found.schema_version == SCHEMA_VERSION and found.interpreter.is_file()
    return found if sound and found.site.is_dir() else None


def with_packages(site: Path) -> list[str]:
    """Return the command whose argument is a command that sees a folder's packages, no others."""
    return ["env", "--unset=PYTHONHOME", "PYTHONNOUSERSITE=1", f"PYTHONPATH={site}"]

"""A platform as a value: how to start a worker there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xbackend.errors import UsageError


def usable_cores() -> list[int]:
    """Return the numbers of the cores that this process may use; all where nobody tells."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@dataclass(frozen=True)
class Platform:
    """How to start a worker."""

    spec: str
    """What the user wrote, part of the run's record."""
    prefix: tuple[str, ...] = ()
    """The command that is put before Python."""
    python: str = field(default_factory=lambda: os.path.abspath(sys.executable))
    """The interpreter, by its absolute path: emulators cannot find it otherwise."""
    emulator: str = ""
    """What CPUID names as hypervisor under an emulator; empty where the real processor computes."""
    machine: str = ""
    """What `uname -m` says where that is known beforehand, such as `aarch64`."""
    packages: str = ""
    """The one folder that has the worker's packages; empty where they are not known beforehand."""
    transport: str = ""
    """`ssh:HOST` or `docker:IMAGE` where the worker runs elsewhere, see `execution.transport`."""
    cores: int = field(default_factory=lambda: len(usable_cores()))
    """How many cores the worker may use."""

    def may_provide(self, modules: Sequence[str]) -> bool:
        """Tell whether any of these modules may be there; yes for none at all."""
        if not self.packages or not modules:
            return True
        return any(Path(self.packages, *name.split(".")).exists() for name in modules)

    def command(self, worker: Path) -> list[str]:
        """Return the command line of a worker."""
        return [*self.prefix, self.python, str(worker)]


def list_processors(emulator: str) -> list[str]:
    """Return the lines of `-cpu help` of an emulator that name a processor."""
    command = [emulator, "-cpu", "help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.partition("\n\n")[0].splitlines()[1:]


def find_command(command: str, part: str, package: str) -> str:
    """Return a command's path. Raises UsageError, which names Debian's package."""
    import shutil

    path = shutil.which(command)
    if path is None:
        raise UsageError(
            f"The platform '{part}' needs the command {command}. "
            f"Install it with: apt install {package}"
        )
    return path

"""Where a worker runs: `native`, `cores:4`, `qemu:Haswell`, `python:/path`, joined with `+`."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from xbackend.errors import UsageError

TCG = "TCGTCGTCGTCG"
"""QEMU's emulator in CPUID leaf 0x40000000 (qemu, target/i386/cpu.c)."""


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

    def command(self, worker: Path) -> list[str]:
        """Return the command line of a worker."""
        return [*self.prefix, self.python, str(worker)]


KINDS: dict[str, str] = {
    "native": "this machine as it is",
    "cores:N": "the first N of the cores that this process may use",
    "qemu:CPU[,+flag][,-flag]": "an emulated x86 processor; needs qemu-user",
    "python:PATH": "another Python, with whatever frameworks it has",
}
"""The forms of a platform and what each is, for `xbackend platforms`."""


def parse_platform(text: str) -> Platform:
    """Return the platform that a text names; parts joined with `+` apply from left to right.

    Raises UsageError for an unknown kind, or a command or interpreter that is not there.

    >>> parse_platform("native").prefix
    ()
    """
    platform = Platform(spec=text)
    for part in _split(text):
        kind, _, value = part.partition(":")
        if kind not in PARTS:
            raise UsageError(
                f"There is no platform '{part}'. Known: {', '.join(KINDS)}; joined with '+'."
            )
        platform = PARTS[kind](platform, value)
    return platform


def _split(text: str) -> list[str]:
    """Split at each `+` that begins a kind, not at those that switch a processor's flag on."""
    parts = text.split("+")
    joined = [parts[0]]
    for part in parts[1:]:
        if part.partition(":")[0] in PARTS:
            joined.append(part)
        else:
            joined[-1] += f"+{part}"
    return joined


def _native(platform: Platform, value: str) -> Platform:
    if value:
        raise UsageError(f"The platform 'native' takes no value, not '{value}'.")
    return platform


def _cores(platform: Platform, value: str) -> Platform:
    allowed = sorted(os.sched_getaffinity(0))
    if not value.isdigit() or not 1 <= int(value) <= len(allowed):
        raise UsageError(
            f"The platform 'cores:{value}' is not possible here: give a number from 1 to "
            f"{len(allowed)}, the cores that this process may use."
        )
    chosen = ",".join(str(core) for core in allowed[: int(value)])
    taskset = _find("taskset", f"cores:{value}", "util-linux")
    return replace(platform, prefix=(*platform.prefix, taskset, "-c", chosen))


def _python(platform: Platform, value: str) -> Platform:
    path = Path(value).expanduser().absolute()
    if not value or not path.is_file() or not os.access(path, os.X_OK):
        raise UsageError(
            f"The platform 'python:{value}' names no program that can be run. Give the path of a "
            "Python interpreter, such as python:/opt/old/bin/python."
        )
    return replace(platform, python=str(path))


def _qemu(platform: Platform, value: str) -> Platform:
    if not value:
        raise UsageError("The platform 'qemu:' needs a processor, such as qemu:Haswell.")
    emulator = _find("qemu-x86_64", f"qemu:{value}", "qemu-user")
    return replace(platform, prefix=(*platform.prefix, emulator, "-cpu", value), emulator=TCG)


PARTS: dict[str, Callable[[Platform, str], Platform]] = {
    "native": _native,
    "cores": _cores,
    "qemu": _qemu,
    "python": _python,
}
"""A kind to what it adds to a platform."""


def _find(command: str, part: str, package: str) -> str:
    path = shutil.which(command)
    if path is None:
        raise UsageError(
            f"The platform '{part}' needs the command {command}. "
            f"Install it with: apt install {package}"
        )
    return path

"""The platforms that this machine has and can emulate."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xbackend.platforms.arm import arm_processors
from xbackend.platforms.emulated import x86_processors
from xbackend.platforms.parse import KINDS, fleets
from xbackend.platforms.sysroot import Sysroot, find_sysroot
from xbackend.plugins import registry
from xbackend.worker.machine.fingerprint import hardware, software

Record = dict[str, Any]


@dataclass(frozen=True)
class PlatformForm:
    """One way to name a platform."""

    form: str
    """Such as `cores:N`."""
    description: str
    available: bool
    """Whether this machine has the command that it needs."""


@dataclass(frozen=True)
class PlatformInventory:
    """This machine, and what else workers can run on from it."""

    machine: Record
    """Processor, flags, caches, cores, memory, GPUs, as a worker sees them."""
    software: Record
    """System, C library, Python, environment variables that can change bits."""
    platforms: tuple[PlatformForm, ...]
    processors: Mapping[str, list[Record]]
    """The processors that can be emulated, by `x86` and `arm`."""
    fleets: Mapping[str, tuple[str, ...]]
    """A fleet's name to its platforms."""
    arm: Record | None
    """What emulated ARM was set up with; None where it was not."""

    def to_dict(self) -> Record:
        """Return JSON values: what `xbackend platforms --json` prints."""
        return {
            "schema_version": 1,
            "machine": self.machine,
            "software": self.software,
            "platforms": [vars(each) for each in self.platforms],
            "processors": dict(self.processors),
            "fleets": {name: list(members) for name, members in self.fleets.items()},
            "arm": self.arm,
        }

    def __str__(self) -> str:
        """Return the text for a terminal."""
        return registry.renderer("platforms")(self)


def list_platforms() -> PlatformInventory:
    """Look at this machine."""
    sysroot = find_sysroot()
    return PlatformInventory(
        machine=hardware(),
        software=software(),
        platforms=tuple(
            PlatformForm(form, text, _has_command(form)) for form, text in KINDS.items()
        ),
        processors={"x86": x86_processors(), "arm": arm_processors()},
        fleets={name: tuple(members) for name, members in fleets().items()},
        arm=None if sysroot is None else describe_sysroot(sysroot),
    )


def describe_sysroot(sysroot: Sysroot) -> Record:
    """Return what emulated ARM was set up with, JSON values."""
    return {
        "folder": str(sysroot.root.parent),
        "python": sysroot.python,
        "packages": sysroot.packages,
        "debian": sysroot.debian,
    }


def _has_command(form: str) -> bool:
    """Tell whether the command that a form of a platform needs is on this machine."""
    needs = {
        "qemu": "qemu-x86_64",
        "fleet:x86": "qemu-x86_64",
        "qemu-arm": "qemu-aarch64",
        "fleet:arm": "qemu-aarch64",
        "cores": "taskset",
        "docker": "docker",
        "ssh": "ssh",
    }
    command = needs.get(form) or needs.get(form.partition(":")[0])
    return command is None or shutil.which(command) is not None

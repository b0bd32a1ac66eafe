"""Platforms of this machine: as it is, on some of its cores, with another Python."""

from __future__ import annotations

import os
from dataclasses import replace

from xbackend.errors import UsageError
from xbackend.platforms.platform import Platform, find_command, usable_cores


def native(platform: Platform, value: str) -> Platform:
    """Return the platform unchanged."""
    if value:
        raise UsageError(f"The platform 'native' takes no value, not '{value}'.")
    return platform


def cores(platform: Platform, value: str) -> Platform:
    """Restrict a worker to the first cores of those that this process may use."""
    if platform.transport:
        raise UsageError(f"'cores:{value}' cannot be joined with '{platform.transport}'.")
    allowed = usable_cores()
    if not (value.isascii() and value.isdecimal()) or not 1 <= int(value) <= len(allowed):
        raise UsageError(
            f"The platform 'cores:{value}' is not possible here: give a number from 1 to "
            f"{len(allowed)}, the cores that this process may use."
        )
    chosen = ",".join(str(core) for core in allowed[: int(value)])
    taskset = find_command("taskset", f"cores:{value}", "util-linux")
    prefix = (*platform.prefix, taskset, "-c", chosen)
    return replace(platform, prefix=prefix, cores=int(value))


def python(platform: Platform, value: str) -> Platform:
    """Use another interpreter, with whatever is installed for it."""
    if platform.packages:
        raise UsageError(f"'{platform.spec}' cannot be: an emulated ARM has a Python of its own.")
    if platform.transport and value:
        return replace(platform, python=value)
    path = os.path.abspath(os.path.expanduser(value))
    if not value or not os.path.isfile(path) or not os.access(path, os.X_OK):
        raise UsageError(
            f"The platform 'python:{value}' names no program that can be run. Give the path of a "
            "Python interpreter, such as python:/opt/old/bin/python."
        )
    return replace(platform, python=path)

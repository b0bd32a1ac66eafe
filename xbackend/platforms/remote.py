"""Platforms elsewhere: a container image, a host that SSH reaches. Nothing is installed there."""

from __future__ import annotations

import re
from dataclasses import replace

from xbackend.errors import UsageError
from xbackend.platforms.platform import Platform

HOST = re.compile(r"[\w.@%:\[\]-]+")
IMAGE = re.compile(r"[\w./:@-]+")


def ssh(platform: Platform, value: str) -> Platform:
    """Run the worker on a host, as `ssh HOST` reaches it without a question asked."""
    _check("ssh", value, HOST, "a host, such as ssh:me@server")
    return _elsewhere(platform, f"ssh:{value}")


def docker(platform: Platform, value: str) -> Platform:
    """Run the worker in a container of an image that has Python, NumPy and the framework."""
    _check("docker", value, IMAGE, "an image, such as docker:tensorflow/tensorflow:2.15.0")
    return _elsewhere(platform, f"docker:{value}")


def _elsewhere(platform: Platform, transport: str) -> Platform:
    if platform.transport or platform.emulator:
        raise UsageError(
            f"The platform '{transport}' must come first: what follows applies there, such as "
            f"{transport}+python:/opt/bin/python."
        )
    return replace(platform, transport=transport, python="python3")


def _check(kind: str, value: str, form: re.Pattern[str], needs: str) -> None:
    """Refuse what a command line would take for an option or for more than one word."""
    if value.startswith("-") or not form.fullmatch(value):
        raise UsageError(f"The platform '{kind}:{value}' needs {needs}.")

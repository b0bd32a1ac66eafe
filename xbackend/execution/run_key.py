"""What decides the bits of a run, as one digest: one that is known is not repeated; and its id."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xbackend.platforms.platform import Platform
from xbackend.plugins.installed import version
from xbackend.worker.contract import BackendSpec
from xbackend.worker.job import Job
from xbackend.worker.machine.environment import BIT_CHANGING


def run_key(
    spec: BackendSpec, job: Job, platform: Platform, digests: Mapping[str, str], repeat: int
) -> str:
    """Return the SHA-256 over everything that decides a run's bits.

    `digests` are those of inputs, artifact and worker, and the model's name, as a run under one
    name does not stand for another's; where files lie is no part of it. The machine is: a store
    that is carried to another machine begins anew there.
    """
    told = asdict(job)
    for place in ("artifact", "store", "missing", "samples", "sandbox", "memory"):
        told.pop(place)
    parts = {
        "job": told,
        "digests": dict(digests),
        "platform": platform.spec,
        "command": platform.command(Path()),
        "frameworks": _frameworks(spec, platform),
        "environment": {name: os.environ.get(name) for name in BIT_CHANGING},
        "machine": _machine(),
        "repeat": repeat,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _frameworks(spec: BackendSpec, platform: Platform) -> dict[str, Any]:
    """Return the versions that this Python sees, or when another one's packages last changed."""
    if platform.python == Platform("").python:
        names = (*spec.distributions, "numpy")
        return {name: version(name) for name in names}
    root = Path(platform.python).parent.parent
    folders = [*root.glob("lib/python*/site-packages"), *root.glob("lib/python*/dist-packages")]
    return {str(folder): folder.stat().st_mtime_ns for folder in sorted(folders)}


def _machine() -> list[str]:
    """Return what tells this machine's processor from another: its own words, and the kernel's."""
    words = ("vendor_id", "cpu family", "model", "stepping", "flags", "CPU part", "Features")
    found = {}
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as stream:
            for line in stream:
                key, _, value = line.partition(":")
                if key.strip() in found:
                    break
                if key.strip():
                    found[key.strip()] = value.strip()
    except OSError:
        pass  # Without it the kernel's word must do.
    return [os.uname().machine, *(found.get(word, "") for word in words)]


def run_id_prefix() -> str:
    """Return when a plan was made, to the microsecond, and a few random digits: a prefix of ids."""
    now = time.time()
    clock = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now))
    return f"{clock}.{int(now * 1e6) % 1000000:06d}-{os.urandom(2).hex()}"

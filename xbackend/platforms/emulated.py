"""Emulated x86 processors through QEMU's user mode, and the files that hide the host from them.

What was measured: libraries dispatch on the emulated CPUID and the arithmetic is IEEE-exact, so
the bits are those of that kind of processor; but /proc/cpuinfo and the list of cores show the
host's, unless files of the same path lie under a folder given with `-L`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xbackend.errors import UsageError, did_you_mean, nearest_words
from xbackend.platforms.platform import Platform, find_command, list_processors
from xbackend.plugins.installed import cache_folder
from xbackend.worker.machine.environment import TCG
from xbackend.worker.objects import write_atomic

FLEETS = {
    "x86": (
        "qemu:Nehalem",
        "qemu:SandyBridge",
        "qemu:Opteron_G4",
        "qemu:Haswell",
        "qemu:EPYC",
        "qemu:EPYC-Rome",
    ),
}
"""One processor for each behaviour that was seen: SSE4.2; AVX of Intel and of AMD; AVX2 with FMA
of Intel, of AMD's first Zen (XNNPACK has kernels of its own for it) and of its later ones."""

WITHOUT_64_BITS = frozenset(
    "486 athlon base coreduo kvm32 n270 pentium pentium2 pentium3 qemu32".split()
)
"""Processors of `-cpu help` that cannot run a Python of 64 bits."""

MISSING_FEATURES = {
    **dict.fromkeys(
        ("Cascadelake-Server", "Cooperlake", "Icelake-Server", "KnightsMill", "Skylake-Server"),
        "AVX-512",
    ),
    "Opteron_G4": "FMA4",
    "Opteron_G5": "FMA4",
}
"""Processors to what the real ones compute with and the emulator does not have."""

LISTED = re.compile(r"\s*(?:x86 )?(\S+)\s+(.*)")
VERSION = re.compile(r"-v\d+$")

HOST_KERNELS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Variables that tell a library which kernels this machine has, whatever it is shown."""
PROBE = (
    "import sys, json; sys.path.insert(0, sys.argv[1]); "
    "from xbackend.worker.machine.fingerprint import hardware; print(json.dumps(hardware()))"
)


def qemu(platform: Platform, value: str) -> Platform:
    """Emulate a processor, named and changed as QEMU's option `-cpu` does."""
    if not value:
        raise UsageError("The platform 'qemu:' needs a processor, such as qemu:Haswell.")
    if platform.transport or platform.emulator:
        other = platform.transport or "another emulated processor"
        raise UsageError(f"'qemu:{value}' cannot be joined with {other}.")
    emulator = find_command("qemu-x86_64", f"qemu:{value}", "qemu-user")
    overlay = make_overlay(emulator, value, platform.cores)
    inherited = [name for name in HOST_KERNELS if name in os.environ]
    unset = ("-U", ",".join(inherited)) if inherited else ()
    prefix = (*platform.prefix, emulator, *unset, "-L", str(overlay), "-cpu", value)
    return replace(platform, prefix=prefix, emulator=TCG)


def make_overlay(emulator: str, cpu: str, cores: int) -> Path:
    """Return a folder with /proc/cpuinfo and the list of cores as the emulated machine has them.

    It is made once for each processor and kept in the user's cache folder.
    """
    processor = probe(emulator, cpu)
    text = cpuinfo(processor, cores)
    digest = hashlib.sha256(f"{cores}\n{text}".encode()).hexdigest()[:32]
    folder = cache_folder() / "overlays" / digest
    listed = "0" if cores == 1 else f"0-{cores - 1}"
    system = folder / "sys" / "devices" / "system" / "cpu"
    files = {system / name: f"{listed}\n" for name in ("online", "possible", "present")}
    files[folder / "proc" / "cpuinfo"] = text
    for path, content in files.items():
        if not path.exists():
            write_atomic(str(path), content.encode())
    return folder


@functools.cache
def probe(emulator: str, cpu: str) -> dict[str, Any]:
    """Return what a worker sees of an emulated processor. Raises UsageError if there is none.

    Asked once for each version of the emulator, and kept in the user's cache folder.
    """
    path = cache_folder() / "processors" / f"{_probe_digest(emulator, cpu)}.json"
    try:
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return known
    except (OSError, ValueError):
        seen = _ask(emulator, cpu)
    write_atomic(str(path), json.dumps(seen).encode())
    return seen


def _ask(emulator: str, cpu: str) -> dict[str, Any]:
    root = str(Path(__file__).parents[2])
    command = [emulator, "-cpu", cpu, _real_python(), "-S", "-c", PROBE, root]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode or not done.stdout.strip():
        lines = [
            line for line in done.stderr.splitlines() if "warning" not in line and line.strip()
        ]
        raise UsageError(_why_not(emulator, cpu, lines[-1].strip() if lines else "it crashed"))
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def _why_not(emulator: str, cpu: str, said: str) -> str:
    """Return why nothing can be run on a processor: it does not exist, or Python dies on it."""
    if "uncaught target signal" in said:
        return f"Python itself does not run on 'qemu:{cpu}': {said.removeprefix('qemu: ')}."
    name, comma, flags = cpu.partition(",")
    known = [each["name"] for each in x86_processors()]
    near = ""
    if name not in known:
        meant = [f"qemu:{each}{comma}{flags}" for each in nearest_words(name, known)]
        near = did_you_mean(f"qemu:{cpu}", meant)
    return (
        f"There is no platform 'qemu:{cpu}': {said}. '{emulator} -cpu help' lists the processors."
        f"{near}"
    )


def _real_python() -> str:
    return str(Path(sys.executable).resolve())


def _probe_digest(emulator: str, cpu: str) -> str:
    stat = Path(emulator).resolve().stat()
    source = Path(__file__).parents[1] / "worker" / "machine"
    digest = hashlib.sha256(f"{cpu}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
    for name in ("cpuid.py", "fingerprint.py", "gpu.py"):
        digest.update((source / name).read_bytes())
    return digest.hexdigest()[:32]


def cpuinfo(processor: dict[str, Any], cores: int) -> str:
    """Return /proc/cpuinfo of an emulated machine, in Linux's words for x86."""
    vendor = {"Intel": "GenuineIntel", "AMD": "AuthenticAMD"}
    caches = processor["caches"]
    shared = {
        "vendor_id": vendor.get(processor["vendor"], processor["vendor"]),
        "cpu family": processor["family"],
        "model": processor["model"],
        "model name": processor["device"],
        "stepping": processor["stepping"],
        "cache size": f"{caches.get('L3', caches.get('L2', 0)) >> 10} KB",
        "physical id": 0,
        "siblings": cores,
        "cpu cores": cores,
        "fpu": "yes",
        "flags": " ".join(flag for flag in processor["flags"] if flag != "osxsave"),
        "clflush size": 64,
        "address sizes": "40 bits physical, 48 bits virtual",
    }
    blocks = []
    for core in range(cores):
        fields = {"processor": core, **shared, "core id": core, "apicid": core}
        blocks.append("".join(f"{key}\t: {value}\n" for key, value in fields.items()))
    return "\n".join(blocks) + "\n"


def x86_processors() -> list[dict[str, str]]:
    """Return the processors that `qemu-x86_64` knows, none without it."""
    emulator = shutil.which("qemu-x86_64")
    return [] if emulator is None else read_listing(list_processors(emulator))


def read_listing(lines: Sequence[str]) -> list[dict[str, str]]:
    """Return name and description of each processor, those of its first version, and what it lacks.

    >>> read_listing(["x86 EPYC  (alias configured by machine type)", "x86 EPYC-v1  AMD EPYC"])
    [{'name': 'EPYC', 'description': 'AMD EPYC', 'lacks': ''}]
    """
    found = (LISTED.fullmatch(line) for line in lines)
    texts = {str(match[1]): str(match[2]) for match in found if match}
    names = [name for name in texts if not VERSION.search(name)]
    return [
        {
            "name": name,
            "description": texts.get(f"{name}-v1", texts[name]),
            "lacks": MISSING_FEATURES.get(name, ""),
        }
        for name in names
        if name not in WITHOUT_64_BITS and not texts[name].startswith("(alias of")
    ]

"""What machine and software a worker runs on, with the standard library alone."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, List, Sequence

from xbackend.worker.machine import gpu, libraries
from xbackend.worker.machine.cpuid import Processor, read_processor
from xbackend.worker.machine.environment import BIT_CHANGING, TCG

VENDORS = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD", "HygonGenuine": "Hygon"}

INTEL_6 = {
    "Nehalem": (0x1A, 0x1E, 0x1F, 0x2E),
    "Westmere": (0x25, 0x2C, 0x2F),
    "Sandy Bridge": (0x2A, 0x2D),
    "Ivy Bridge": (0x3A, 0x3E),
    "Haswell": (0x3C, 0x3F, 0x45, 0x46),
    "Broadwell": (0x3D, 0x47, 0x4F, 0x56),
    "Skylake": (0x4E, 0x5E, 0x55),
    "Kaby Lake": (0x8E, 0x9E),
    "Ice Lake": (0x6A, 0x6C, 0x7D, 0x7E),
    "Tiger Lake": (0x8C, 0x8D),
    "Alder Lake": (0x97, 0x9A),
    "Sapphire Rapids": (0x8F,),
    "Emerald Rapids": (0xCF,),
    "Granite Rapids": (0xAD, 0xAE),
}
"""Intel's family 6: model numbers by microarchitecture (Intel SDM volume 4, table 2-1)."""

LATER_STEPPINGS = (
    (0x55, 5, 7, "Cascade Lake"),
    (0x55, 10, 11, "Cooper Lake"),
    (0x9E, 10, 13, "Coffee Lake"),
)
"""Model, first and last stepping of microarchitectures that share a model with an older one."""


BORN_WITH_AVX512 = (0x55, 0x6A, 0x6C, 0x7D, 0x7E, 0x8C, 0x8D, 0x8F, 0xCF, 0xAD, 0xAE)
"""Models of family 6 whose chips all have AVX-512, so that an emulator without it is told."""

ARM_IMPLEMENTERS = {
    0x00: "QEMU",
    0x41: "ARM",
    0x43: "Cavium",
    0x46: "Fujitsu",
    0x48: "HiSilicon",
    0x4E: "NVIDIA",
    0x51: "Qualcomm",
    0x61: "Apple",
    0xC0: "Ampere",
}
ARM_PARTS = {
    ("ARM", 0xD03): "Cortex-A53",
    ("ARM", 0xD04): "Cortex-A35",
    ("ARM", 0xD05): "Cortex-A55",
    ("ARM", 0xD07): "Cortex-A57",
    ("ARM", 0xD08): "Cortex-A72",
    ("ARM", 0xD09): "Cortex-A73",
    ("ARM", 0xD0A): "Cortex-A75",
    ("ARM", 0xD0B): "Cortex-A76",
    ("ARM", 0xD0C): "Neoverse N1",
    ("ARM", 0xD0D): "Cortex-A77",
    ("ARM", 0xD40): "Neoverse V1",
    ("ARM", 0xD41): "Cortex-A78",
    ("ARM", 0xD44): "Cortex-X1",
    ("ARM", 0xD46): "Cortex-A510",
    ("ARM", 0xD47): "Cortex-A710",
    ("ARM", 0xD49): "Neoverse N2",
    ("ARM", 0xD4A): "Neoverse E1",
    ("ARM", 0xD4F): "Neoverse V2",
    ("Ampere", 0xAC3): "Ampere-1",
    ("Apple", 0x022): "Apple M1",
    ("Apple", 0x023): "Apple M1",
    ("Cavium", 0x0AF): "ThunderX2",
    ("Fujitsu", 0x001): "A64FX",
    ("HiSilicon", 0xD01): "Kunpeng 920",
    ("QEMU", 0x051): "QEMU max",
}
"""Implementer and part number of MIDR_EL1 (Linux, arch/arm64/include/asm/cputype.h); QEMU's own
processor with every feature has the part number `Q` of no implementer (target/arm/cpu64.c)."""


def hardware() -> Dict[str, Any]:
    """Return what computes: the processor as CPUID shows it to this process, cores, memory.

    Where there is no CPUID, Linux is asked. `hypervisor` is the signature of what stands between:
    `TCGTCGTCGTCG` for QEMU's emulator.
    """
    seen = read_processor() or parse_cpuinfo(_cpuinfo())
    return {
        "vendor": VENDORS.get(seen.vendor_id, seen.vendor_id or "unknown"),
        "device": seen.brand or os.uname().machine,
        "microarchitecture": microarchitecture(seen),
        "family": seen.family,
        "model": seen.model,
        "stepping": seen.stepping,
        "cores": len(_affinity()) or os.cpu_count() or 1,
        "affinity": _affinity(),
        "memory_bytes": _memory(),
        "flags": list(seen.flags),
        "caches": seen.caches,
        "hypervisor": seen.hypervisor,
        "machine": os.uname().machine,
        **({"gpus": [], "gpu_driver": ""} if seen.hypervisor == TCG else gpu.list_gpus()),
    }


def software() -> Dict[str, Any]:
    """Return Python, operating system, C library, and the variables that can change bits."""
    return {
        "python": sys.version.split()[0],
        "implementation": sys.implementation.name,
        "system": f"{os.uname().sysname} {os.uname().release}",
        "distribution": _distribution(),
        "libc": _libc(),
        "environment": {name: os.environ[name] for name in BIT_CHANGING if name in os.environ},
    }


def loaded_components() -> Dict[str, Any]:
    """Return what only a process that has computed can tell: `libraries`, `versions`, `gpu`.

    The driver of a GPU is asked only where a framework uses it.
    """
    paths = libraries.loaded_libraries()
    woken = any(os.path.basename(path).startswith("libcuda.") for path in paths)
    return {
        "libraries": libraries.file_names(paths),
        "versions": libraries.library_versions(paths),
        "gpu": gpu.query_gpus() if woken else {},
    }


def microarchitecture(cpu: Processor) -> str:
    """Name the microarchitecture from family, model and flags; `unknown` if it is not listed."""
    if cpu.vendor_id == "GenuineIntel" and cpu.family == 6:
        return _intel(cpu)
    if cpu.vendor_id == "AuthenticAMD":
        return _amd(cpu.family, cpu.model, cpu.flags)
    return ARM_PARTS.get((cpu.vendor_id, cpu.model), "unknown")


def _intel(cpu: Processor) -> str:
    """Name a processor of family 6; an emulator may show flags that its stepping does not have."""
    name = next((name for name, models in INTEL_6.items() if cpu.model in models), "unknown")
    for model, first, last, later in LATER_STEPPINGS:
        if cpu.model == model and first <= cpu.stepping <= last:
            name = later
    if cpu.model == 0x55 and "avx512_bf16" in cpu.flags:
        return "Cooper Lake"
    if cpu.model == 0x55 and "avx512_vnni" in cpu.flags:
        return "Cascade Lake"
    if cpu.model in BORN_WITH_AVX512 and "avx512f" not in cpu.flags:
        return f"{name} without AVX-512"
    return name


def _amd(family: int, model: int, flags: Sequence[str]) -> str:
    """Name a processor of AMD; an emulator may lack what every one of its kind has."""
    if family in (0x17, 0x19) and model >= 0xB0:
        return "unknown"
    if family == 0x17:
        return "Zen 2" if model >= 0x30 else "Zen"
    if family == 0x19:
        return "Zen 4" if 0x10 <= model < 0x20 or 0x60 <= model < 0xB0 else "Zen 3"
    if family == 0x15:
        return _bulldozer(model) + ("" if "fma4" in flags else " without FMA4")
    return {0x1A: "Zen 5"}.get(family, "unknown")


def _bulldozer(model: int) -> str:
    """Name a core of family 0x15 (Linux, arch/x86/events/amd/core.c, and AMD's revision guides)."""
    if model >= 0x60:
        return "Excavator"
    if model >= 0x30:
        return "Steamroller"
    return "Piledriver" if model == 2 or model >= 0x10 else "Bulldozer"


def parse_cpuinfo(fields: Dict[str, str]) -> Processor:
    """Return what /proc/cpuinfo says of the first processor, in ARM's words or in x86's."""
    implementer = fields.get("CPU implementer", "")
    vendor = ARM_IMPLEMENTERS.get(int(implementer, 0), implementer) if implementer else ""
    part = int(fields.get("CPU part", "0"), 0)
    return Processor(
        vendor_id=fields.get("vendor_id", vendor),
        brand=fields.get("model name", ARM_PARTS.get((vendor, part), "")),
        family=int(fields.get("cpu family", fields.get("CPU architecture", "0"))),
        model=int(fields.get("model", "0")) or part,
        stepping=int(fields.get("stepping", fields.get("CPU revision", "0"))),
        flags=tuple(sorted(set(fields.get("flags", fields.get("Features", "")).split()))),
        caches={},
        hypervisor=_hypervisor(),
    )


def _hypervisor() -> str:
    """Return what Linux names as hypervisor, such as `xen`; under an emulator it is told to."""
    try:
        with open("/sys/hypervisor/type", encoding="ascii", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def _cpuinfo() -> Dict[str, str]:
    """Return the first processor's fields of /proc/cpuinfo, nothing where there is none."""
    fields: Dict[str, str] = {}
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as stream:
            for line in stream:
                key, colon, value = line.partition(":")
                if not colon and fields:
                    break
                fields[key.strip()] = value.strip()
    except OSError:
        return {}
    return fields


def _affinity() -> List[int]:
    """Return the numbers of the cores that this process may use, none where it cannot be known."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _distribution() -> str:
    """Return what the system calls itself, such as `Debian GNU/Linux 12 (bookworm)`."""
    try:
        with open("/etc/os-release", encoding="utf-8", errors="replace") as stream:
            found = [line for line in stream if line.startswith("PRETTY_NAME=")]
    except OSError:
        return ""
    return found[0].partition("=")[2].strip().strip("\"'") if found else ""


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0


def _libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or "unknown"
    except (ValueError, OSError, AttributeError):
        return "unknown"

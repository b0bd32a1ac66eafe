"""What py-cpuinfo tells of a processor, as the hardware of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xbackend.worker.machine.cpuid import Processor
from xbackend.worker.machine.fingerprint import VENDORS, microarchitecture

CACHES = {"L1d": "l1_data_cache_size", "L2": "l2_cache_size", "L3": "l3_cache_size"}


def hardware(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return vendor, device, microarchitecture, cores, flags and more, without what is not told.

    py-cpuinfo leaves out every number that is 0, so a processor without a stepping has stepping 0.
    """
    cpu = processor(info)
    told = {
        "vendor": VENDORS.get(cpu.vendor_id, cpu.vendor_id),
        "device": cpu.brand,
        "microarchitecture": microarchitecture(cpu) if cpu.vendor_id else "",
        "cores": _number(info, "count"),
        "flags": list(cpu.flags),
        "caches": cpu.caches,
        "machine": _text(info, "arch_string_raw"),
    }
    numbers = {"family": cpu.family, "model": cpu.model, "stepping": cpu.stepping}
    found = {key: value for key, value in told.items() if value}
    return {**found, **numbers} if cpu.family else found


def processor(info: Mapping[str, Any]) -> Processor:
    """Return the processor that py-cpuinfo describes, empty and 0 where it says nothing."""
    flags = info.get("flags")
    names = flags if isinstance(flags, list) else []
    return Processor(
        vendor_id=_text(info, "vendor_id_raw"),
        brand=_text(info, "brand_raw"),
        family=_number(info, "family"),
        model=_number(info, "model"),
        stepping=_number(info, "stepping"),
        flags=tuple(sorted({name for name in names if isinstance(name, str)})),
        caches=_caches(info),
        hypervisor="",
    )


def _caches(info: Mapping[str, Any]) -> dict[str, int]:
    """Return the caches of one core, in bytes, as far as they are told.

    A size in words, such as `192 KiB`, is the sum over a number of cores that is not told. What is
    called the third level comes from the kernel's one `cache size`, which is the second for AMD.
    """
    levels = [
        level for level in CACHES if level != "L3" or info.get("vendor_id_raw") == "GenuineIntel"
    ]
    sizes = {level: _number(info, CACHES[level]) for level in levels}
    return {level: size for level, size in sizes.items() if size}


def _text(info: Mapping[str, Any], key: str) -> str:
    value = info.get(key)
    return " ".join(value.split()) if isinstance(value, str) else ""


def _number(info: Mapping[str, Any], key: str) -> int:
    value = info.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0

"""What can be switched on an emulated x86 processor: flags off, and what else CPUID tells.

A switch is a text: a flag such as `fma`, which is switched off, or a property and its value such
as `legacy-cache=on`, which it is set to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from xbackend.errors import UsageError

Record = dict[str, Any]
Switches = frozenset[str]

FLAG_DEPENDENCIES: Mapping[str, tuple[str, ...]] = {
    "pni": (),
    "ssse3": ("pni",),
    "sse4_1": ("ssse3",),
    "sse4_2": ("sse4_1",),
    "popcnt": (),
    "movbe": (),
    "aes": (),
    "pclmulqdq": (),
    "xsave": (),
    "avx": ("xsave", "sse4_2"),
    "f16c": ("avx",),
    "fma": ("avx",),
    "fma4": ("avx",),
    "xop": ("avx",),
    "avx2": ("avx",),
    "bmi1": (),
    "bmi2": (),
    "abm": (),
    "adx": (),
    "sse4a": (),
    "sha_ni": (),
    "erms": (),
    "fsgsbase": (),
    "rdrand": (),
    "rdseed": (),
    "clflushopt": (),
}
"""Flags that can be switched off, in Linux's names, which QEMU takes; and those without which each
does not exist (Intel SDM volume 1, chapters 12 to 14: what software must check before it)."""

CACHES = ("legacy-cache=on", "legacy-cache=off", "l3-cache=off")
"""What QEMU lets one say of the caches: AMD's newer models report their own unless told to report
those of old ones; the third level can be hidden (qemu, target/i386/cpu.c)."""

VENDORS = {"Intel": "vendor=AuthenticAMD", "AMD": "vendor=GenuineIntel"}
"""A vendor to the switch that makes a processor the other one's with the same flags. CPUID then
tells the caches by the other one's leaves, so their sizes may change with it."""

NO_MODEL = "model=255"
"""A model number that no processor has, so that no library knows the microarchitecture."""


def cpu_properties(vendor: str) -> tuple[str, ...]:
    """Return the switches that are no flags, for a processor of a vendor.

    >>> cpu_properties("AMD")
    ('legacy-cache=on', 'legacy-cache=off', 'l3-cache=off', 'vendor=GenuineIntel', 'model=255')
    """
    other = VENDORS.get(vendor)
    return (*CACHES, *([other] if other else []), NO_MODEL)


def is_flag(switch: str) -> bool:
    """Tell a flag from a property.

    >>> is_flag("fma"), is_flag("legacy-cache=on")
    (True, False)
    """
    return "=" not in switch


def switchable(flags: Iterable[str]) -> tuple[str, ...]:
    """Return which flags of a processor can be switched off, in the order of `FLAG_DEPENDENCIES`.

    >>> switchable(["sse2", "fma", "avx"])
    ('avx', 'fma')
    """
    had = set(flags)
    return tuple(flag for flag in FLAG_DEPENDENCIES if flag in had)


def with_dependents(removed: Iterable[str], had: Iterable[str]) -> Switches:
    """Return flags with those that cannot be without them, as far as the processor had them.

    >>> sorted(with_dependents(["avx"], ["avx", "avx2", "fma", "bmi2"]))
    ['avx', 'avx2', 'fma']
    """
    gone = set(removed)
    present = set(had)
    while True:
        more = {f for f in present - gone if gone & set(FLAG_DEPENDENCIES.get(f, ()))}
        if not more:
            return frozenset(gone & present)
        gone |= more


def qemu_suffix(switches: Iterable[str]) -> str:
    """Return what is added to a processor's name to switch it, in QEMU's words.

    >>> qemu_suffix(["legacy-cache=on", "fma"])
    ',-fma,legacy-cache=on'
    """
    ordered = sorted(switches, key=lambda switch: (not is_flag(switch), switch))
    return "".join(f",-{switch}" if is_flag(switch) else f",{switch}" for switch in ordered)


def select_switches(only: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Return the switches that a user names, by the whole text or by a property's name.

    Raises UsageError for a name that no switch has.

    >>> select_switches(["legacy-cache", "fma"], ["avx2", "fma", "legacy-cache=on"])
    ('fma', 'legacy-cache=on')
    """
    names, all_known = list(only), list(known)
    for name in names:
        if not any(name in (switch, switch.partition("=")[0]) for switch in all_known):
            raise UsageError(
                f"'{name}' cannot be switched on this processor. What can: {', '.join(all_known)}."
            )
    return tuple(s for s in all_known if s in names or s.partition("=")[0] in names)


def hardware_differences(before: Record, after: Record) -> tuple[str, ...]:
    """Return how what a worker sees of a processor differs, but for flags: what a switch did.

    >>> hardware_differences({"caches": {"L1d": 32768}}, {"caches": {"L1d": 65536}})
    ('L1d 64 KiB instead of 32 KiB',)
    """
    told = _comparable_facts(before), _comparable_facts(after)
    names = list(dict.fromkeys([*told[0], *told[1]]))
    return tuple(
        _change(name, told[0].get(name), told[1].get(name))
        for name in names
        if told[0].get(name) != told[1].get(name)
    )


def _change(name: str, before: str | None, after: str | None) -> str:
    return f"{f'no {name}' if after is None else f'{name} {after}'} instead of {before or 'none'}"


def _comparable_facts(hardware: Record) -> dict[str, str]:
    keys = ("vendor", "microarchitecture", "family", "model")
    caches = {level: f"{size >> 10} KiB" for level, size in (hardware.get("caches") or {}).items()}
    return {**{key: str(hardware[key]) for key in keys if key in hardware}, **caches}

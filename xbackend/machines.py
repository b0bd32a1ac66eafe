"""The order of machines in tables and figures: by vendor, then microarchitecture, then cores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CHRONOLOGY = (
    "Nehalem", "Westmere", "Sandy Bridge", "Ivy Bridge", "Haswell", "Broadwell", "Skylake",
    "Kaby Lake", "Coffee Lake", "Cascade Lake", "Cooper Lake", "Ice Lake", "Tiger Lake",
    "Alder Lake", "Sapphire Rapids", "Emerald Rapids", "Granite Rapids",
    "Bulldozer", "Zen", "Zen 2", "Zen 3", "Zen 4", "Zen 5",
    "Kepler", "Maxwell", "Pascal", "Volta", "Turing", "Ampere", "Ada", "Hopper", "Blackwell",
    "Cortex-A53", "Cortex-A57", "Cortex-A72", "Cortex-A76", "Neoverse N1", "Neoverse V1",
    "Neoverse N2", "Neoverse V2",
)  # fmt: skip
"""Microarchitectures as they appeared, one maker after the other."""

Key = tuple[str, int, str, int]


def order(hardware: Mapping[str, Any]) -> Key:
    """Return what machines are sorted by; what is not known comes last.

    >>> order({"vendor": "AMD", "microarchitecture": "Zen 2", "cores": 4})
    ('amd', 19, 'Zen 2', 4)
    """
    name = str(hardware.get("microarchitecture") or "unknown")
    cores = hardware.get("cores")
    return (
        str(hardware.get("vendor") or "unknown").lower(),
        _age(name),
        name,
        cores if isinstance(cores, int) else 9999,
    )


def _age(name: str) -> int:
    """Return the place of a name, `Skylake without AVX-512` beside `Skylake`."""
    plain = name.partition(" without ")[0]
    return CHRONOLOGY.index(plain) + 1 if plain in CHRONOLOGY else 99

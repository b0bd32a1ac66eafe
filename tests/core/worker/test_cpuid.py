"""CPUID: the registers of known processors, decoded as their vendors document them."""

import platform
from pathlib import Path

import pytest

from xbackend.worker.machine.cpuid import describe, read_processor
from xbackend.worker.machine.fingerprint import hardware, microarchitecture


def _ascii(text):
    data = text.encode().ljust(16, b"\0")
    return tuple(int.from_bytes(data[i : i + 4], "little") for i in range(0, 16, 4))


def _processor(leaves, saved=0x7):
    return describe(lambda leaf, sub: leaves.get((leaf, sub), (0, 0, 0, 0)), lambda: saved)


def _vendor(text, highest):
    ebx, edx, ecx, _ = _ascii(text)
    return highest, ebx, ecx, edx


HASWELL = {
    (0, 0): _vendor("GenuineIntel", 13),
    (1, 0): (0x306C4, 0x800, 0xFED83203, 0x78BFBFD),
    (4, 0): (0x121, 0x1C0003F, 0x3F, 1),
    (4, 1): (0x122, 0x1C0003F, 0x3F, 1),
    (4, 2): (0x143, 0x3C0003F, 0xFFF, 1),
    (4, 3): (0x163, 0x3C0003F, 0x3FFF, 6),
    (7, 0): (0, 0x3A9, 0, 0),
    (0x40000000, 0): (0x40000001, *_ascii("TCGTCGTCGTCG")[:3]),
    (0x80000000, 0): (0x80000008, 0, 0, 0),
    (0x80000001, 0): (0, 0, 0x21, 0x2C100800),
    (0x80000002, 0): _ascii("Intel Core Proce"),
    (0x80000003, 0): _ascii("ssor (Haswell)"),
}
"""QEMU's Haswell."""
ZEN2 = {
    (0, 0): _vendor("AuthenticAMD", 13),
    (1, 0): (0x830F10, 0, 1 << 27 | 1 << 28, 0),
    (0x80000000, 0): (0x8000001E, 0, 0, 0),
    (0x80000001, 0): (0, 0, 1 << 22, 0),
    (0x8000001D, 0): (0x121, 0x1C0003F, 0x3F, 0),
    (0x8000001D, 1): (0x122, 0x1C0003F, 0x3F, 0),
    (0x8000001D, 2): (0x143, 0x1C0003F, 0x3FF, 0),
    (0x8000001D, 3): (0x163, 0x3C0003F, 0x3FFF, 0),
}
OPTERON = {
    (0, 0): _vendor("AuthenticAMD", 13),
    (1, 0): (0x600F12, 0, 0, 0),
    (0x80000000, 0): (0x80000008, 0, 0, 0),
    (0x80000001, 0): (0, 0, 1 << 11 | 1 << 16, 0),
    (0x80000005, 0): (0, 0, 0x10040140, 0),
    (0x80000006, 0): (0, 0, 0x08004140, 0x0040C140),
}


def test_haswell_is_read_as_its_vendor_documents_it():
    cpu = _processor(HASWELL)
    assert (cpu.vendor_id, cpu.family, cpu.model, cpu.stepping) == ("GenuineIntel", 6, 60, 4)
    assert cpu.brand == "Intel Core Processor (Haswell)"
    assert {"avx", "avx2", "fma", "bmi1", "bmi2", "f16c", "sse4_2", "abm"} <= set(cpu.flags)
    assert not [flag for flag in cpu.flags if flag.startswith("avx512")]
    assert cpu.caches == {"L1d": 32 << 10, "L2": 4 << 20, "L3": 16 << 20}
    assert cpu.hypervisor == "TCGTCGTCGTCG"
    assert microarchitecture(cpu) == "Haswell"


def test_flags_whose_registers_nobody_saves_do_not_count():
    flags = set(_processor(HASWELL, saved=0x1).flags)
    assert not flags & {"avx", "avx2", "fma", "f16c"}
    assert "sse4_2" in flags


def test_amds_caches_come_from_their_own_leaves():
    assert _processor(ZEN2).caches == {"L1d": 32 << 10, "L2": 512 << 10, "L3": 16 << 20}
    assert microarchitecture(_processor(ZEN2)) == "Zen 2"
    assert _processor(OPTERON).caches == {"L1d": 16 << 10, "L2": 2 << 20, "L3": 8 << 20}
    assert microarchitecture(_processor(OPTERON)) == "Bulldozer without FMA4"


@pytest.mark.parametrize(
    ("signature", "leaf7", "name"),
    [
        (0x206A7, (0, 0, 0, 0), "Sandy Bridge"),
        (0x50654, (0, 1 << 16, 0, 0), "Skylake"),
        (0x50654, (0, 0, 0, 0), "Skylake without AVX-512"),
        (0x506E3, (0, 0, 0, 0), "Skylake"),
        (0x50657, (0, 1 << 16, 1 << 11, 0), "Cascade Lake"),
        (0x50657, (0, 1 << 16, 0, 0), "Cascade Lake"),
        (0x50657, (0, 0, 0, 0), "Cascade Lake without AVX-512"),
        (0x906E9, (0, 0, 0, 0), "Kaby Lake"),
        (0x906ED, (0, 0, 0, 0), "Coffee Lake"),
        (0x606A6, (0, 1 << 16, 0, 0), "Ice Lake"),
        (0xC06F2, (0, 1 << 16, 0, 0), "Emerald Rapids"),
        (0x00F12, (0, 0, 0, 0), "unknown"),
    ],
)
def test_intels_microarchitectures_are_told_by_model_stepping_and_flags(signature, leaf7, name):
    leaves = {**HASWELL, (1, 0): (signature, 0, 1 << 27, 0), (7, 0): leaf7}
    assert microarchitecture(_processor(leaves, saved=0xE7)) == name


@pytest.mark.skipif(platform.machine() != "x86_64", reason="CPUID is x86's.")
def test_this_processor_is_the_one_that_linux_shows():
    cpu = read_processor()
    assert cpu is not None
    shown = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        shown.setdefault(key.strip(), value.strip())
    assert cpu.vendor_id == shown["vendor_id"]
    assert (cpu.family, cpu.model) == (int(shown["cpu family"]), int(shown["model"]))
    assert cpu.brand == " ".join(shown["model name"].split())
    # Linux shows no osxsave, and hides rdseed where the microcode's is broken.
    assert set(cpu.flags) - {"osxsave", "rdseed"} <= set(shown["flags"].split())
    assert {"sse2", "lm"} <= set(cpu.flags)


def test_hardware_has_the_keys_of_the_contract():
    keys = {"vendor", "device", "microarchitecture", "cores", "memory_bytes", "flags"}
    assert keys <= set(hardware())

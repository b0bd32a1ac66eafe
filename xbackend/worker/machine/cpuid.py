"""What the processor says of itself through the CPUID instruction, as this process sees it.

Under an emulator that is the emulated processor, where /proc/cpuinfo shows the host. Names of
flags are Linux's (arch/x86/include/asm/cpufeatures.h); leaves are those of the Intel SDM, volume
2A, CPUID, and of AMD's APM, volume 3, appendix E.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from dataclasses import dataclass
from typing import Callable, Dict, List, Tuple

Registers = Tuple[int, int, int, int]
"""EAX, EBX, ECX, EDX."""
Cpuid = Callable[[int, int], Registers]

CODE = bytes.fromhex("53 89f8 89f1 4989d0 0fa2 418900 41895804 41894808 4189500c 5b c3")
"""void f(leaf, subleaf, out[4]): push rbx; cpuid; store the four; pop rbx; ret."""
XGETBV = bytes.fromhex("31c9 0f01d0 c3")
"""uint32 f(): xor ecx, ecx; xgetbv; ret."""

EAX, EBX, ECX, EDX = range(4)
FLAGS: Dict[Tuple[int, int, int], str] = {
    (0x1, 0, EDX): "fpu:0 cx8:8 cmov:15 mmx:23 fxsr:24 sse:25 sse2:26 ht:28",
    (0x1, 0, ECX): "pni:0 pclmulqdq:1 ssse3:9 fma:12 cx16:13 sse4_1:19 sse4_2:20 movbe:22 "
    "popcnt:23 aes:25 xsave:26 osxsave:27 avx:28 f16c:29 rdrand:30 hypervisor:31",
    (0x7, 0, EBX): "fsgsbase:0 bmi1:3 avx2:5 bmi2:8 erms:9 avx512f:16 avx512dq:17 rdseed:18 adx:19 "
    "avx512ifma:21 clflushopt:23 clwb:24 avx512pf:26 avx512er:27 avx512cd:28 sha_ni:29 "
    "avx512bw:30 avx512vl:31",
    (0x7, 0, ECX): "avx512vbmi:1 avx512_vbmi2:6 gfni:8 vaes:9 vpclmulqdq:10 avx512_vnni:11 "
    "avx512_bitalg:12 avx512_vpopcntdq:14 rdpid:22",
    (0x7, 0, EDX): "avx512_4vnniw:2 avx512_4fmaps:3 fsrm:4 amx_bf16:22 avx512_fp16:23 amx_tile:24 "
    "amx_int8:25",
    (0x7, 1, EAX): "avx_vnni:4 avx512_bf16:5 amx_fp16:21 avx_ifma:23",
    (0x80000001, 0, EDX): "syscall:11 nx:20 mmxext:22 pdpe1gb:26 rdtscp:27 lm:29 3dnowext:30 "
    "3dnow:31",
    (0x80000001, 0, ECX): "lahf_lm:0 abm:5 sse4a:6 misalignsse:7 3dnowprefetch:8 xop:11 fma4:16 "
    "tbm:21 topoext:22",
}
"""Leaf, subleaf and register to names and bits."""

_pages: List[ctypes.c_char] = []
"""What keeps the pages of code alive as long as they may be called."""


@dataclass(frozen=True)
class Processor:
    """What CPUID tells."""

    vendor_id: str
    """Twelve letters, such as `GenuineIntel`."""
    brand: str
    family: int
    model: int
    stepping: int
    flags: Tuple[str, ...]
    """Sorted; what the operating system does not save (AVX without XSAVE) is left out."""
    caches: Dict[str, int]
    """Bytes of L1d, L2 and L3, as far as they are reported."""
    hypervisor: str
    """The hypervisor's own signature, `TCGTCGTCGTCG` for QEMU's emulator; empty without one."""


def read_processor() -> Processor | None:
    """Ask the processor; None where it is not an x86-64, or executable memory is not allowed."""
    if os.uname().machine != "x86_64":
        return None
    try:
        cpuid, xgetbv = _functions()
    except (OSError, PermissionError, ValueError):
        return None
    return describe(cpuid, xgetbv)


def describe(cpuid: Cpuid, xgetbv: Callable[[], int]) -> Processor:
    """Read all leaves. `xgetbv` gives the low half of XCR0 and is called only if it exists."""
    highest, *_ = cpuid(0, 0)
    extended = cpuid(0x80000000, 0)[EAX]
    signature = cpuid(1, 0)[EAX]
    family, model = _family_and_model(signature)
    vendor_id = _vendor(cpuid)
    flags = _flags(cpuid, xgetbv, highest, extended)
    return Processor(
        vendor_id=vendor_id,
        brand=_brand(cpuid) if extended >= 0x80000004 else "",
        family=family,
        model=model,
        stepping=signature & 0xF,
        flags=tuple(sorted(flags)),
        caches=_caches(cpuid, vendor_id, highest, extended, "topoext" in flags),
        hypervisor=_hypervisor(cpuid) if "hypervisor" in flags else "",
    )


def _functions() -> Tuple[Cpuid, Callable[[], int]]:
    """Make the two instructions callable."""
    protection = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=protection)
    page.write(CODE + b"\x90" * (64 - len(CODE)) + XGETBV)
    held = ctypes.c_char.from_buffer(page)
    _pages.append(held)
    address = ctypes.addressof(held)
    call = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p)(address)
    ask = ctypes.CFUNCTYPE(ctypes.c_uint32)(address + 64)

    def cpuid(leaf: int, subleaf: int) -> Registers:
        out = (ctypes.c_uint32 * 4)()
        call(leaf, subleaf, out)
        eax, ebx, ecx, edx = out
        return eax, ebx, ecx, edx

    def xgetbv() -> int:
        return int(ask())

    return cpuid, xgetbv


def _text(*registers: int) -> str:
    data = b"".join(register.to_bytes(4, "little") for register in registers)
    return data.decode("ascii", "replace").strip("\0 ")


def _vendor(cpuid: Cpuid) -> str:
    _, ebx, ecx, edx = cpuid(0, 0)
    return _text(ebx, edx, ecx)


def _brand(cpuid: Cpuid) -> str:
    leaves = (cpuid(leaf, 0) for leaf in range(0x80000002, 0x80000005))
    return " ".join(_text(*(r for leaf in leaves for r in leaf)).replace("\0", " ").split())


def _hypervisor(cpuid: Cpuid) -> str:
    _, ebx, ecx, edx = cpuid(0x40000000, 0)
    return _text(ebx, ecx, edx)


def _family_and_model(signature: int) -> Tuple[int, int]:
    """Return the displayed family and model.

    >>> _family_and_model(0x306C4), _family_and_model(0x800F12)
    ((6, 60), (23, 1))
    """
    family, model = signature >> 8 & 0xF, signature >> 4 & 0xF
    if family in (6, 15):
        model += (signature >> 16 & 0xF) << 4
    if family == 15:
        family += signature >> 20 & 0xFF
    return family, model


def _flags(cpuid: Cpuid, xgetbv: Callable[[], int], highest: int, extended: int) -> List[str]:
    found = []
    for (leaf, subleaf, register), names in FLAGS.items():
        if leaf > (extended if leaf >= 0x80000000 else highest):
            continue
        bits = cpuid(leaf, subleaf)[register]
        for name, _, bit in (entry.partition(":") for entry in names.split()):
            if bits >> int(bit) & 1:
                found.append(name)
    saved = xgetbv() if "osxsave" in found else 0
    return [name for name in found if _is_saved(name, saved)]


def _is_saved(name: str, saved: int) -> bool:
    """Tell whether the operating system keeps the registers that a flag's instructions use."""
    if name.startswith("avx512"):
        return saved & 0xE6 == 0xE6
    if name.startswith("amx"):
        return saved & 0x60000 == 0x60000
    if name.startswith("avx") or name in ("fma", "f16c", "fma4", "xop"):
        return saved & 0x6 == 0x6
    return True


def _caches(
    cpuid: Cpuid, vendor_id: str, highest: int, extended: int, topology: bool
) -> Dict[str, int]:
    if vendor_id == "GenuineIntel" and highest >= 4:
        return _listed_caches(cpuid, 4)
    if topology and extended >= 0x8000001D:
        return _listed_caches(cpuid, 0x8000001D)
    if extended >= 0x80000006:
        return _legacy_caches(cpuid)
    return {}


def _listed_caches(cpuid: Cpuid, leaf: int) -> Dict[str, int]:
    """Read the data and unified caches of Intel's leaf 4 or AMD's leaf 0x8000001D."""
    caches: Dict[str, int] = {}
    for subleaf in range(8):
        eax, ebx, ecx, _ = cpuid(leaf, subleaf)
        kind, level = eax & 0x1F, eax >> 5 & 7
        if kind == 0:
            break
        ways, partitions, line = ebx >> 22, ebx >> 12 & 0x3FF, ebx & 0xFFF
        size = (ways + 1) * (partitions + 1) * (line + 1) * (ecx + 1)
        if kind in (1, 3):
            caches["L1d" if level == 1 else f"L{level}"] = size
    return caches


def _legacy_caches(cpuid: Cpuid) -> Dict[str, int]:
    """Read AMD's leaves 0x80000005 and 0x80000006: KiB of L1d and L2, halves of MiB of L3."""
    level1, level2, level3 = (
        (cpuid(0x80000005, 0)[ECX] >> 24) << 10,
        (cpuid(0x80000006, 0)[ECX] >> 16) << 10,
        (cpuid(0x80000006, 0)[EDX] >> 18) << 19,
    )
    found = {"L1d": level1, "L2": level2, "L3": level3}
    return {name: size for name, size in found.items() if size}

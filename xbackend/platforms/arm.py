"""Emulated ARM processors through QEMU's user mode, with a Python and frameworks of their own.

Frameworks ask Linux which ARM processor they run on, through /proc/cpuinfo and the auxiliary
vector. QEMU answers the second; the first would show the host's, and what reads it crashes, unless
a file of the same path lies under the folder given with `-L`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import subprocess
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from xbackend.errors import UsageError
from xbackend.platforms.platform import Platform, find_command, list_processors
from xbackend.platforms.sysroot import Sysroot, find_sysroot, with_packages
from xbackend.plugins.installed import cache_folder
from xbackend.worker.machine.environment import TCG
from xbackend.worker.objects import write_atomic

FLEET = (
    "qemu-arm:cortex-a72",
    "qemu-arm:neoverse-n1",
    "qemu-arm:a64fx",
    "qemu-arm:max,sve=off",
    "qemu-arm:max",
)
"""One processor for each behaviour that was seen: ARMv8.0; with float16 arithmetic; with long
vectors (SVE) of 512 bits; with whatever QEMU knows but SVE; with that too."""

PROBE = """
import ctypes, json, mmap
page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("000038d5 c0035fd6"))  # mrs x0, midr_el1; ret
held = ctypes.c_char.from_buffer(page)
midr = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(held))()
ask = ctypes.CDLL(None).getauxval
ask.restype, ask.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
print(json.dumps({"midr": midr, "hwcap": ask(16), "hwcap2": ask(26)}))
"""

HWCAP = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm jscvt fcma "
    "lrcpc dcpop sha3 sm3 sm4 asimddp sha512 sve asimdfhm dit uscat ilrcpc flagm ssbs sb paca pacg"
).split()
HWCAP2 = (
    "dcpodp sve2 sveaes svepmull svebitperm svesha3 svesm4 flagm2 frint svei8mm svef32mm svef64mm "
    "svebf16 i8mm bf16 dgh rng bti mte ecv afp rpres mte3 sme smei16i64 smef64f64 smei8i32 "
    "smef16f32 smeb16f32 smef32f32 smefa64 wfxt ebf16 sveebf16 cssc rprfm sve2p1 sme2 sme2p1 "
    "smei16i32 smebi32i32 smeb16b16 smef16f16 mops hbc sveb16b16 lrcpc3 lse128"
).split()
"""Linux's names of the bits of AT_HWCAP and AT_HWCAP2 (arch/arm64/kernel/cpuinfo.c)."""


@dataclass(frozen=True)
class ArmProcessor:
    """What an emulated processor says of itself."""

    midr: int
    """The register MIDR_EL1: implementer, variant, architecture, part, revision."""
    hwcap: int
    hwcap2: int


def qemu_arm(platform: Platform, value: str) -> Platform:
    """Emulate an ARM processor, named and changed as the option `-cpu` of `qemu-aarch64` does."""
    part = f"qemu-arm:{value}"
    if not value:
        raise UsageError("The platform 'qemu-arm:' needs a processor, such as qemu-arm:cortex-a72.")
    if platform.transport or platform.emulator or platform.python != Platform("").python:
        raise UsageError(f"'{part}' has a Python of its own and can be joined with 'cores:N' only.")
    emulator = find_command("qemu-aarch64", part, "qemu-user")
    sysroot = find_sysroot()
    if sysroot is None:
        raise UsageError(
            f"The platform '{part}' has to be set up once: xbackend platforms --setup arm"
        )
    overlay = make_overlay(
        sysroot, probe(emulator, value, str(sysroot.interpreter)), platform.cores
    )
    emulation = [emulator, "-L", str(overlay), "-cpu", value]
    return replace(
        platform,
        prefix=(*platform.prefix, *with_packages(sysroot.site), *emulation),
        python=str(sysroot.interpreter),
        emulator=TCG,
        machine="aarch64",
        packages=str(sysroot.site),
    )


def make_overlay(sysroot: Sysroot, core: ArmProcessor, cores: int) -> Path:
    """Return a folder that stands for `/`: the set-up's, and what Linux tells of the processor.

    It is made once for each processor and number of cores, and kept in the user's cache folder.
    """
    text = cpuinfo(core, cores)
    digest = hashlib.sha256(f"{sysroot.root}\n{cores}\n{text}".encode()).hexdigest()[:32]
    folder = cache_folder() / "overlays" / digest
    listed = "0\n" if cores == 1 else f"0-{cores - 1}\n"
    system = folder / "sys" / "devices" / "system" / "cpu"
    files = {system / name: listed for name in ("online", "possible", "present")}
    files[folder / "sys" / "hypervisor" / "type"] = f"{TCG}\n"
    files[folder / "proc" / "cpuinfo"] = text
    for path, content in files.items():
        if not path.exists():
            write_atomic(str(path), content.encode())
    for name in ("usr", "lib", "etc"):
        _link(folder / name, sysroot.root / name)
    return folder


def _link(path: Path, target: Path) -> None:
    try:
        path.symlink_to(target)
    except FileExistsError:
        pass  # The folder's name is a digest of the target's.


@functools.cache
def probe(emulator: str, cpu: str, python: str) -> ArmProcessor:
    """Return what an emulated processor says of itself. Raises UsageError if there is none.

    Asked once for each version of the emulator, and kept in the user's cache folder.
    """
    stat = Path(emulator).resolve().stat()
    asked = f"{cpu}\0{stat.st_size}\0{stat.st_mtime_ns}\0{PROBE}"
    digest = hashlib.sha256(asked.encode()).hexdigest()[:32]
    path = cache_folder() / "processors" / f"arm-{digest}.json"
    try:
        return ArmProcessor(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        seen = _ask(emulator, cpu, python)
    write_atomic(str(path), json.dumps(asdict(seen)).encode())
    return seen


def _ask(emulator: str, cpu: str, python: str) -> ArmProcessor:
    root = str(Path(python).parents[2])
    command = [emulator, "-L", root, "-cpu", cpu, python, "-I", "-S", "-c", PROBE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode or not done.stdout.strip():
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise UsageError(
            f"There is no platform 'qemu-arm:{cpu}': {lines[-1] if lines else 'it crashed'}. "
            f"'{emulator} -cpu help' lists the processors."
        )
    return ArmProcessor(**json.loads(done.stdout))


def cpuinfo(core: ArmProcessor, cores: int) -> str:
    """Return /proc/cpuinfo of an emulated machine, in Linux's words for ARM."""
    flags = [name for bit, name in enumerate(HWCAP) if core.hwcap >> bit & 1]
    flags += [name for bit, name in enumerate(HWCAP2) if core.hwcap2 >> bit & 1]
    lines = [
        "BogoMIPS\t: 100.00",
        f"Features\t: {' '.join(flags)}",
        f"CPU implementer\t: {core.midr >> 24 & 0xFF:#04x}",
        "CPU architecture: 8",
        f"CPU variant\t: {core.midr >> 20 & 0xF:#x}",
        f"CPU part\t: {core.midr >> 4 & 0xFFF:#05x}",
        f"CPU revision\t: {core.midr & 0xF}",
    ]
    return "".join("\n".join([f"processor\t: {n}", *lines, "", ""]) for n in range(cores))


def arm_processors() -> list[dict[str, str]]:
    """Return the processors that `qemu-aarch64` knows, none without it."""
    emulator = shutil.which("qemu-aarch64")
    if emulator is None:
        return []
    lines = list_processors(emulator)
    return [{"name": line.split()[0], "description": "", "lacks": ""} for line in lines]

"""Takes from this process what no model needs: writing elsewhere, the network, all of the memory.

Files are guarded by Landlock, sockets by seccomp and Landlock, memory by RLIMIT_DATA: what Linux
lets any process do to itself. A system without one of them goes without; the record says so.
"""

from __future__ import annotations

import ctypes
import fnmatch
import os
import struct
import sys
from typing import Any, Dict, Optional, Sequence, Tuple

Record = Dict[str, Any]

# The numbers of the system calls are the same on all of Linux's architectures from 424 on.
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
IO_URING_SETUP = 425
ARCHITECTURES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""The number by which seccomp calls an architecture, and that of `socket` there."""
X32 = 0x40000000
"""The bit of system calls of x86's third calling convention, by which a filter is passed by."""

AF_UNIX, AF_NETLINK = 1, 16
NVIDIA = "/dev/nvidiactl"

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
O_PATH = 0o10000000

WRITE_FILE, TRUNCATE = 1 << 1, 1 << 14
REMOVE_DIR, REMOVE_FILE = 1 << 4, 1 << 5
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK = 1 << 6, 1 << 7, 1 << 8, 1 << 9
MAKE_FIFO, MAKE_BLOCK, MAKE_SYM, REFER = 1 << 10, 1 << 11, 1 << 12, 1 << 13
GUARDED = (
    WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_CHAR | MAKE_DIR | MAKE_REG | MAKE_SOCK
    | MAKE_FIFO | MAKE_BLOCK | MAKE_SYM
)  # fmt: skip
"""Rights of Landlock's first version: all that changes a file system."""
IN_FOLDERS = GUARDED & ~(MAKE_CHAR | MAKE_BLOCK)
"""What is allowed in a folder of one's own: anything but devices."""
TCP = 0b11
"""Binding and connecting, since version 4."""
SCOPES = 0b11
"""Abstract sockets and signals of other processes, since version 6."""

DEVICES = (
    "null", "zero", "full", "tty", "random", "urandom", "nvidia[0-9]*", "nvidiactl", "nvidia-uvm*",
    "nvidia-modeset", "nvidia-nvswitch*", "kfd",
)  # fmt: skip
"""Devices that are written to; GPUs are driven that way."""
SHARED_MEMORY = "/dev/shm"
"""The folder of shared memory, in which semaphores of processes and buffers of GPUs are."""

RLIMIT_DATA = 2
MEMORY_SHARE = 0.9
"""The part of the free memory that one process may take: the system needs the rest."""
LEAST_MEMORY = 1 << 30
"""Bytes that a process is always allowed; frameworks take half of that when they are imported."""

ALLOW, REFUSE, PRETEND_ABSENT = 0x7FFF0000, 0x00050000 | 13, 0x00050000 | 38
"""What seccomp answers: nothing, EACCES, ENOSYS."""


def confine(folders: Sequence[str], memory: int = 0, tidy: str = "") -> Record:
    """Confine this process and all that it will start, for good, and return what is in force.

    Files may be changed only within the folders; empty folders may be removed within `tidy`, too.
    To be called before a second thread starts. `memory` is the limit in bytes, 0 for nearly all
    that is free now.
    """
    system = sys.platform.startswith("linux")
    limit = limit_memory(memory or default_memory()) if system else None
    privileges = system and _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    version = _confine_files(folders, tidy) if privileges else 0
    filtered = privileges and _refuse_sockets()
    return {
        "files": f"landlock {version}" if version else None,
        "network": "seccomp" if filtered else "landlock" if version >= 4 else None,
        "memory": limit,
    }


def landlock_version() -> int:
    """Return the version of Landlock that this system has, 0 for none."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, _system_call(LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), 1))


def _confine_files(folders: Sequence[str], tidy: str) -> int:
    """Allow changes only within the folders and to devices. Return Landlock's version, or 0."""
    version = landlock_version()
    if not version:
        return 0
    rights, whole = GUARDED, IN_FOLDERS
    if version >= 2:
        rights, whole = rights | REFER, whole | REFER
    if version >= 3:
        rights, whole = rights | TRUNCATE, whole | TRUNCATE
    parts = (rights, TCP if version >= 4 else 0, SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    attribute = struct.pack("QQQ", *parts)[:size]
    rules = _system_call(LANDLOCK_CREATE_RULESET, attribute, ctypes.c_size_t(size), 0)
    if rules < 0:
        return 0
    try:
        for folder in (*folders, SHARED_MEMORY):
            _allow(rules, folder, whole)
        if tidy:
            _allow(rules, tidy, REMOVE_DIR)
        _allow(rules, "/proc/self/task", rights & (WRITE_FILE | TRUNCATE))  # CUDA names threads
        for device in _devices():
            _allow(rules, device, rights & (WRITE_FILE | TRUNCATE))
        return version if _system_call(LANDLOCK_RESTRICT_SELF, rules, 0) == 0 else 0
    finally:
        os.close(rules)


def _devices() -> Sequence[str]:
    found = []
    for folder in ("/dev", "/dev/dri", "/dev/nvidia-caps"):
        patterns = DEVICES if folder == "/dev" else ("*",)
        names = os.listdir(folder) if os.path.isdir(folder) else []
        chosen = [n for n in names if any(fnmatch.fnmatchcase(n, each) for each in patterns)]
        found += [os.path.join(folder, name) for name in chosen]
    return [path for path in found if not os.path.isdir(path)]


def _allow(rules: int, path: str, rights: int) -> None:
    """Add a rule for what lies at or under a path; what is not there needs none."""
    try:
        descriptor = os.open(path, O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):
            rights &= WRITE_FILE | TRUNCATE
        attribute = struct.pack("=Qi", rights, descriptor)
        _system_call(LANDLOCK_ADD_RULE, rules, 1, attribute, 0)
    finally:
        os.close(descriptor)


def _refuse_sockets() -> bool:
    """Refuse sockets but the kernel's own (netlink), and calls that could make them otherwise.

    CUDA does not start without local sockets, so they are left where there is a GPU of NVIDIA's.
    """
    known = ARCHITECTURES.get(os.uname().machine)
    if known is None or sys.maxsize < 1 << 32:
        return False
    architecture, socket = known
    families = (AF_UNIX, AF_NETLINK) if os.path.exists(NVIDIA) else (AF_NETLINK,)
    program = _filter(architecture, socket, families)
    code = b"".join(struct.pack("HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(buffer))
    return _call("prctl", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, head, 0, 0) == 0


def _filter(
    architecture: int, socket: int, families: Sequence[int]
) -> Sequence[Tuple[int, int, int, int]]:
    """Return the filter's steps in the kernel's language: operation, two jumps, a number."""
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    steps = [(load, 0, 0, 4), (equal, 1, 0, architecture), (answer, 0, 0, PRETEND_ABSENT)]
    steps += [(load, 0, 0, 0), (at_least, 0, 1, X32), (answer, 0, 0, PRETEND_ABSENT)]
    steps += [(equal, 0, 1, IO_URING_SETUP), (answer, 0, 0, PRETEND_ABSENT)]
    steps += [(equal, 1, 0, socket), (answer, 0, 0, ALLOW), (load, 0, 0, 16)]
    for family in families:
        steps += [(equal, 0, 1, family), (answer, 0, 0, ALLOW)]
    return [*steps, (answer, 0, 0, REFUSE)]


def limit_memory(most: int) -> Optional[int]:
    """Limit the private memory of this process; return the limit in force, None for none.

    It is RLIMIT_DATA and not RLIMIT_AS, as CUDA and TensorFlow reserve far more than they use.
    """
    import resource

    try:
        _, hard = resource.getrlimit(RLIMIT_DATA)
        wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(RLIMIT_DATA, (wanted, wanted))
        known = resource.getrlimit(RLIMIT_DATA)[0]
    except (OSError, ValueError):
        return None
    return known if known == wanted else None  # an emulator says yes and does nothing


def default_memory() -> int:
    """Return nearly all memory that is free, in this container if it is one, in bytes."""
    free = min(_free_memory(), _free_in_group())
    return max(LEAST_MEMORY, int(free * MEMORY_SHARE))


def _free_memory() -> int:
    found = {"MemAvailable:": 0, "SwapFree:": 0}
    try:
        with open("/proc/meminfo", encoding="ascii") as stream:
            for line in stream:
                words = line.split()
                if words[0] in found:
                    found[words[0]] = int(words[1]) << 10
    except (OSError, ValueError, IndexError):
        return 1 << 62
    return sum(found.values()) or 1 << 62


def _free_in_group() -> int:
    """Return what the control group of a container leaves, by its second version or its first."""
    for folder, most, used in (
        ("/sys/fs/cgroup", "memory.max", "memory.current"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        try:
            with open(f"{folder}/{most}", encoding="ascii") as stream:
                limit = int(stream.read())
            with open(f"{folder}/{used}", encoding="ascii") as stream:
                return limit - int(stream.read())
        except (OSError, ValueError):  # not there, or `max`
            continue
    return 1 << 62


def _system_call(*arguments: Any) -> int:
    return int(_call("syscall", *arguments))


def _call(name: str, *arguments: Any) -> int:
    """Call the C library; numbers are passed as long as the kernel takes them."""
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    function.restype = ctypes.c_long
    return int(function(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)))

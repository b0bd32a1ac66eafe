"""Which NVIDIA GPUs a machine has: names and driver from Linux, memory from the driver itself."""

from __future__ import annotations

import ctypes
import os
import re
from typing import Any, Dict, List

DRIVER = "/proc/driver/nvidia"
NUMBER = re.compile(r"\b\d+\.\d+(?:\.\d+)?\b")
TEXT = 96
"""Bytes that NVML asks for a name."""


class _Memory(ctypes.Structure):
    """NVML's `nvmlMemory_t`: bytes."""

    _fields_ = [
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    ]


def list_gpus(driver: str = DRIVER) -> Dict[str, Any]:
    """Return `gpus`, their names, and `gpu_driver`, its version, as Linux lists them.

    Reading a few small files, it wakes no driver and imports nothing.
    """
    first = _read(os.path.join(driver, "version")).partition("\n")[0]
    version = NUMBER.search(first)
    return {
        "gpus": _names(os.path.join(driver, "gpus")),
        "gpu_driver": version[0] if version else "",
    }


def _names(folder: str) -> List[str]:
    try:
        places = sorted(os.listdir(folder))
    except OSError:
        return []
    found = []
    for place in places:
        for line in _read(os.path.join(folder, place, "information")).splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "Model":
                found.append(value.strip())
    return found


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def query_gpus(library: Any = None) -> Dict[str, Any]:
    """Return the same and `gpu_memory_bytes` as the driver tells; nothing if it does not answer.

    To be asked only where a framework has woken the driver already: waking it takes long.
    """
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1") if library is None else library
        if nvml.nvmlInit_v2():
            return {}
    except (OSError, AttributeError):
        return {}
    try:
        return _ask(nvml)
    except AttributeError:
        return {}
    finally:
        nvml.nvmlShutdown()


def _ask(nvml: Any) -> Dict[str, Any]:
    driver, count = ctypes.create_string_buffer(TEXT), ctypes.c_uint()
    if nvml.nvmlSystemGetDriverVersion(driver, TEXT) or nvml.nvmlDeviceGetCount_v2(
        ctypes.byref(count)
    ):
        return {}
    names, sizes = [], []
    for index in range(count.value):
        handle, name, memory = ctypes.c_void_p(), ctypes.create_string_buffer(TEXT), _Memory()
        if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)):
            continue
        nvml.nvmlDeviceGetName(handle, name, TEXT)
        nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
        names.append(name.value.decode("utf-8", "replace"))
        sizes.append(int(memory.total))
    told = driver.value.decode("ascii", "replace")
    return {"gpus": names, "gpu_driver": told, "gpu_memory_bytes": sizes}

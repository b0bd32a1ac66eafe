"""Execution providers: their names, which ones stand behind one, and what one lacks."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import onnxruntime

from xbackend.worker.contract import Unsupported

from .words import CPU, CUDA, TENSORRT, short


def provider_name(word: str) -> str:
    """Return ONNX Runtime's name for `cpu`, `cuda`, … or its own names, whatever their case.

    Raises Unsupported for a provider that the installed wheel does not offer.
    """
    offered = {short(name): name for name in onnxruntime.get_available_providers()}
    name: Optional[str] = offered.get(short(word))
    if name is None:
        raise Unsupported(
            f"onnxruntime {onnxruntime.__version__} offers no provider '{word}', "
            f"only {', '.join(sorted(offered))}."
        )
    return name


def chain(provider: str, options: Dict[str, str]) -> List[Tuple[str, Dict[str, str]]]:
    """Return the providers in order of preference: those after the first take what it cannot."""
    if provider in (CUDA, TENSORRT):
        preload()
    behind = {CPU: (), TENSORRT: (CUDA, CPU)}.get(provider, (CPU,))
    return [(provider, options), *((name, {}) for name in behind)]


def preload() -> None:
    """Load the CUDA libraries of the `nvidia-*` packages, where ONNX Runtime can."""
    load = getattr(onnxruntime, "preload_dlls", None)
    if load is not None:
        load()


def missing(provider: str) -> str:
    """Say in one sentence why ONNX Runtime did not take a provider."""
    reason = missing_dependency(provider) or "its log on standard error may say why."
    return f"ONNX Runtime {onnxruntime.__version__} cannot use {provider}: {reason}"


def missing_dependency(provider: str) -> str:
    """Return what a provider needs and this machine does not have; empty if nothing is known."""
    return "" if provider == CPU else unloadable(provider) or gpu_error(provider)


def unloadable(provider: str) -> str:
    """Return what the dynamic linker lacks for a provider's library; empty if nothing."""
    folder = Path(onnxruntime.__file__).parent / "capi"
    library = folder / f"libonnxruntime_providers_{short(provider)}.so"
    try:
        ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(library))
    except OSError as error:
        name = str(error).partition(":")[0]
        return f"{name} is missing. Install the libraries that it was built for, or choose cpu."
    return ""


def gpu_error(provider: str) -> str:
    """Return what NVIDIA's driver lacks; empty if nothing, or if the provider needs none."""
    if provider not in (CUDA, TENSORRT):
        return ""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver (libcuda.so.1). Choose ort.provider=cpu."
    status = driver.cuInit(0)
    return f"NVIDIA's driver finds no usable GPU (cuInit gave {status})." if status else ""


def gpu() -> Dict[str, Any]:
    """Return the name of the first NVIDIA GPU and the CUDA version of its driver."""
    driver = ctypes.CDLL("libcuda.so.1")
    name = ctypes.create_string_buffer(128)
    version = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetName(name, len(name), 0):
        return {}
    driver.cuDriverGetVersion(ctypes.byref(version))
    return {
        "gpu": name.value.decode(),
        "driver_cuda": f"{version.value // 1000}.{version.value % 1000 // 10}",
    }

"""What the libraries inside PyTorch do with their environment variables: read back, or observed."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import Any, Dict

import torch

from xbackend.worker.contract import Settings, Unsupported
from xbackend.worker.machine.onednn import VARIABLE, is_within_isa_limit, isa_told_by

BRANCHES = {"OFF": 1, "AUTO": 2, "COMPATIBLE": 3, "AVX2": 10, "AVX512": 12}
"""MKL's numbers of its branches (mkl_service.h)."""


def read() -> Dict[str, Any]:
    """Return what PyTorch's own kernels and MKL say that they use."""
    return {"cpu_capability": capability(), "mkl_cbwr": branch()}


def check(settings: Settings) -> None:
    """Raise Unsupported where a library does not do what its variable was set to."""
    asked = str(settings["cpu_capability"])
    if asked not in ("auto", capability()):
        raise _refused("cpu_capability", asked, capability())
    asked = str(settings["mkl_cbwr"])
    if branch() != BRANCHES[asked] and (asked != "OFF" or branch() is not None):
        said = {number: name for name, number in BRANCHES.items()}
        raise _refused("mkl_cbwr", asked, said.get(branch() or 0, "without MKL"))
    asked = str(settings["onednn_isa"])
    if asked != "auto" and not is_within_isa_limit(instructions(), asked):
        raise _refused("onednn_isa", asked, instructions())


def capability() -> str:
    """Return which of its kernels PyTorch takes: `default`, `avx2`, `avx512`."""
    return str(torch.backends.cpu.get_cpu_capability()).lower().replace("no avx", "default")


def branch() -> int | None:
    """Return the number of MKL's branch, None for a PyTorch that has no MKL.

    MKL takes a branch that it does not know as AUTO, without a word.
    """
    library = _library()
    get = getattr(library, "mkl_serv_cbwr_get", None)
    return None if get is None else int(get(1))


@functools.lru_cache(maxsize=None)
def _library() -> Any:
    for name in ("libtorch_cpu.so", "libtorch_cpu.dylib"):
        path = Path(torch.__file__).parent / "lib" / name
        if path.is_file():
            return ctypes.CDLL(str(path))
    return None


@functools.lru_cache(maxsize=None)
def instructions() -> str:
    """Return what oneDNN says it uses, which it does before its first operation when it is asked.

    Nothing else tells: it says so on the process's standard output.
    """
    return isa_told_by(_operate) or "nothing known"


def _operate() -> None:
    with torch.inference_mode(), torch.backends.mkldnn.verbose(1):
        ones = [torch.ones(1, 16, 8, 8), torch.ones(16, 16, 3, 3)]
        torch.mkldnn_convolution(*ones, None, [1, 1], [1, 1], [1, 1], 1)


def _refused(key: str, asked: str, actual: str) -> Unsupported:
    variable = {
        "cpu_capability": "ATEN_CPU_CAPABILITY",
        "mkl_cbwr": "MKL_CBWR",
        "onednn_isa": VARIABLE,
    }[key]
    return Unsupported(
        f"torch.{key}={asked} was not taken by torch {torch.__version__}, which uses {actual}: "
        f"{variable} is read once, when the process starts. Choose another value, or leave it out."
    )

"""PyTorch's global switches: set, read back, and described."""

from __future__ import annotations

import os
from typing import Any, Dict

import torch

from xbackend.worker.contract import Settings, Unsupported

from . import SPEC, libraries

TF32_CAPABILITY = (8, 0)
"""The first NVIDIA GPUs with TensorFloat-32."""

CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""Without it PyTorch refuses deterministic products on a GPU."""


def apply(settings: Settings) -> torch.device:
    """Put every switch where the settings want it and return the device.

    Raises Unsupported where a setting cannot take effect. The switches are the process's own.
    """
    SPEC.check(settings)
    device = _device(str(settings["device"]))
    _set_threads(int(settings["threads"]))
    _set_cuda(settings, device)
    if settings["deterministic_algorithms"] and device.type == "cuda":
        os.environ.setdefault(CUBLAS_WORKSPACE, ":4096:8")
    deterministic = bool(settings["deterministic_algorithms"])
    if deterministic != torch.are_deterministic_algorithms_enabled():  # the call takes a second
        torch.use_deterministic_algorithms(deterministic)
    torch._C._set_mkldnn_enabled(bool(settings["mkldnn"]))
    _compare(settings, read())
    libraries.check(settings)
    return device


def read() -> Dict[str, Any]:
    """Read back every switch as PyTorch has it now."""
    return {
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "tf32_cudnn": bool(torch.backends.cudnn.allow_tf32),
        "tf32_matmul": bool(torch.backends.cuda.matmul.allow_tf32),
        "cudnn_benchmark": bool(torch.backends.cudnn.benchmark),
        "cudnn_deterministic": bool(torch.backends.cudnn.deterministic),
        "deterministic_algorithms": bool(torch.are_deterministic_algorithms_enabled()),
        "mkldnn": bool(torch._C._get_mkldnn_enabled()),
        "mkldnn_available": bool(torch.backends.mkldnn.is_available()),
        "cublas_workspace": os.environ.get(CUBLAS_WORKSPACE),
    }


def _device(name: str) -> torch.device:
    if name == "cpu":
        return torch.device("cpu")
    if torch.version.cuda is None:
        raise Unsupported(
            f"torch.device={name} needs a PyTorch with CUDA; torch {torch.__version__} is built "
            "without. Install one from the PyTorch site, or leave torch.device=cpu."
        )
    if not torch.cuda.is_available():
        raise Unsupported(
            f"torch.device={name} needs an NVIDIA GPU and its driver; torch {torch.__version__} "
            "sees none. Choose a machine that has one, or leave torch.device=cpu."
        )
    return torch.device("cuda", torch.cuda.current_device())


def _set_threads(threads: int) -> None:
    """Set both thread pools; that between operations only once in a process, as PyTorch allows.

    Inference does not use the latter: its size is recorded, and binding in a fresh process.
    """
    torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != threads:
        try:
            torch.set_num_interop_threads(threads)
        except RuntimeError as error:
            if "interop" not in str(error):
                raise


def _set_cuda(settings: Settings, device: torch.device) -> None:
    """Turn what only a GPU has; each is put back to PyTorch's own default where not asked for."""
    tf32 = settings["tf32"]
    asked = [key for key in ("cudnn_benchmark", "cudnn_deterministic") if settings[key]]
    asked += ["tf32"] if tf32 != "default" else []
    if asked and device.type != "cuda":
        raise Unsupported(
            f"torch.{asked[0]}={settings[asked[0]]} has no effect on the CPU. "
            "Set torch.device=cuda too, or leave it out."
        )
    if tf32 == "on" and torch.cuda.get_device_capability(device) < TF32_CAPABILITY:
        raise Unsupported(
            f"torch.tf32=on needs an NVIDIA GPU of compute capability 8.0 or newer; "
            f"{torch.cuda.get_device_name(device)} has none. Leave it out."
        )
    torch.backends.cudnn.allow_tf32 = DEFAULT_TF32_CUDNN if tf32 == "default" else tf32 == "on"
    torch.backends.cuda.matmul.allow_tf32 = (
        DEFAULT_TF32_MATMUL if tf32 == "default" else tf32 == "on"
    )
    torch.backends.cudnn.benchmark = bool(settings["cudnn_benchmark"])
    torch.backends.cudnn.deterministic = bool(settings["cudnn_deterministic"])


DEFAULT_TF32_CUDNN = bool(torch.backends.cudnn.allow_tf32)
DEFAULT_TF32_MATMUL = bool(torch.backends.cuda.matmul.allow_tf32)
"""What this PyTorch does on its own, read before anything is turned."""


def _compare(settings: Settings, now: Dict[str, Any]) -> None:
    """Raise Unsupported where a switch did not move. Without oneDNN its switch means nothing."""
    keys = ["threads", "cudnn_benchmark", "cudnn_deterministic", "deterministic_algorithms"]
    keys += ["mkldnn"]
    for key in keys:
        if now[key] != settings[key]:
            raise Unsupported(
                f"torch.{key}={settings[key]} was refused by torch {torch.__version__}, which "
                f"stays at {now[key]}. Leave it at {now[key]}."
            )
    wanted = {"on": (True, True), "off": (False, False)}.get(str(settings["tf32"]))
    if wanted is not None and (now["tf32_cudnn"], now["tf32_matmul"]) != wanted:
        raise Unsupported(
            f"torch.tf32={settings['tf32']} was refused by torch {torch.__version__}."
        )

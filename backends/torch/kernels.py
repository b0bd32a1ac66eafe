"""Which GPU kernels an inference launches, as PyTorch's profiler sees them."""

from __future__ import annotations

from typing import Any, Callable, Dict

import torch


def seen_kernels(infer: Callable[[], Any]) -> Dict[str, int]:
    """Infer once more under the profiler and count the kernels by name, in order of launch."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        infer()
        torch.cuda.synchronize()
    counts: Dict[str, int] = {}
    for event in seen.events():
        if event.device_type == torch.autograd.DeviceType.CUDA and _is_kernel(event.name):
            counts[event.name] = counts.get(event.name, 0) + 1
    return counts


def _is_kernel(name: str) -> bool:
    return not name.startswith(("Memcpy", "Memset"))

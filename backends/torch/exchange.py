"""Tensors in and out of PyTorch, bit by bit."""

from __future__ import annotations

from typing import Any, Dict

import numpy as np
import torch

from xbackend.worker import tensor as bits

_NAMES = (
    "float16 float32 float64 int8 int16 int32 int64 "
    "uint8 uint16 uint32 uint64 bool complex64 complex128"
)

DTYPES: Dict[str, Any] = {
    "bfloat16": torch.bfloat16,
    **{name: getattr(torch, name) for name in _NAMES.split() if hasattr(torch, name)},
}
"""Formats by NumPy's name, as far as this PyTorch has them."""

_NUMPY_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def to_torch(value: bits.Tensor) -> torch.Tensor:
    """Copy a tensor into memory of PyTorch's own, aligned as PyTorch aligns.

    A kernel may choose its path by alignment, so the bits must not depend on who gave the array.
    """
    result = torch.empty(value.shape, dtype=DTYPES[value.dtype])
    if value.dtype == "bfloat16":
        result.view(torch.int16).numpy()[...] = value.array.view(np.int16)
    else:
        result.numpy()[...] = value.array
    return result


def from_torch(value: torch.Tensor) -> bits.Tensor:
    """Copy a tensor out of PyTorch, from any device, in C order."""
    value = value.detach().cpu().contiguous()
    if value.dtype == torch.bfloat16:
        return bits.Tensor("bfloat16", value.view(torch.int16).numpy().view(np.uint16).copy())
    return bits.Tensor(_NUMPY_NAMES[value.dtype], value.numpy().copy())

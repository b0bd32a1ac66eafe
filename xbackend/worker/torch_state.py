"""The digest of a PyTorch model's state, which its export and the run of its source must share."""

from __future__ import annotations

import hashlib
from typing import Any, Mapping


def state_digest(state: Mapping[str, Any], torch: Any) -> str:
    """Return the SHA-256 over the names and bytes of weights and buffers.

    The package `torch` is handed over, as nothing here imports a framework.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name]
        if not isinstance(value, torch.Tensor):
            continue
        tensor = value.detach().cpu().contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        row = tensor.as_strided((tensor.numel(),), (1,))  # one element alone may keep its stride
        digest.update(row.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

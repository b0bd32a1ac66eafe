"""The digest of weights and buffers, by which a module is known to be the one that was exported."""

from __future__ import annotations

import hashlib

import torch

from xbackend.worker.torch_state import state_digest


def test_a_states_digest_is_over_sorted_names_types_shapes_and_bytes_of_tensors_alone() -> None:
    state = {
        "b": torch.tensor(1.0, dtype=torch.bfloat16),
        "a": torch.tensor([1.0, -2.0])[::2],
        "no tensor": 3,
    }
    told = b"a\0torch.float32\0(1,)\0" + b"\x00\x00\x80\x3f"
    told += b"b\0torch.bfloat16\0()\0" + b"\x80\x3f"
    assert state_digest(state, torch) == hashlib.sha256(told).hexdigest()

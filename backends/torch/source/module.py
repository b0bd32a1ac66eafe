"""Loads the module that a function of the user's makes, with the weights that were exported."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, Dict

import torch

from xbackend.worker.contract import Unsupported
from xbackend.worker.torch_state import state_digest


def load_module(text: str, state: str) -> Any:
    """Call `module:callable` in the current folder and return the module in eval mode.

    Raises Unsupported where it has other weights than those that were exported.
    """
    module, _, name = text.partition(":")
    sys.path.insert(0, os.getcwd())
    function = getattr(importlib.import_module(module), name)
    made = function if isinstance(function, torch.nn.Module) else function()
    loaded = made[0] if isinstance(made, tuple) else made
    if isinstance(loaded, torch.nn.Module):
        loaded = loaded.eval()
    if state_digest(_state(loaded), torch) != state:
        raise Unsupported(
            f"'{text}' gives other weights each time it is called, so its export is another "
            "model. Call torch.manual_seed in it, or load its weights from a file."
        )
    return loaded


def _state(loaded: Any) -> Dict[str, Any]:
    if isinstance(loaded, torch.nn.Module):
        return {**dict(loaded.named_parameters()), **dict(loaded.named_buffers())}
    return {**loaded.state_dict, **loaded.constants}

"""PyTorch's one kernel for what is otherwise computed as the operators that it is made of.

A node whose form a kernel does not have (peepholes, lengths of sequences, other activations, a
past) is spelled out all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .operator import Operator

if TYPE_CHECKING:
    from xbackend.worker.graph import Node

GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
"""Where PyTorch's gates stand in ONNX's weights: ifgo of iofc, rzn of zrh."""

DEFAULT = {"LSTM": ["sigmoid", "tanh", "tanh"], "GRU": ["sigmoid", "tanh"], "RNN": ["tanh"]}


def fits(node: Node) -> bool:
    """Tell whether PyTorch has a kernel for a node as it is."""
    check = FITS.get(node.full_name)
    return check is not None and check(node)


def _given(node: Node, index: int) -> bool:
    return index < len(node.inputs) and bool(node.inputs[index])


def _is_plain(node: Node) -> bool:
    """Tell whether a recurrent node has nothing that PyTorch's layers lack."""
    if _given(node, 4) or _given(node, 7) or node.attributes.get("clip"):
        return False
    if node.attributes.get("input_forget"):
        return False
    if node.operator == "GRU" and not node.attributes["linear_before_reset"]:
        return False
    own = [name.lower() for name in node.attributes.get("activations") or ()]
    ways = 2 if node.attributes["direction"] == "bidirectional" else 1
    usual = [DEFAULT[node.operator] * ways]
    if node.operator == "RNN":
        usual.append(["relu"] * ways)
    return not own or own in usual


def _recurrent(
    node: Node,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Optional[Tensor] = None,
    lengths: Optional[Tensor] = None,
    h: Optional[Tensor] = None,
    c: Optional[Tensor] = None,
    peepholes: Optional[Tensor] = None,
) -> List[Tensor]:
    """Call the function behind torch.nn.LSTM, GRU and RNN."""
    first, ways = bool(node.attributes["layout"]), w.shape[0]
    backward = node.attributes["direction"] == "reverse"
    x = x.transpose(0, 1) if first else x
    x = x.flip(0) if backward else x
    states = [_state(each, x, ways, r.shape[2], first) for each in (h, c)]
    weights = [part for way in range(ways) for part in _weights(node.operator, way, w, r, b)]
    function = _function(node)
    start = states if node.operator == "LSTM" else states[0]
    made = function(x, start, weights, b is not None, 1, 0.0, False, ways == 2, False)
    steps, batch = x.shape[:2]
    y = made[0].reshape(steps, batch, ways, -1).transpose(1, 2)
    y = y.flip(0) if backward else y
    if first:
        return [y.permute(2, 0, 1, 3), *(each.transpose(0, 1) for each in made[1:])]
    return [y, *made[1:]]


def _state(given: Optional[Tensor], x: Tensor, ways: int, hidden: int, first: bool) -> Tensor:
    if given is None:
        return x.new_zeros([ways, x.shape[1], hidden])
    return given.transpose(0, 1).contiguous() if first else given


def _weights(operator: str, way: int, w: Tensor, r: Tensor, b: Optional[Tensor]) -> List[Tensor]:
    """Return a direction's weights with the gates in PyTorch's order."""
    parts = [w[way], r[way], *([] if b is None else b[way].chunk(2))]
    return [_ordered(part, GATES[operator]) for part in parts]


def _ordered(part: Tensor, order: Sequence[int]) -> Tensor:
    rows = part.chunk(len(order))
    return torch.cat([rows[place] for place in order])


def _function(node: Node) -> Callable[..., Tuple[Tensor, ...]]:
    if node.operator != "RNN":
        layers: Dict[str, Callable[..., Tuple[Tensor, ...]]] = {
            "LSTM": torch.lstm,
            "GRU": torch.gru,
        }
        return layers[node.operator]
    names = [name.lower() for name in node.attributes.get("activations") or ["tanh"]]
    simple: Callable[..., Tuple[Tensor, ...]] = (
        torch.rnn_relu if names[0] == "relu" else torch.rnn_tanh
    )
    return simple


def _rms_normalization(node: Node, x: Tensor, scale: Tensor) -> Tensor:
    """Call torch.rms_norm, which PyTorch has since 2.4."""
    over = x.shape[node.attributes["axis"] % x.dim() :]
    epsilon = node.attributes["epsilon"]
    if scale.shape == over:
        return F.rms_norm(x, over, scale, epsilon)
    return F.rms_norm(x, over, None, epsilon) * scale


def _has_rms(node: Node) -> bool:
    return hasattr(F, "rms_norm") and node.attributes["stash_type"] == 1


def _has_attention(node: Node) -> bool:
    """Tell whether an Attention has no past, and gives and clips nothing but its result."""
    more = any(_given(node, index) for index in (4, 5, 6)) or any(node.outputs[1:])
    masked = _given(node, 3) and node.attributes.get("is_causal", 0)
    heads = node.attributes.get("q_num_heads"), node.attributes.get("kv_num_heads")
    window = node.attributes.get("left_window_size", -1) not in (-1, None)
    return not (
        more or masked or window or node.attributes.get("softcap", 0.0) or heads[0] != heads[1]
    )


def _attention(
    node: Node, q: Tensor, k: Tensor, v: Tensor, mask: Optional[Tensor] = None
) -> Tensor:
    """Call scaled_dot_product_attention, by heads."""
    flat = q.dim() == 3
    if flat:
        heads = node.attributes["q_num_heads"]
        q, k, v = (each.unflatten(2, (heads, -1)).transpose(1, 2) for each in (q, k, v))
    grouped: Dict[str, Any] = {} if q.shape[1] == k.shape[1] else {"enable_gqa": True}
    causal, scale = bool(node.attributes.get("is_causal", 0)), node.attributes.get("scale")
    y = F.scaled_dot_product_attention(q, k, v, mask, 0.0, causal, scale=scale, **grouped)
    return y.transpose(1, 2).flatten(2) if flat else y


FITS: Dict[str, Callable[[Node], bool]] = {
    "Attention": _has_attention,
    "GRU": _is_plain,
    "LSTM": _is_plain,
    "RMSNormalization": _has_rms,
    "RNN": _is_plain,
}

TABLE = {
    "Attention": Operator(_attention),
    "GRU": Operator(_recurrent),
    "LSTM": Operator(_recurrent),
    "RMSNormalization": Operator(_rms_normalization),
    "RNN": Operator(_recurrent),
}

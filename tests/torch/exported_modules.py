"""Modules whose exports are right or wrong, each with example inputs: a file as a user has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

F = torch.nn.functional


class Function(torch.nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any], *examples: Any) -> None:
        super().__init__()
        self.function, self.example_inputs = function, examples

    def forward(self, x: Any) -> Any:
        return self.function(x)


class Branch(torch.nn.Module):
    """Takes one way or the other, by the sum of its input."""

    example_inputs = (torch.zeros(1, 4),)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc = torch.nn.Linear(4, 3)

    def forward(self, x: Any) -> Any:
        if x.sum() > 0:
            return self.fc(x)
        return self.fc(-x)


class Net(torch.nn.Module):
    """Has a convolution, three normalisations, products, an attention."""

    example_inputs = (torch.zeros(1, 3, 8, 8),)

    def __init__(self, epsilon: float = 1e-3) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = torch.nn.Conv2d(3, 8, 3)
        self.batch = torch.nn.BatchNorm2d(8)
        self.groups = torch.nn.GroupNorm(2, 8)
        self.layer = torch.nn.LayerNorm(6, eps=epsilon)
        self.fc = torch.nn.Linear(6, 4)
        self.plain = torch.nn.Linear(4, 4, bias=False)
        self.drop = torch.nn.Dropout(0.5)
        self.last = torch.nn.Linear(8 * 6 * 4, 5)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.batch(self.conv(x)))
        x = self.drop(self.plain(self.fc(self.layer(self.groups(x)))))
        x = F.scaled_dot_product_attention(x, x, x)
        return self.last(F.gelu(torch.flatten(x, 1), approximate="tanh"))


def eighth() -> Any:
    return Function(lambda x: torch.floor_divide(x, 0.1), torch.zeros(1, 8))


def thirds() -> Any:
    return Function(lambda x: torch.floor_divide(x, 3), torch.zeros(1, 8, dtype=torch.int32))


def topk() -> Any:
    return Function(lambda x: tuple(torch.topk(x, 3)), torch.zeros(1, 6))


def argmax() -> Any:
    return Function(lambda x: torch.argmax(x, 1), torch.zeros(1, 6))


def ceil_mode() -> Any:
    return Function(
        lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True, count_include_pad=False),
        torch.zeros(1, 2, 8, 8),
    )


def antialias() -> Any:
    return Function(
        lambda x: F.interpolate(x, size=(5, 5), mode="bilinear", antialias=True),
        torch.zeros(1, 2, 8, 8),
    )


def tanh() -> Any:
    return Function(lambda x: F.gelu(x, approximate="tanh"), torch.zeros(1, 64))


def erf() -> Any:
    return Function(lambda x: F.gelu(x), torch.zeros(1, 64))


def attention() -> Any:
    return Function(lambda x: F.scaled_dot_product_attention(x, x, x), torch.zeros(1, 2, 4, 8))


def branch() -> Any:
    return Branch()


def net() -> Any:
    return Net().eval()


def training() -> Any:
    return Net().train()


def restless() -> Any:
    return Function(torch.nn.Linear(4, 3), torch.zeros(1, 4)), None


def noisy() -> Any:
    """Add noise, in eval mode too."""
    return Function(lambda x: x + torch.randn_like(x), torch.zeros(1, 8))


class Quantized(torch.nn.Module):
    """A convolution and a product of 8 bits between floats, calibrated before it is converted."""

    def __init__(self) -> None:
        super().__init__()
        self.quantize = torch.ao.quantization.QuantStub()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.fc = torch.nn.Linear(144, 5)
        self.dequantize = torch.ao.quantization.DeQuantStub()

    def forward(self, x: Any) -> Any:
        x = self.conv(self.quantize(x))
        return self.dequantize(self.fc(x.reshape(x.shape[0], -1)))


def quantized() -> tuple[torch.nn.Module, Any]:
    """Quantize a module as PyTorch's eager mode does."""
    torch.manual_seed(0)
    module = Quantized().eval()
    module.qconfig = torch.ao.quantization.get_default_qconfig("x86")
    torch.ao.quantization.prepare(module, inplace=True)
    module(torch.rand(4, 3, 8, 8))
    torch.ao.quantization.convert(module, inplace=True)
    return module, (torch.rand(1, 3, 8, 8),)

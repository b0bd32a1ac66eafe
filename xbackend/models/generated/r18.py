"""The paper's ResNet18 for pictures of 32x32 (cifar10-r18), as its authors' code builds it."""

from __future__ import annotations

from xbackend.models.generated.graph import GraphBuilder

STAGES = (64, 128, 256, 512)
"""Channels of each stage of two blocks; from the second stage on it begins by halving extents."""


def build(net: GraphBuilder) -> None:
    """Add its layers; the output is `softmax`.

    The stem has no normalisation, the shortcuts have neither that nor a bias: so 11,191,306
    parameters come out, as the paper counts them.
    """
    x = net.image_input("image", 32, 32, 3)
    x = net.pool(net.conv(x, "conv1", 64, 7, 2), "pool1", 3, 2)
    for stage, channels in enumerate(STAGES, 1):
        for block in (1, 2):
            stride = 2 if stage > 1 and block == 1 else 1
            x = _block(net, x, f"s{stage}b{block}", channels, stride)
    net.softmax(net.dense(net.global_average_pool(x, "gap"), "dense", 10), "softmax")


def _block(net: GraphBuilder, x: str, name: str, channels: int, stride: int) -> str:
    """Add a basic block: what passes two convolutions is added to what passes by them."""
    y = net.conv(x, f"{name}_conv1", channels, 3, stride)
    y = net.activate(net.norm(y, f"{name}_bn1"), f"{name}_", 1)
    y = net.conv(y, f"{name}_conv2", channels, 3)
    if stride > 1:
        x = net.conv(x, f"{name}_shortcut", channels, 1, stride, bias=False)
    y = net.norm(net.add(y, x, f"{name}_add"), f"{name}_bn2")
    return net.activate(y, f"{name}_", 2)

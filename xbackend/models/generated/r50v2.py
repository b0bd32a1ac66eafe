"""The paper's ResNet50V2 for pictures of 256x256 (deepweeds-r50v2), as Keras has it."""

from __future__ import annotations

from xbackend.models.generated.graph import GraphBuilder

STACKS = ((64, 3, 2), (128, 4, 2), (256, 6, 2), (512, 3, 1))
"""Of each stack: channels within a block, how many blocks, stride of the last one."""


def build(net: GraphBuilder) -> None:
    """Add its layers: no top of Keras', one dense layer of nine classes.

    The output is `softmax`; 24,744,457 parameters come out, as the paper counts them.
    """
    x = net.image_input("image", 256, 256, 3)
    x = net.conv(x, "conv1_conv", 64, 7, 2, pad=3)
    x = net.pool(net.pad(x, "pool1_pad", 1), "pool1_pool", 3, 2, pad=0)
    for number, (channels, blocks, stride) in enumerate(STACKS, 2):
        for block in range(1, blocks + 1):
            last = stride if block == blocks else 1
            x = _block(net, x, f"conv{number}_block{block}", channels, last, widen=block == 1)
    x = net.activate(net.norm(x, "post_bn"), "post_")
    net.softmax(net.dense(net.flatten(x, "flatten"), "dense", 9, calm=1024), "softmax")


def _block(net: GraphBuilder, x: str, name: str, channels: int, stride: int, widen: bool) -> str:
    """Add a bottleneck block that normalises first; `widen` gives the shortcut a convolution."""
    before = net.activate(net.norm(x, f"{name}_preact_bn"), f"{name}_preact_")
    if widen:
        x = net.conv(before, f"{name}_0_conv", 4 * channels, 1, stride, pad=0)
    elif stride > 1:
        x = net.pool(x, f"{name}_pool", 1, stride, pad=0)
    y = net.conv(before, f"{name}_1_conv", channels, 1, bias=False)
    y = net.activate(net.norm(y, f"{name}_1_bn"), f"{name}_1_")
    y = net.conv(y, f"{name}_2_conv", channels, 3, stride, bias=False, pad=1)
    y = net.activate(net.norm(y, f"{name}_2_bn"), f"{name}_2_")
    y = net.conv(y, f"{name}_3_conv", 4 * channels, 1)
    return net.add(x, y, f"{name}_out")

"""The paper's small network for pictures of 32x32 (cifar10-small), untrained."""

from __future__ import annotations

from xbackend.models.generated.graph import GraphBuilder


def build(net: GraphBuilder) -> None:
    """Add its layers, 59,354 parameters; the output is `softmax`."""
    x = net.image_input("image", 32, 32, 3)
    for number, (channels, kernel) in enumerate([(3, 3), (5, 5)], 1):
        x = net.activate(net.conv(x, f"conv{number}", channels, kernel), "", number)
        x = net.pool(x, f"pool{number}", 2, 2, pad=0)
    x = net.flatten(x, "flatten")
    for number in (1, 2):
        x = net.activate(net.dense(x, f"dense{number}", 128, calm=1), "", number + 2)
    net.softmax(net.dense(x, "dense3", 10), "softmax")

"""Where TensorFlow placed operations, as far as it tells."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Dict

if TYPE_CHECKING:
    from typing import Iterator


def short_name(device: str) -> str:
    """Return the part of a device's name that differs within one machine.

    >>> short_name("/job:localhost/replica:0/task:0/device:CPU:0")
    'CPU:0'
    """
    return device.rpartition("device:")[2]


@contextmanager
def collected_operations() -> Iterator[Dict[str, int]]:
    """Count the operations of graphs that are optimised and placed meanwhile.

    TensorFlow shows them through a part of it that is not public; without it nothing is counted.
    """
    counts: Dict[str, int] = {}
    try:
        from tensorflow.python.eager import context

        context.enable_graph_collection()
    except (ImportError, AttributeError):
        yield counts
        return
    try:
        yield counts
        metadata = context.export_run_metadata()
        graphs = [] if metadata is None else metadata.partition_graphs
        nodes = [node for graph in graphs for node in graph.node]
        counts.update(Counter(f"{short_name(node.device)} {node.op}" for node in nodes))
    finally:
        context.disable_graph_collection()

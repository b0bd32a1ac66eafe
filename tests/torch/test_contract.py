"""PyTorch keeps the contract of a backend."""

from xbackend.plugins import registry
from xbackend.testing.contract import BackendContract


class TestTorch(BackendContract):
    """The adapter, on the CPU, node by node."""

    spec = registry.backend("torch")

"""ONNX Runtime keeps the contract of a backend."""

from xbackend.plugins import registry
from xbackend.testing.contract import BackendContract


class TestOrt(BackendContract):
    """The adapter, on the CPU."""

    spec = registry.backend("ort")

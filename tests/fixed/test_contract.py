"""Exact integers keep the contract of a backend."""

from xbackend.plugins import registry
from xbackend.testing.contract import BackendContract


class TestFixed(BackendContract):
    """The adapter, whose one precision is int8: every value is NumPy's, bit for bit."""

    spec = registry.backend("fixed")

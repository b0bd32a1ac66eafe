"""TensorFlow keeps the contract of a backend, in each of its modes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from xbackend.plugins import registry
from xbackend.testing.contract import BackendContract
from xbackend.testing.small_models import SmallModel


class FreshThreads(BackendContract):
    """TensorFlow takes the number of threads once, so another one is a process's own."""

    spec = registry.backend("tf")

    def test_two_threads_compute_it_too(  # type: ignore[override]
        self, small: SmallModel, fresh: Callable[..., Any]
    ) -> None:
        inputs = {name: tensor.array for name, tensor in small.inputs.items()}
        answer = fresh(small.model, inputs, **self.settings, threads=2)
        assert (answer.facts["intra_op_threads"], answer.facts["inter_op_threads"]) == (2, 2)
        wanted = small.values[small.output]
        np.testing.assert_allclose(
            answer.outputs[small.output], wanted, rtol=0, atol=small.tolerance * wanted.max()
        )


class TestEager(FreshThreads):
    """The adapter with default settings."""


class TestFunction(FreshThreads):
    """The whole graph as one tf.function."""

    settings: ClassVar = {"mode": "function"}


class TestXla(FreshThreads):
    """The whole graph compiled."""

    settings: ClassVar = {"mode": "xla"}

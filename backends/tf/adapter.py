"""The adapter of TensorFlow: prepares an executor of the ONNX graph under settings."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Dict, Mapping, Tuple

from xbackend.worker.contract import Backend, Unsupported
from xbackend.worker.graph import read_graph

from . import SPEC
from .framework import start

if TYPE_CHECKING:
    from xbackend.worker.artifact import Artifact
    from xbackend.worker.contract import Session, Settings
    from xbackend.worker.graph import Graph


class Adapter(Backend):
    """TensorFlow behind the contract."""

    spec = SPEC

    def versions(self) -> Dict[str, str]:
        """Return TensorFlow's version, which is known without importing it under no settings."""
        if "tensorflow" in sys.modules:
            return {SPEC.word: str(sys.modules["tensorflow"].__version__)}
        return {SPEC.word: _installed()}

    def prepare(self, artifact: Artifact, settings: Settings) -> Session:
        """Start TensorFlow, read the graph and refuse it if an operator is missing."""
        chosen = {**SPEC.defaults(), "threads": 1, **settings}
        _refuse_unknown(chosen)
        placement = start(chosen)
        from .executor import Executor
        from .session import EagerSession, FunctionSession

        graph = read_graph(artifact.folder)
        with placement.scope():
            executor = Executor(graph)
        if chosen["mode"] == "eager":
            return EagerSession(executor, placement)
        return FunctionSession(executor, placement, xla=chosen["mode"] == "xla")

    def concrete_function(self, graph: Graph, shapes: Mapping[str, Tuple[int, ...]]) -> Any:
        """Return the graph as a concrete function of inputs that have these shapes.

        Its results are the outputs in the graph's order; each operation is named after the value
        that it helps to compute. For converters: no settings are applied.
        """
        import tensorflow as tf

        from .executor import Executor, scope_name

        executor = Executor(graph)
        names = [value.name for value in graph.inputs]

        def compute(*tensors: Any) -> Any:
            return list(executor.outputs(dict(zip(names, tensors))).values())

        labels = [scope_name(name) for name in names]
        signature = [
            tf.TensorSpec(
                shapes[value.name],
                value.dtype,
                label if labels.count(label) == 1 else f"{label}_{place}",
            )
            for place, (value, label) in enumerate(zip(graph.inputs, labels))
        ]
        return tf.function(compute, autograph=False).get_concrete_function(*signature)


def _refuse_unknown(settings: Settings) -> None:
    for setting in SPEC.settings:
        value = settings[setting.key]
        if setting.choices and value not in setting.choices:
            choices = ", ".join(str(choice) for choice in setting.choices)
            raise Unsupported(f"tf.{setting.key} cannot be '{value}': use one of {choices}.")


def _installed() -> str:
    """Return the version of whichever distribution holds TensorFlow."""
    from importlib import metadata

    for name in ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tf-nightly"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"

"""The adapter of `fixed`: walks a graph, node by node, in exact integers or in floats in order."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.worker.contract import Backend, Session, Unsupported
from xbackend.worker.graph import read_graph
from xbackend.worker.subgraphs import every_value, expanded, is_wanted
from xbackend.worker.tensor import Tensor, from_numpy

from . import SPEC
from .formats import keep_denormals
from .unsupported import KNOWN, check_supported
from .walk import Walker

if TYPE_CHECKING:
    from typing import Collection, Dict, Iterator, Mapping, Tuple

    from xbackend.worker.artifact import Artifact
    from xbackend.worker.contract import Settings
    from xbackend.worker.graph import Graph

    Array = np.ndarray[Any, Any]

REVISION = "1"
"""Version of the arithmetic, raised whenever a result's bits can change. NumPy's is none: the bits
are the same with any."""


class Adapter(Backend):
    """Exact integers and ordered floats with NumPy."""

    spec = SPEC

    def versions(self) -> Dict[str, str]:
        """Return the version of the arithmetic, and NumPy's, on which it does not depend."""
        return {"fixed": REVISION, "numpy": np.__version__}

    def prepare(self, artifact: Artifact, settings: Settings) -> Session:
        """Read the graph and refuse what cannot be computed, before anything runs."""
        precision = str(settings["precision"])
        if precision not in SPEC.formats:
            raise Unsupported(
                SPEC.unsupported_precisions.get(precision, f"fixed has no {precision}.")
            )
        keep_denormals()
        graph = expanded(read_graph(artifact.folder), KNOWN)
        check_supported(graph, precision)
        return FixedSession(graph)


class FixedSession(Session):
    """A graph that is ready to run."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.taps = every_value(graph)
        self._walker = Walker()
        self._outputs = graph.output_names

    def run(self, inputs: Mapping[str, Tensor]) -> Dict[str, Tensor]:
        """Compute the outputs."""
        wanted = set(self._outputs)
        values = self._start(inputs)
        found = {name: array for name, array in values.items() if name in wanted}
        steps = self._walker.walk(self.graph, values, "")
        found.update((name, array) for name, array in steps if name in wanted)
        return {name: from_numpy(found[name]) for name in self._outputs}

    def tap(
        self, inputs: Mapping[str, Tensor], wanted: Collection[str]
    ) -> Iterator[Tuple[str, Tensor]]:
        """Yield wanted values as they are computed; by construction they change nothing."""
        asked = set(wanted)
        for name, array in self._walker.walk(self.graph, self._start(inputs), ""):
            if is_wanted(name, asked) and isinstance(array, np.ndarray):
                yield name, from_numpy(array)

    def facts(self) -> Dict[str, Any]:
        """Tell what the arithmetic is and which number of threads its products were given."""
        arithmetic = "exact integers, float32 scales; floats in one order, blocks of 16 and a tree"
        return {"arithmetic": arithmetic, "threads": os.environ.get("OMP_NUM_THREADS")}

    def _start(self, inputs: Mapping[str, Tensor]) -> Dict[str, Array]:
        values = {name: tensor.array for name, tensor in self.graph.constants.items()}
        return {**values, **{name: tensor.array for name, tensor in inputs.items()}}

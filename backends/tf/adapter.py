"""The adapter of TensorFlow: prepares an executor of the ONNX graph under settings."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any, Dict, Mapping, Tuple

from xbackend.worker.contract import Backend
from xbackend.worker.graph import read_graph

from . import SOURCE_FORMAT, SPEC
from .framework import start

if TYPE_CHECKING:
    from xbackend.worker.artifact import Artifact
    from xbackend.worker.contract import Session, Settings
    from xbackend.worker.graph import Graph

EIGEN = re.compile(r'#define EIGEN_(WORLD|MAJOR|MINOR|VERSION_STRING)(?:_VERSION)? "?([^"\s]+)')
"""What Eigen's headers say of their version; the later ones say it in one string too."""


class Adapter(Backend):
    """TensorFlow behind the contract."""

    spec = SPEC

    def versions(self) -> Dict[str, str]:
        """Return TensorFlow's version, and once it is imported those of its build and of Eigen.

        Before, settings would be too late. It tells the version of its oneDNN nowhere but in
        oneDNN's own log.
        """
        tf = sys.modules.get("tensorflow")
        if tf is None:
            return {SPEC.word: _installed()}
        return {SPEC.word: str(tf.__version__), **build_versions(tf)}

    def prepare(self, artifact: Artifact, settings: Settings) -> Session:
        """Start TensorFlow, read the graph or the source; refuse what it lacks operators for."""
        chosen = {**SPEC.defaults(), "threads": 1, **settings}
        SPEC.check(chosen)
        placement = start(chosen)
        if artifact.format == SOURCE_FORMAT:
            from .source import prepare_source

            return prepare_source(artifact, placement, str(chosen["mode"]))
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
        names = graph.input_names

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


def build_versions(tf: Any) -> Dict[str, str]:
    """Return what TensorFlow tells of its build: commit, compiler, Eigen, CUDA and cuDNN.

    The last two are those that it was built for, whether or not any is used.
    """
    found = {
        "build": str(tf.version.GIT_VERSION),
        "compiler": str(tf.version.COMPILER_VERSION),
        "eigen": _eigen(tf.sysconfig.get_include()),
    }
    about = tf.sysconfig.get_build_info() if hasattr(tf.sysconfig, "get_build_info") else {}
    found.update(
        {f"{key}_build": str(about.get(f"{key}_version", "")) for key in ("cuda", "cudnn")}
    )
    return {name: value for name, value in found.items() if value}


def _eigen(include: str) -> str:
    """Return the version of the Eigen that TensorFlow was compiled with, from its own headers."""
    for name in ("Eigen/Version", "Eigen/src/Core/util/Macros.h"):
        try:
            with open(os.path.join(include, *name.split("/")), encoding="utf-8") as stream:
                found = dict(EIGEN.findall(stream.read()))
        except OSError:
            continue
        parts = [found.get(part, "") for part in ("WORLD", "MAJOR", "MINOR")]
        if all(parts):
            return str(found.get("VERSION_STRING", ".".join(parts)))
    return ""


def _installed() -> str:
    """Return the version of whichever distribution holds TensorFlow."""
    from importlib import metadata

    for name in ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tf-nightly"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"

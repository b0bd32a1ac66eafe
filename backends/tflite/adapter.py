"""The adapter of TensorFlow Lite: prepares a flat graph under settings that are checked."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Dict

from xbackend.worker.contract import Backend, Unsupported

from . import SPEC
from .runtime import PACKAGES, load, newer_runtime, resolve, version
from .session import FlatSession, Kernels, MissingOperation, read_map

if TYPE_CHECKING:
    from xbackend.worker.artifact import Artifact
    from xbackend.worker.contract import Settings


class Adapter(Backend):
    """TensorFlow Lite behind the contract."""

    spec = SPEC

    def __init__(self) -> None:
        self._runtime = "auto"

    def versions(self) -> Dict[str, str]:
        """Return the version of the runtime; before `prepare`, of the one that `auto` means."""
        name = resolve(self._runtime)
        module = sys.modules.get(PACKAGES[name][0])
        commit = getattr(module, "__git_version__", "")
        return {
            SPEC.word: version(name),
            PACKAGES[name][1]: version(name),
            **({"build": str(commit)} if commit else {}),
        }

    def prepare(self, artifact: Artifact, settings: Settings) -> FlatSession:
        """Load a flat graph; Unsupported where this runtime lacks one of its operations."""
        chosen = {**SPEC.defaults(), **settings}
        SPEC.check(chosen)
        kernels = Kernels(str(chosen["delegate"]), int(chosen.get("threads", 1)))
        if kernels.delegate == "reference" and kernels.threads > 1:
            raise Unsupported(
                "TensorFlow Lite's reference kernels use one thread, not "
                f"{kernels.threads}: run them with --threads 1."
            )
        path = str(artifact.folder / str(artifact.manifest.get("model", "model.tflite")))
        tensor_map = read_map(artifact.folder)
        word = str(chosen["runtime"])
        runtime = load(word)
        self._runtime = runtime.word
        try:
            return FlatSession(runtime, kernels, path, tensor_map)
        except MissingOperation:
            newer = newer_runtime(runtime.word) if word == "auto" else ""
            if not newer:
                raise
        self._runtime = newer
        return FlatSession(load(newer), kernels, path, tensor_map)

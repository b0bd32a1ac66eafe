"""The adapter of ONNX Runtime: sessions, inference and taps."""

from __future__ import annotations

import ctypes
import re
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Tuple

import numpy as np
import onnxruntime

from xbackend.worker.contract import Backend, Session, Unsupported
from xbackend.worker.tensor import Tensor, from_numpy

from . import SPEC
from .errors import sentence, translate_error
from .options import ERRORS_ONLY, Options, read_options
from .placement import facts_about
from .providers import missing, missing_dependency
from .taps import fetched, placed

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Collection, Iterator

    from xbackend.worker.artifact import Artifact
    from xbackend.worker.contract import Settings

COMMIT = re.compile(r"git-commit-id=(\w+)")
BFLOAT16 = 16
"""ONNX's number for the format that NumPy lacks."""

NUMERIC = frozenset(
    f"tensor({name})"
    for name in (
        *("float", "double", "float16", "bfloat16", "bool"),
        *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    )
)
"""Types of values that are tensors with bits to compare."""


class Adapter(Backend):
    """ONNX Runtime as a backend."""

    spec = SPEC

    def versions(self) -> Dict[str, str]:
        """Return ONNX Runtime's version and build, and CUDA's version if it was built for it.

        MLAS, which computes on CPUs, is part of it and has no version of its own.
        """
        versions = {"ort": str(onnxruntime.__version__)}
        told = COMMIT.search(str(getattr(onnxruntime, "get_build_info", str)()))
        if told:
            versions["build"] = told[1]
        cuda = getattr(onnxruntime, "cuda_version", "")
        return {**versions, "cuda": str(cuda)} if cuda else versions

    def prepare(self, artifact: Artifact, settings: Settings) -> OrtSession:
        """Load `model.onnx`; the file of the taps is read once they are asked for."""
        onnxruntime.set_default_logger_severity(ERRORS_ONLY)
        return OrtSession(artifact, read_options({**SPEC.defaults(), **settings}))


class OrtSession(Session):
    """Two sessions of ONNX Runtime: the model, and later the same with all values as outputs."""

    def __init__(self, artifact: Artifact, options: Options) -> None:
        self._folder = artifact.folder
        self._options = options
        self._model = open_session(artifact.folder / "model.onnx", options)
        self._tapped: Any = None
        self._untapped = ""
        self.taps = tuple(layer.tap for layer in artifact.layers)

    def run(self, inputs: Mapping[str, Tensor]) -> Dict[str, Tensor]:
        """Return the outputs of one inference."""
        return infer(self._model, [value.name for value in self._model.get_outputs()], inputs)

    def tap(
        self, inputs: Mapping[str, Tensor], wanted: Collection[str]
    ) -> Iterator[Tuple[str, Tensor]]:
        """Yield values that a second session gives as outputs; strings and sequences are left out.

        With optimisations an output cannot be fused away, so that session may compute other bits.
        """
        yield from self._tap(inputs, wanted, "taps.onnx")

    def _tap(
        self, inputs: Mapping[str, Tensor], wanted: Collection[str], file: str
    ) -> Iterator[Tuple[str, Tensor]]:
        """Tap by one of the files; without what loops stack, where ONNX Runtime cannot stack it."""
        if self._tapped is None:
            self._tapped = open_session(self._folder / file, self._options)
        given = {value.name for value in self._tapped.get_outputs() if value.type in NUMERIC}
        order = dict.fromkeys((*self.taps, *sorted(given)))
        names = [name for name in order if name in given]
        asked = fetched(names, wanted)
        plain = self._folder / "taps-plain.onnx"
        try:
            found = infer(self._tapped, asked, inputs)
        except Exception as error:
            if file == plain.name or not plain.exists():
                raise
            self._untapped = f"Values within loops were not recorded: {sentence(str(error))}"
            self._tapped = None
            yield from self._tap(inputs, wanted, plain.name)
            return
        yield from placed(found, names, wanted)

    def facts(self) -> Dict[str, Any]:
        """Return which provider ran which node, and what the settings came to."""
        facts = facts_about(self._model, self._folder / "model.onnx", self._options)
        return {**facts, "untapped": self._untapped} if self._untapped else facts

    def close(self) -> None:
        """Let go of both sessions."""
        self._model = self._tapped = None


def open_session(path: Path, options: Options) -> Any:
    """Load a file under options and see that they hold. Raises Unsupported where they do not."""
    try:
        session = options.open(str(path))
    except Unsupported:
        raise
    except Exception as error:
        if missing_dependency(options.provider):
            raise Unsupported(missing(options.provider)) from error
        raise translate_error(error, options.precision) from error
    options.check(session)
    return session


def infer(session: Any, names: List[str], inputs: Mapping[str, Tensor]) -> Dict[str, Tensor]:
    """Return the named outputs of one inference."""
    if any(has_bfloat16(value) for value in (*session.get_inputs(), *session.get_outputs())):
        return infer_bfloat16(session, names, inputs)
    arrays = session.run(names, {name: tensor.array for name, tensor in inputs.items()})
    return {name: from_numpy(array) for name, array in zip(names, arrays)}


def has_bfloat16(value: Any) -> bool:
    """Tell whether an input or output is in the format that NumPy lacks."""
    return bool(value.type == "tensor(bfloat16)")


def infer_bfloat16(
    session: Any, names: List[str], inputs: Mapping[str, Tensor]
) -> Dict[str, Tensor]:
    """Return the named outputs of one inference through ONNX Runtime's own tensors."""
    values = session.run_with_ort_values(names, {k: ort_value(t) for k, t in inputs.items()})
    return {name: from_ort_value(value) for name, value in zip(names, values)}


def ort_value(tensor: Tensor) -> Any:
    """Copy a tensor into one of ONNX Runtime's. Raises Unsupported if it has no bfloat16."""
    if tensor.dtype != "bfloat16":
        return onnxruntime.OrtValue.ortvalue_from_numpy(tensor.array)
    make = getattr(onnxruntime.OrtValue, "ortvalue_from_numpy_with_onnx_type", None)
    if make is None:
        raise Unsupported(
            f"ONNX Runtime {onnxruntime.__version__} takes no bfloat16 from Python; 1.20 does."
        )
    return make(np.ascontiguousarray(tensor.array), BFLOAT16)


def from_ort_value(value: Any) -> Tensor:
    """Copy one of ONNX Runtime's tensors out, bfloat16 as its bits."""
    if value.data_type() != "tensor(bfloat16)":
        return from_numpy(value.numpy())
    shape = tuple(value.shape())
    data = ctypes.string_at(value.data_ptr(), 2 * int(np.prod(shape, dtype=np.int64)))
    return Tensor("bfloat16", np.frombuffer(data, np.uint16).reshape(shape))

"""The public tests of ONNX operators (`onnx.backend.test`), as typed cases."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .operators import FURTHER_OPERATORS, HUB_OPERATORS

if TYPE_CHECKING:
    import onnx

    NodeTests = Sequence[Any]

EXACT = frozenset(
    ["bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))],
)
"""Formats that may be beside float32 in a test of float32."""

CASTS = frozenset(["float16", "bfloat16", "float64"])
"""Formats that may be beside float32 in a test of Cast."""

EXPANDED = re.compile(r"_expanded(_ver\d+)?$")
"""How the suite names a test that spells an operator out in others."""


@dataclass(frozen=True)
class CaseData:
    """One set of inputs, and the outputs that they must give."""

    inputs: Mapping[str, Any]
    """By name; arrays, but lists or None where an input is no tensor."""
    outputs: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class SuiteCase:
    """One test of the public suite."""

    name: str
    operator: str
    """The operator under test, with its domain unless that is ONNX's own."""
    dtypes: frozenset[str]
    """Formats of the inputs and outputs: NumPy's names, or ONNX's in lower case."""
    model: onnx.ModelProto
    data_sets: tuple[CaseData, ...]
    rtol: float
    atol: float

    @property
    def further(self) -> bool:
        """Whether an executor of the graph must pass it, beyond what every float backend must."""
        return self.operator in FURTHER_OPERATORS and self.dtypes - EXACT == {"float32"}

    @property
    def strict(self) -> bool:
        """Whether every float backend must pass it, or have it among its expected failures."""
        beside = EXACT | CASTS if self.operator == "Cast" else EXACT
        return self.operator in HUB_OPERATORS and self.dtypes - beside == {"float32"}


@cache
def node_cases() -> tuple[SuiteCase, ...]:
    """Load all tests of single operators, in order of their names. Takes some seconds."""
    tests = _load("node")
    operators = {test.name: _operator(test.model.graph.node[0]) for test in tests}
    return tuple(_case(test, operators) for test in sorted(tests, key=lambda test: test.name))


@cache
def strict_cases() -> tuple[SuiteCase, ...]:
    """Load the float32 tests of the hub's operators."""
    return tuple(case for case in node_cases() if case.strict)


@cache
def further_cases() -> tuple[SuiteCase, ...]:
    """Load the float32 tests of what executors have beyond the hub's operators."""
    return tuple(case for case in node_cases() if case.further)


def _load(kind: str) -> NodeTests:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return load_model_tests(kind=kind)


def _operator(node: onnx.NodeProto) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def _case(test: Any, operators: Mapping[str, str]) -> SuiteCase:
    """Type one test; an expanded one belongs to the operator that it spells out."""
    graph = test.model.graph
    values = (*graph.input, *graph.output)
    return SuiteCase(
        name=test.name,
        operator=operators.get(EXPANDED.sub("", test.name), operators[test.name]),
        dtypes=frozenset(dtype_name(value.type) for value in values),
        model=test.model,
        data_sets=tuple(_data_set(test.model, *pair) for pair in test.data_sets),
        rtol=test.rtol,
        atol=test.atol,
    )


def _data_set(model: onnx.ModelProto, inputs: Sequence[Any], outputs: Sequence[Any]) -> CaseData:
    names = [value.name for value in model.graph.input]
    results = [value.name for value in model.graph.output]
    return CaseData(
        inputs={name: _array(item) for name, item in zip(names, inputs, strict=False)},
        outputs={name: _array(item) for name, item in zip(results, outputs, strict=False)},
    )


def _array(item: Any) -> Any:
    """Return a tensor as an array; what is no tensor stays as it is."""
    from onnx import TensorProto, numpy_helper

    if isinstance(item, TensorProto):
        return numpy_helper.to_array(item)
    return np.asarray(item) if isinstance(item, np.generic) else item


def dtype_name(value: onnx.TypeProto) -> str:
    """Return NumPy's name of a tensor's format; the kind of type where it is no tensor."""
    from onnx import TensorProto

    kind = value.WhichOneof("value")
    if kind != "tensor_type":
        return str(kind)
    name = TensorProto.DataType.Name(value.tensor_type.elem_type).lower()
    return {"float": "float32", "double": "float64"}.get(name, str(name))


@dataclass(frozen=True)
class LightModel:
    """A public CNN whose weights are constants that the graph itself makes."""

    name: str
    path: Path
    input: str
    """Name of its one input."""
    shape: tuple[int, ...]
    """That input's."""

    def sample(self) -> np.ndarray[Any, Any]:
        """Return the suite's own input: rising from 0 to 1 in float32."""
        count = int(np.prod(self.shape))
        return (np.arange(count).reshape(self.shape) / count).astype(np.float32)


def light_models() -> tuple[LightModel, ...]:
    """List the `light_*` models that the onnx package ships, in order of their names."""
    import onnx.backend.test

    folder = Path(onnx.backend.test.__file__).parent / "data" / "light"
    return tuple(_light_model(path) for path in sorted(folder.glob("light_*.onnx")))


def _light_model(path: Path) -> LightModel:
    import onnx

    graph = onnx.load(path).graph
    weights = {tensor.name for tensor in graph.initializer}
    (value,) = (value for value in graph.input if value.name not in weights)
    extents = value.type.tensor_type.shape.dim
    shape = tuple(extent.dim_value or 1 for extent in extents)
    return LightModel(path.stem, path, value.name, shape)

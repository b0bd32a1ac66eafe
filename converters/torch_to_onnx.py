"""PyTorch to ONNX with nothing folded: an exported program, or a module that a function makes.

Nodes of the graph say in their metadata which operation of the program, or which call of a module,
gives their value (`torch_names`); what the exporter warned of is in the notes.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from xbackend.errors import ConversionError, ModelError
from xbackend.plugins.converter import ConversionRequest, ConversionResult, ConverterSpec
from xbackend.preparation.conversion import weights
from xbackend.worker.torch_state import state_digest

from .libraries.sentence import clause
from .torch.functions import mark_function_calls, watched_function_calls
from .torch.names import inner_modules, mark_module_calls, mark_program_nodes, watched_calls
from .torch.pt2_archive import sanitize
from .torch.state import code_digest, draws_random_numbers, tensors_of

SPEC = ConverterSpec(
    name="torch_to_onnx",
    conversions=(("pt2", "onnx"), ("callable", "onnx")),
    convert="xbackend.converters.torch_to_onnx:convert",
    modules=("torch", "onnxscript", "onnx"),
    extra="torch",
    distributions=("torch", "onnxscript", "onnx"),
    revision=3,
)

MODULE_OPSET = 17
PROGRAM_OPSET = 18
"""The oldest that PyTorch's exporter of programs writes."""

PROGRAM_EXPORTER = ("PyTorch", "")
MODULE_EXPORTER = (
    "PyTorch's TorchScript exporter",
    " Give what torch.export.export(module, example_inputs) returns, or a .pt2 file of that.",
)
"""Who exports, and what to do where it cannot."""

FILE = "model.onnx"


@dataclass(frozen=True)
class ModuleWithExamples:
    """What a user's function makes."""

    module: Any
    """A `torch.nn.Module`, or an exported program."""
    examples: tuple[Any, ...] | None
    """Inputs to trace it with, None where none are given."""


def convert(request: ConversionRequest) -> ConversionResult:
    """Write `model.onnx`, with every weight as it is."""
    import torch

    if request.source_format == "pt2":
        return _convert_program(load_program(request.source), request)
    made = call_factory(str(request.source))
    code = {"code": code_digest()}
    if isinstance(made.module, torch.export.ExportedProgram):
        return _convert_program(made.module, request, code)
    return _convert_module(made, request, code)


def load_program(source: Path) -> Any:
    """Load an exported program without unpickling or executing anything of the file."""
    import torch

    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "model.pt2"
        sanitize(source, copy)
        try:
            return torch.export.load(copy)
        except Exception as error:  # a broken graph raises anything
            raise ModelError(
                f"torch {torch.__version__} cannot read {source}: {clause(error)}. "
                "Save it again with this version."
            ) from error


def call_factory(text: str) -> ModuleWithExamples:
    """Call the function that a user names as `module:callable`, with nothing."""
    import onnxscript  # noqa: F401 - before the current folder can shadow what it imports
    import torch

    module, _, name = text.partition(":")
    with _current_folder_importable():
        try:
            function = getattr(importlib.import_module(module), name)
            made = function if isinstance(function, torch.nn.Module) else function()
        except Exception as error:  # the user's own code raises anything
            raise ModelError(f"'{text}' cannot be called: {clause(error)}.") from error
    module_or_program, examples = made if isinstance(made, tuple) else (made, None)
    if not isinstance(module_or_program, (torch.nn.Module, torch.export.ExportedProgram)):
        raise ModelError(
            f"'{text}' gives a {type(module_or_program).__name__}. Make it return a "
            "torch.nn.Module, or a pair of module and example inputs."
        )
    if isinstance(module_or_program, torch.jit.ScriptModule):
        raise ModelError(
            f"'{text}' gives a {type(module_or_program).__name__}, and what torch.jit made is not "
            "taken. Make it return the torch.nn.Module that it was made of."
        )
    if examples is None:
        examples = getattr(module_or_program, "example_inputs", None)
    if examples is None:
        examples = getattr(function, "example_inputs", None)
    return ModuleWithExamples(module_or_program, None if examples is None else _several(examples))


def _several(examples: Any) -> tuple[Any, ...]:
    return tuple(examples) if isinstance(examples, (tuple, list)) else (examples,)


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    sys.path.insert(0, "")
    try:
        yield
    finally:
        sys.path.remove("")


def _convert_program(
    program: Any, request: ConversionRequest, about: Mapping[str, Any] = MappingProxyType({})
) -> ConversionResult:
    """Export by PyTorch's exporter of programs, whose optimiser folds and is left out."""
    import torch

    for node in program.graph.nodes:
        node.meta.pop("from_node", None)  # what it went through before is not what is exported

    def export(path: Path) -> None:
        made = torch.onnx.export(
            program,
            (),
            path,
            dynamo=True,
            optimize=False,
            opset_version=PROGRAM_OPSET,
            external_data=False,
            verbose=False,
        )
        mark_program_nodes(path, program, made.exported_program)

    state = {**program.state_dict, **program.constants}
    notes = {
        **about,
        "exporter": "dynamo",
        "opset": PROGRAM_OPSET,
        "state": state_digest(state, torch),
        "train_mode": draws_random_numbers(program),
    }
    return _exported(export, state, request, notes, PROGRAM_EXPORTER)


def _convert_module(
    made: ModuleWithExamples, request: ConversionRequest, about: Mapping[str, Any]
) -> ConversionResult:
    """Export by tracing, in inference, with the folding of constants and normalisations off."""
    import torch

    train_mode = bool(made.module.training)
    module = made.module.eval()
    names = list(inspect.signature(module.forward).parameters)
    examples = made.examples or _given(request, names)
    calls, count = watched_calls(module, examples)
    functions = watched_function_calls(module, examples)

    def export(path: Path) -> None:
        torch.onnx.export(
            module,
            examples,
            path,
            dynamo=False,
            opset_version=MODULE_OPSET,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            input_names=names[: len(examples)],
            output_names=_output_names(count),
        )
        mark_function_calls(path, functions, {name for name, _ in inner_modules(module)})
        mark_module_calls(path, calls)

    notes = {
        **about,
        "exporter": "trace",
        "opset": MODULE_OPSET,
        "mode": "eval",
        "train_mode": train_mode,
        "state": state_digest(
            {**dict(module.named_parameters()), **dict(module.named_buffers())}, torch
        ),
    }
    return _exported(export, module.state_dict(), request, notes, MODULE_EXPORTER)


def _output_names(count: int) -> list[str]:
    """Name the outputs `output`, or `output_0` and so on."""
    return ["output"] if count == 1 else [f"output_{index}" for index in range(count)]


def _given(request: ConversionRequest, names: list[str]) -> tuple[Any, ...]:
    """Return the first of the sample inputs, a batch of one."""
    import torch

    if request.inputs is None:
        raise ModelError(
            f"'{request.source}' gives no example inputs to trace the module with. Make it return "
            "(module, example_inputs), or give the module an attribute example_inputs."
        )
    with np.load(request.inputs, allow_pickle=False) as samples:
        order = [name for name in names if name in samples.files] or samples.files
        return tuple(torch.from_numpy(samples[name][:1]) for name in order)


def _exported(
    export: Callable[[Path], None],
    state: dict[str, Any],
    request: ConversionRequest,
    notes: dict[str, Any],
    exporter: tuple[str, str],
) -> ConversionResult:
    """Run an exporter and tell which weights kept their bits.

    `exporter` names it, and says what may be done where it fails.
    """
    import onnx
    from onnx.numpy_helper import to_array

    path = request.output / FILE
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            export(path)
    except Exception as error:  # an exporter raises anything
        raise ConversionError(
            f"{exporter[0]} cannot export {request.source} to ONNX: {clause(error)}.{exporter[1]}"
        ) from error
    held = [_bits(to_array(tensor)) for tensor in onnx.load(path).graph.initializer]
    kept = tensors_of({name: value for name, value in state.items() if not _is_counter(name)})
    source = {name: _array(value) for name, value in kept.items()}
    return ConversionResult(
        model=FILE,
        weights=weights.compare_weights(source, held),
        notes={**notes, "warnings": exporter_warnings(said)},
    )


def exporter_warnings(said: Iterable[warnings.WarningMessage]) -> list[str]:
    """Return what an exporter warned of, each sentence once, with the lines that it is about.

    That a function will go away says nothing of a model.
    """
    future = (DeprecationWarning, FutureWarning, PendingDeprecationWarning, ImportWarning)
    places: dict[str, list[str]] = {}
    for each in said:
        if issubclass(each.category, (*future, ResourceWarning)):
            continue
        own = "/torch/" in each.filename and "/site-packages/" in each.filename
        place = f"{Path(each.filename).name}:{each.lineno}" + (" of PyTorch itself" if own else "")
        text = f"{each.category.__name__}: {' '.join(str(each.message).split())[:500]}"
        places.setdefault(text, []).append(place)
    return [
        f"{text} ({', '.join(dict.fromkeys(sorted(where, key=lambda place: ' ' in place)))})"
        for text, where in places.items()
    ]


def _is_counter(name: str) -> bool:
    """Tell whether a value only counts batches of training, which no exporter keeps."""
    return name.rpartition(".")[2] == "num_batches_tracked"


def _array(value: Any) -> np.ndarray[Any, Any]:
    """Return a weight's bits, bfloat16 as uint16."""
    import torch

    value = value.detach().cpu().contiguous()
    if value.is_quantized:
        whole: np.ndarray[Any, Any] = value.int_repr().numpy()
        return whole
    if value.dtype == torch.bfloat16:
        bits: np.ndarray[Any, Any] = value.view(torch.int16).numpy().view(np.uint16)
        return bits
    array: np.ndarray[Any, Any] = value.numpy()
    return array


def _bits(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array.view(np.uint16) if array.dtype.name == "bfloat16" else array

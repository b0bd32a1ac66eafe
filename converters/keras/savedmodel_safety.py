"""Reads `saved_model.pb` as plain data and refuses a graph that does anything but compute.

TensorFlow runs parts of a SavedModel while it loads it, such as what makes its resources. So every
node is checked before TensorFlow sees the file: of the graph, of all functions in its library, used
or not. The part that saves the weights, which comes with every model, may hold what nothing else
may, as long as nothing that is run leads there; likewise the part that restores them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xbackend.errors import ModelError

from .savedmodel_operations import COMPUTING, CONVERTED, RESTORING, SAVING

PYTHON_OPERATIONS = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
"""TensorFlow operations that call Python."""

ALLOWED = CONVERTED | COMPUTING

INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op", "saved_model_initializers")


def check_saved_model(path: Path) -> None:
    """Raise ModelError unless all that the graphs of a SavedModel hold is known to only compute."""
    if (path / "saved_model.cpb").exists():
        raise ModelError(
            f"{path} is split into parts (saved_model.cpb), which are not read here. Save a model "
            "of less than 2 GB, or export it to ONNX."
        )
    graphs = _graphs(path / "saved_model.pb")
    found = set().union(*(_refused(graph) for graph in graphs))
    python, rest = sorted(found & PYTHON_OPERATIONS), sorted(found - PYTHON_OPERATIONS)
    if python:
        raise ModelError(
            f"{path} calls Python code ({', '.join(python)}), and code in a model is never "
            "executed. Replace it with TensorFlow operations, or export the model to ONNX."
        )
    if rest:
        more = f" and {len(rest) - 8} more" if len(rest) > 8 else ""
        raise ModelError(
            f"{path} holds operations that are not known to only compute "
            f"({', '.join(rest[:8])}{more}). Save the model without them, or export it to ONNX."
        )


def _graphs(file: Path) -> list[Any]:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        model = SavedModel.FromString(file.read_bytes())
    except OSError as error:
        raise ModelError(f"Cannot read the model {file}: {error.strerror or error}.") from error
    except DecodeError as error:
        raise ModelError(f"{file} is truncated or not a SavedModel.") from error
    if not model.meta_graphs:
        raise ModelError(f"{file} is truncated or not a SavedModel: it holds no graph.")
    return list(model.meta_graphs)


@dataclass(frozen=True)
class _Reached:
    """What of a graph is run."""

    nodes: frozenset[str]
    """Names of the main graph's nodes."""
    functions: frozenset[str]
    """Names of the library's functions."""


def _refused(meta: Any) -> set[str]:
    """Return the names of the operations of a graph that are not allowed where they are."""
    library = {function.signature.name: function for function in meta.graph_def.library.function}
    run = _reached(meta, library, _run_nodes(meta), _own_functions(meta))
    restored = _reached(meta, library, [meta.saver_def.restore_op_name], ())
    found = {
        name for name in library if _is_operation(name)
    }  # TensorFlow would take the operation of that name
    for node in meta.graph_def.node:
        allowed = _allowed(node.name in run.nodes, node.name in restored.nodes)
        found |= _refused_operations([node], allowed, library)
    for name, function in library.items():
        allowed = _allowed(name in run.functions, name in restored.functions)
        found |= _refused_operations(function.node_def, allowed, library)
    return found


def _allowed(run: bool, restored: bool) -> frozenset[str]:
    if run:
        return ALLOWED
    return ALLOWED | RESTORING if restored else ALLOWED | RESTORING | SAVING


def _refused_operations(
    nodes: Iterable[Any], allowed: frozenset[str], library: dict[str, Any]
) -> set[str]:
    return {node.op for node in nodes if node.op not in allowed and node.op not in library}


def _is_operation(name: str) -> bool:
    from tensorflow.python.framework import op_def_registry

    return op_def_registry.get(name) is not None


def _run_nodes(meta: Any) -> Iterator[str]:
    """Yield the names of the nodes that are run, but for what saves and restores."""
    for signature in meta.signature_def.values():
        for tensor in (*signature.outputs.values(), *signature.inputs.values()):
            yield tensor.name
    for name in INIT_COLLECTIONS:
        yield from meta.collection_def[name].node_list.value if name in meta.collection_def else ()


def _own_functions(meta: Any) -> Iterator[str]:
    """Yield the names of the functions that objects of the model have: all may be called."""
    yield from meta.object_graph_def.concrete_functions
    for node in meta.object_graph_def.nodes:
        yield from node.function.concrete_functions
        yield node.bare_concrete_function.concrete_function_name


def _reached(
    meta: Any, library: dict[str, Any], nodes: Iterable[str], functions: Iterable[str]
) -> _Reached:
    """Return what is run with some nodes and functions."""
    known = {node.name: node for node in meta.graph_def.node}
    seen: set[str] = set()
    waiting = [_node_name(name) for name in nodes]
    while waiting:
        name = waiting.pop()
        if name in known and name not in seen:
            seen.add(name)
            waiting += [_node_name(each) for each in known[name].input]
    called = [*functions, *(each for name in seen for each in _called(known[name], library))]
    entered: set[str] = set()
    while called:
        name = called.pop()
        if name in library and name not in entered:
            entered.add(name)
            called += [f for node in library[name].node_def for f in _called(node, library)]
    return _Reached(frozenset(seen), frozenset(entered))


def _node_name(tensor: str) -> str:
    """Return the node of a tensor or of a control input.

    >>> _node_name("a/b:1"), _node_name("^c")
    ('a/b', 'c')
    """
    return tensor.lstrip("^").partition(":")[0]


def _called(node: Any, library: dict[str, Any]) -> Iterator[str]:
    """Yield the functions that a node calls, by its attributes or as its operation."""
    if node.op in library:
        yield node.op
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (function.name for function in value.list.func)

"""An exported program of PyTorch as JSON and raw weights, which nothing has to unpickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xbackend.errors import ConversionError

WEIGHTS = "weights.bin"
ALIGNMENT = 64

Document = dict[str, Any]


def program_document(program: Any, folder: Path) -> tuple[Document, list[str]]:
    """Return a program as JSON values and the names of its weights, which are written beside it.

    `placeholders` are the names that the operations read, `constants` says where the bytes of a
    placeholder lie, `inputs` and `outputs` are names in order. Raises ConversionError for what
    has no such form.
    """
    from torch.export.graph_signature import InputKind

    signature = program.graph_signature
    held = {**program.state_dict, **program.constants}
    constants: Document = {}
    values: Document = {}
    inputs: list[str] = []
    with (folder / WEIGHTS).open("wb") as stream:
        for spec in signature.input_specs:
            if spec.kind == InputKind.USER_INPUT:
                if hasattr(spec.arg, "value"):
                    values[spec.arg.name] = _encoded(spec.arg.value)
                else:
                    inputs.append(spec.arg.name)
            elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
                constants[spec.arg.name] = _write(held[spec.target], stream)
            else:
                raise ConversionError(f"The program reads '{spec.target}', which is no tensor.")
    document = graph_document(program.graph_module)
    document.update(
        inputs=inputs,
        outputs=_outputs(signature),
        constants=constants,
        values=values,
        mutates=any(_is_mutable(node) for node in program.graph.nodes),
    )
    document.pop("results")
    return document, [str(name) for name in program.state_dict]


def _outputs(signature: Any) -> list[str]:
    """Return the names of what a user gets, without what the program only writes back."""
    from torch.export.graph_signature import OutputKind

    specs = [spec for spec in signature.output_specs if spec.kind == OutputKind.USER_OUTPUT]
    return [str(spec.arg.name) for spec in specs if not hasattr(spec.arg, "value")]


def graph_document(module: Any) -> Document:
    """Return the operations of a graph module, those of graphs within it among them."""
    placeholders: list[str] = []
    nodes: list[Document] = []
    results: Any = None
    for node in module.graph.nodes:
        if node.op == "placeholder":
            placeholders.append(node.name)
        elif node.op == "get_attr":
            nodes.append({"name": node.name, "graph": graph_document(getattr(module, node.target))})
        elif node.op == "output":
            results = _encoded(node.args[0])
        elif node.op == "call_function":
            nodes.append(
                {
                    "name": node.name,
                    "target": _target(node.target),
                    "args": [_encoded(value) for value in node.args],
                    "kwargs": {key: _encoded(value) for key, value in node.kwargs.items()},
                }
            )
        else:
            raise ConversionError(f"The program's '{node.name}' is a {node.op}, not an operator.")
    return {"placeholders": placeholders, "nodes": nodes, "results": results}


def _target(target: Any) -> str:
    """Return an operator's full name, such as `torch.ops.aten.conv2d.default`."""
    import torch

    if isinstance(target, torch._ops.OpOverload):
        return f"torch.ops.{target}"
    if isinstance(target, torch._ops.HigherOrderOperator):
        return f"torch.ops.higher_order.{target.name()}"
    return f"{target.__module__}.{target.__name__}"


def _is_mutable(node: Any) -> bool:
    schema = getattr(node.target, "_schema", None)
    return bool(schema is not None and schema.is_mutable)


def _encoded(value: Any) -> Any:
    """Return an operator's argument as a JSON value; what is no number or text is a dictionary."""
    import torch

    if isinstance(value, torch.fx.Node):
        return {"node": value.name}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, tuple):
        return {"tuple": [_encoded(each) for each in value]}
    if isinstance(value, list):
        return [_encoded(each) for each in value]
    if isinstance(value, torch.device):
        return {"device": True}
    for kind in ("dtype", "layout", "memory_format"):
        if isinstance(value, getattr(torch, kind)):
            return {kind: str(value).removeprefix("torch.")}
    raise ConversionError(
        f"The program hands a {type(value).__name__} to an operator, which is not carried over."
    )


def _write(value: Any, stream: Any) -> Document:
    """Append a tensor's bytes and return where they are."""
    import torch

    tensor = value.detach().cpu().contiguous()
    stream.write(b"\0" * (-stream.tell() % ALIGNMENT))
    row = {
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "shape": list(tensor.shape),
        "strides": list(value.stride()),
        "offset": stream.tell(),
    }
    stream.write(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return row

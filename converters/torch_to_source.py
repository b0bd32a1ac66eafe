"""PyTorch's own program, or the name of a module, which `torch` runs beside the exported graph.

A program becomes `source.json` and `weights.bin`: its operations by name, each of which is an
operator of PyTorch, so that a worker of any version builds it again and executes nothing else. A
module stays in the user's Python; what is kept is its name and the digest of its weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xbackend.errors import ConversionError
from xbackend.plugins.converter import (
    ConversionRequest,
    ConversionResult,
    ConverterSpec,
    WeightReport,
)
from xbackend.worker.artifact import Artifact, read_artifact

from .onnx.values import unmatched_taps
from .torch.names import marks, values_within
from .torch.program import program_document
from .torch_to_onnx import load_program

SPEC = ConverterSpec(
    name="torch_to_source",
    conversions=(("pt2", "source-torch"), ("callable", "source-torch")),
    convert="xbackend.converters.torch_to_source:convert",
    modules=("torch", "onnx"),
    extra="torch",
    distributions=("torch", "onnx"),
    takes_hub=True,
)

FILE = "source.json"


def convert(request: ConversionRequest) -> ConversionResult:
    """Write `source.json`: what to run, and which of its tensors is which value of the graph."""
    if request.hub is None:
        raise ConversionError(f"{request.source} has no ONNX graph to name its tensors after.")
    import onnx

    hub = read_artifact(request.hub)
    model = onnx.load(request.hub / "model.onnx", load_external_data=False)
    taps = {node.output[0]: marks(node) for node in model.graph.node if marks(node)}
    document = {"taps": taps, **_source(request, hub)}
    (request.output / FILE).write_text(json.dumps(document), encoding="utf-8")
    unmatched = unmatched_taps(hub, taps, values_within(model))
    return ConversionResult(
        model=FILE,
        weights=WeightReport(tuple(document.pop("weights")), ()),
        inputs=hub.inputs,
        outputs=hub.outputs,
        layers=hub.layers,
        notes={"kind": document["kind"], "matched": len(taps), "unmatched": unmatched},
    )


def _source(request: ConversionRequest, hub: Artifact) -> dict[str, Any]:
    if request.source_format == "callable":
        state = exporter_notes(hub).get("state", "")
        return {"kind": "module", "callable": str(request.source), "state": state, "weights": []}
    document, names = program_document(load_program(request.source), request.output)
    _check_interface(document, hub, request.source)
    return {"kind": "program", "program": document, "weights": names}


def exporter_notes(hub: Artifact) -> Mapping[str, Any]:
    """Return what the exporter of PyTorch told when it wrote the graph."""
    steps = (step for step in hub.manifest["steps"] if step["converter"] == "torch_to_onnx")
    return next((step["notes"] for step in steps), {})


def _check_interface(document: Mapping[str, Any], hub: Artifact, source: Path) -> None:
    """Raise ConversionError where inputs and outputs cannot be named after the graph's."""
    for what, own, exported in (
        ("inputs", document["inputs"], hub.inputs),
        ("outputs", document["outputs"], hub.outputs),
    ):
        if len(own) != len(exported):
            raise ConversionError(
                f"{source} has {len(own)} {what} and its exported graph {len(exported)}, so which "
                "is which is not known. Make the program take and give tensors alone."
            )

"""ONNX Runtime's names of what settings say; it need not be installed to know them."""

from __future__ import annotations

SUFFIX = "ExecutionProvider"
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"

LEVELS = {
    "all": "ORT_ENABLE_ALL",
    "layout": "ORT_ENABLE_LAYOUT",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "disabled": "ORT_DISABLE_ALL",
}
"""Values of `ort.optimization`, and names within `GraphOptimizationLevel`."""

EXECUTION = {"sequential": "ORT_SEQUENTIAL", "parallel": "ORT_PARALLEL"}
"""Values of `ort.execution`, and names within `ExecutionMode`."""


def short(name: str) -> str:
    """Return the word for a provider.

    >>> short("CUDAExecutionProvider")
    'cuda'
    """
    return name.lower().replace(SUFFIX.lower(), "")

"""Plain code that runs a model with ONNX Runtime alone: for those who cannot use this package."""

from __future__ import annotations

from typing import TYPE_CHECKING, List

from .words import CPU, CUDA, LEVELS, SUFFIX, TENSORRT, short

if TYPE_CHECKING:
    from xbackend.worker.contract import Settings
    from xbackend.worker.graph import Graph

PROVIDERS = {short(name): name for name in (CPU, CUDA, TENSORRT)}


def script(graph: Graph, settings: Settings) -> str:
    """Return statements that run `model.onnx`; nothing for bfloat16, which NumPy lacks."""
    if any(value.dtype == "bfloat16" for value in (*graph.inputs, *graph.outputs)):
        return ""
    provider = str(settings["provider"])
    name = PROVIDERS.get(provider, f"{provider}{SUFFIX}")
    lines = [
        "import onnxruntime as ort",
        "",
        "options = ort.SessionOptions()",
        f"level = ort.GraphOptimizationLevel.{LEVELS[str(settings['optimization'])]}",
        "options.graph_optimization_level = level",
        f"options.intra_op_num_threads = {settings['threads']}",
        *_further(settings),
        f'session = ort.InferenceSession("model.onnx", options, providers=["{name}"])',
        "names = [value.name for value in session.get_outputs()]",
        "outputs = dict(zip(names, session.run(names, inputs)))",
    ]
    return "\n".join(lines)


def _further(settings: Settings) -> List[str]:
    """Return what is not ONNX Runtime's own default."""
    lines = []
    if settings["execution"] == "parallel":
        lines.append("options.execution_mode = ort.ExecutionMode.ORT_PARALLEL")
        lines.append(f"options.inter_op_num_threads = {settings['threads']}")
    if settings["deterministic"]:
        lines.append("options.use_deterministic_compute = True")
    if not settings["prepacking"]:
        lines.append('options.add_session_config_entry("session.disable_prepacking", "1")')
    return lines

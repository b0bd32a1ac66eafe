"""ONNX Runtime: runs the ONNX file itself."""

from __future__ import annotations

from xbackend.worker.artifact import GRAPHS
from xbackend.worker.contract import BackendSpec, Setting

SPEC = BackendSpec(
    word="ort",
    title="ONNX Runtime",
    adapter="xbackend.backends.ort.adapter:Adapter",
    modules=("onnxruntime",),
    distributions=("onnxruntime-gpu", "onnxruntime", "onnxruntime-openvino"),
    formats={**GRAPHS, "int8": "graph-int8"},
    settings=(
        Setting(
            "provider",
            "cpu",
            "execution provider: cpu, cuda, tensorrt or any other of the installed wheel",
        ),
        Setting(
            "optimization",
            "all",
            "level of graph optimisation",
            ("all", "layout", "extended", "basic", "disabled"),
        ),
        Setting("disabled_optimizers", "", "names of optimisers to leave out, separated by commas"),
        Setting(
            "execution",
            "sequential",
            "order of the nodes; parallel needs two threads or more",
            ("sequential", "parallel"),
        ),
        Setting("deterministic", False, "ask for deterministic kernels", (False, True)),
        Setting("prepacking", True, "repack weights for the kernels", (True, False)),
        Setting("tf32", True, "CUDA: allow TF32 in matrix products", (True, False)),
        Setting(
            "conv_algo_search",
            "exhaustive",
            "CUDA: how cuDNN's convolution is chosen",
            ("exhaustive", "heuristic", "default"),
        ),
    ),
    script="xbackend.backends.ort.script:script",
    unfused_settings={"optimization": "disabled"},
    saturation_warning="ONNX Runtime saturates there on processors with AVX2 and without VNNI",
)

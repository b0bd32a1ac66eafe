"""PyTorch: runs a program or module of its own, or the ONNX graph node by node."""

from __future__ import annotations

from xbackend.worker.artifact import GRAPHS
from xbackend.worker.contract import BackendSpec, Setting, graph_setting
from xbackend.worker.machine.onednn import SETS, VARIABLE

from .known_operators import KNOWN

SOURCE_FORMAT = "source-torch"
"""The artifact that holds an exported program, or names a module."""

SPEC = BackendSpec(
    word="torch",
    title="PyTorch",
    adapter="xbackend.backends.torch.adapter:Adapter",
    modules=("torch",),
    operators=KNOWN,
    distributions=("torch", "triton", "nvidia-cudnn-cu13", "nvidia-cudnn-cu12"),
    formats=GRAPHS,
    sources={"pt2": SOURCE_FORMAT, "callable": SOURCE_FORMAT},
    source_title="PyTorch module",
    settings=(
        graph_setting("PyTorch program or module"),
        Setting("device", "cpu", "where the model runs", ("cpu", "cuda")),
        Setting(
            "mode", "eager", "node by node, or torch.compile over the graph", ("eager", "compiled")
        ),
        Setting(
            "kernels",
            "spelled",
            "LSTM, GRU, RNN, Attention, RMSNormalization: spelled out, or PyTorch's one kernel",
            ("spelled", "fused"),
        ),
        Setting(
            "tf32",
            "default",
            "TensorFloat-32 in cuDNN and matrix products",
            ("default", "on", "off"),
        ),
        Setting("cudnn_benchmark", False, "let cuDNN measure which algorithm is fastest"),
        Setting("cudnn_deterministic", False, "let cuDNN choose deterministic algorithms only"),
        Setting("deterministic_algorithms", False, "torch.use_deterministic_algorithms"),
        Setting("mkldnn", True, "let oneDNN compute on the CPU"),
        Setting(
            "cpu_capability",
            "auto",
            "most instructions that PyTorch's own kernels use; auto asks the CPU",
            ("auto", "default", "avx2", "avx512"),
            variable="ATEN_CPU_CAPABILITY",
        ),
        Setting(
            "onednn_isa",
            "auto",
            "most instructions that oneDNN uses; auto asks the CPU",
            ("auto", *SETS),
            variable=VARIABLE,
        ),
        Setting(
            "mkl_cbwr",
            "OFF",
            "MKL's conditional numerical reproducibility",
            ("OFF", "AUTO", "COMPATIBLE", "AVX2", "AVX512"),
            variable="MKL_CBWR",
        ),
    ),
    unsupported_precisions={
        "int8": (
            "PyTorch has no operator that computes ONNX's QLinearConv and QLinearMatMul; "
            "for int8 choose --backends ort,tflite,fixed."
        ),
    },
    environment={"OMP_NUM_THREADS": "{threads}", "MKL_NUM_THREADS": "{threads}"},
    script="xbackend.backends.torch.script:script",
    unfused_settings={"mode": "eager"},
)

"""TensorFlow Lite: runs the flat graph, in tflite-runtime or in its successor LiteRT."""

from __future__ import annotations

from xbackend.worker.contract import BackendSpec, Setting, UnfaithfulOperators

_WEIGHTS_ONLY = "TensorFlow Lite has no {} arithmetic on CPUs: it can only store weights in it."

_LOGISTIC = ("Sigmoid", "Swish", "LSTM", "GRU", "LOGISTIC")
_TANH = ("Tanh", "Mish", "Gelu", "RNN", "TANH", "GELU")
_ROOTS = (
    "GroupNormalization", "InstanceNormalization", "LayerNormalization", "LpNormalization",
    "MeanVarianceNormalization", "ReduceL2", "Sqrt", "RSQRT", "SQRT",
)  # fmt: skip

UNFAITHFUL = (
    UnfaithfulOperators(
        _LOGISTIC,
        "XNNPACK's logistic function for AVX without AVX2 divides by vrcpps: traced in "
        "tflite-runtime 2.14.0 on emulated Sandy Bridge, and absent on Haswell and Zen 1.",
        where={"delegate": ("xnnpack",), "runtime": ("tflite-runtime",)},
        unless_flag=("avx2",),
    ),
    UnfaithfulOperators(
        _ROOTS,
        "XNNPACK's square roots rest on rsqrtps: traced in LiteRT 2.3.0 on emulated Nehalem, "
        "Sandy Bridge, Haswell and Zen 1, and absent in tflite-runtime 2.14.0.",
        where={"delegate": ("xnnpack",), "runtime": ("litert",)},
    ),
    UnfaithfulOperators(
        (*_LOGISTIC, *_TANH),
        "XNNPACK has kernels for the logistic function and for tanh that divide by rcpps, and "
        "which of them this version of the runtime takes was not traced.",
        where={"delegate": ("xnnpack",)},
        unless_version=("2.14.0", "2.3.0"),
    ),
)
"""Found in the instructions that the emulator translated while a graph of one operator ran; names
in capitals are TensorFlow Lite's own. Without XNNPACK 26 processors gave the same bits."""

SPEC = BackendSpec(
    word="tflite",
    title="TensorFlow Lite",
    adapter="xbackend.backends.tflite.adapter:Adapter",
    modules=("tflite_runtime", "ai_edge_litert"),
    distributions=("tflite-runtime", "ai-edge-litert"),
    formats={"float32": "flat", "int8": "flat-int8"},
    settings=(
        Setting(
            "delegate",
            "xnnpack",
            "which kernels run: XNNPACK where it can, TensorFlow Lite's own, or the reference ones",
            ("xnnpack", "none", "reference"),
        ),
        Setting(
            "runtime",
            "auto",
            "which package runs the model; auto is tflite-runtime where it works and has all "
            "of the model's operations, else litert",
            ("auto", "tflite-runtime", "litert"),
        ),
    ),
    unsupported_precisions={
        "float64": "The TensorFlow Lite converter has no float64 layers.",
        "float16": _WEIGHTS_ONLY.format("float16"),
        "bfloat16": _WEIGHTS_ONLY.format("bfloat16"),
    },
    unfaithful=UNFAITHFUL,
)

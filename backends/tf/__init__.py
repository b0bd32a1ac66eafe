"""TensorFlow: runs a Keras model or SavedModel, or the ONNX graph operation by operation."""

from __future__ import annotations

from xbackend.worker.artifact import GRAPHS
from xbackend.worker.contract import BackendSpec, Setting, UnfaithfulOperators, graph_setting
from xbackend.worker.machine.onednn import SETS

from .known_operators import KNOWN

SOURCE_FORMAT = "source-tf"
"""The artifact that holds a Keras file or a SavedModel."""

_SINGLE = {"precision": ("float32", "float16", "bfloat16")}
"""All but float64, every operator of which has the same bits on Emerald Rapids and on
emulated Haswell."""

_MEASURED = "gives other bits on Emerald Rapids than on emulated Haswell and Sandy Bridge"

UNFAITHFUL = (
    UnfaithfulOperators(
        ("Atan", "Gelu", "Reciprocal", "Softmax"),
        f"Eigen's reciprocal is an estimate and its refinement: TensorFlow 2.21.0 {_MEASURED}.",
        where=_SINGLE,
        unless_version=("2.5.0",),
    ),
    UnfaithfulOperators(
        (
            "BatchNormalization",
            "GroupNormalization",
            "InstanceNormalization",
            "LayerNormalization",
        ),
        "tf.math.rsqrt is an estimate and its refinement: it and what normalises with it "
        f"{_MEASURED}, in TensorFlow 2.21.0 and 2.5.0.",
        where=_SINGLE,
    ),
    UnfaithfulOperators(
        ("LRN",),
        f"With beta 0.5 or 1 it divides by an estimate: it {_MEASURED}.",
        where=_SINGLE,
    ),
    UnfaithfulOperators(
        ("LpNormalization", "MeanVarianceNormalization", "ReduceL2", "Sqrt"),
        f"Eigen's fast square root rests on an estimate: TensorFlow 2.5.0 {_MEASURED}.",
        where=_SINGLE,
        unless_version=("2.21.0",),
    ),
)
"""Found by running a graph of 63 operators natively, also without oneDNN, and emulated. All others
had the same bits, LogSoftmax, Sigmoid and Tanh among them."""

SPEC = BackendSpec(
    word="tf",
    title="TensorFlow",
    adapter="xbackend.backends.tf.adapter:Adapter",
    modules=("tensorflow",),
    operators=KNOWN,
    distributions=("tensorflow",),
    formats=GRAPHS,
    sources={"keras": SOURCE_FORMAT, "h5": SOURCE_FORMAT, "savedmodel": SOURCE_FORMAT},
    source_title="TensorFlow model",
    settings=(
        graph_setting("Keras model or SavedModel"),
        Setting(
            "mode",
            "eager",
            "how operations are run: one by one, as a tf.function, or compiled by XLA",
            ("eager", "function", "xla"),
        ),
        Setting("device", "cpu", "where operations are placed", ("cpu", "gpu")),
        Setting(
            "onednn",
            "auto",
            "oneDNN's kernels (TF_ENABLE_ONEDNN_OPTS); auto leaves it to TensorFlow, which asks "
            "the CPU",
            ("auto", "on", "off"),
        ),
        Setting(
            "onednn_isa",
            "auto",
            "most instructions that oneDNN uses (ONEDNN_MAX_CPU_ISA), also in products that are "
            "TensorFlow's own; auto asks the CPU",
            ("auto", *SETS),
        ),
        Setting("deterministic_ops", False, "only deterministic kernels, or an error"),
        Setting("tf32", True, "round float32 to TensorFloat-32 in products on GPUs that have it"),
    ),
    unsupported_precisions={
        "int8": "TensorFlow has no kernels for ONNX's integer operators (QLinearConv, "
        "QLinearMatMul): run int8 with ort, tflite or fixed."
    },
    environment={"TF_CPP_MIN_LOG_LEVEL": "2", "TF_FORCE_GPU_ALLOW_GROWTH": "true"},
    required_flags={"avx": "TensorFlow's wheel needs AVX"},
    unfaithful=UNFAITHFUL,
    script="xbackend.backends.tf.script:script",
    unfused_settings={"mode": "eager"},
)

"""TensorFlow: executes the ONNX graph, one native operation for each ONNX operator."""

from __future__ import annotations

from xbackend.worker.contract import BackendSpec, Setting

SPEC = BackendSpec(
    word="tf",
    title="TensorFlow",
    adapter="xbackend.backends.tf.adapter:Adapter",
    modules=("tensorflow",),
    distributions=("tensorflow",),
    formats={
        "float32": "graph",
        "float64": "graph-float64",
        "float16": "graph-float16",
        "bfloat16": "graph-bfloat16",
    },
    settings=(
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
        Setting("deterministic_ops", False, "only deterministic kernels, or an error"),
        Setting("tf32", True, "round float32 to TensorFloat-32 in products on GPUs that have it"),
    ),
    lacks={
        "int8": "TensorFlow has no kernels for ONNX's integer operators (QLinearConv, "
        "QLinearMatMul): run int8 with ort, tflite or fixed."
    },
    environment={"TF_CPP_MIN_LOG_LEVEL": "2", "TF_FORCE_GPU_ALLOW_GROWTH": "true"},
)

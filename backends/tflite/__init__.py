"""TensorFlow Lite: runs the flat graph, in tflite-runtime or in its successor LiteRT."""

from __future__ import annotations

from xbackend.worker.contract import BackendSpec, Setting

_WEIGHTS_ONLY = "TensorFlow Lite has no {} arithmetic on CPUs: it can only store weights in it."

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
            "which package runs the model; auto is tflite-runtime where it works, else litert",
            ("auto", "tflite-runtime", "litert"),
        ),
    ),
    lacks={
        "float64": "The TensorFlow Lite converter has no float64 layers.",
        "float16": _WEIGHTS_ONLY.format("float16"),
        "bfloat16": _WEIGHTS_ONLY.format("bfloat16"),
    },
)

"""Switches that choose other kernels, or leave rewritings of the graph out."""

from __future__ import annotations

from xbackend.plugins.mitigation import BackendChange, Mitigation

LEVEL = "options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.{}"

GRAPH_OPTIMIZATION_LEVELS = {
    "layout": "ORT_ENABLE_LAYOUT",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "disabled": "ORT_DISABLE_ALL",
}

OPTIMIZERS = ("NchwcTransformer", "ConvActivationFusion", "ConvBNFusion")
"""Of ONNX Runtime, those that choose or fuse convolutions."""


def _level(rank: int, level: str) -> Mitigation:
    lines = (LEVEL.format(GRAPH_OPTIMIZATION_LEVELS[level]),)
    return Mitigation(
        name=f"optimization-{level}",
        what=f"ONNX Runtime rewrites the graph up to the level '{level}' only",
        changes={"ort": BackendChange({"optimization": level}, user_code=lines)},
        family="optimization",
        rank=rank,
    )


def _without(optimizer: str) -> Mitigation:
    lines = (f'InferenceSession(path, options, disabled_optimizers=["{optimizer}"])',)
    return Mitigation(
        name=f"without-{optimizer}",
        what=f"ONNX Runtime leaves its optimiser {optimizer} out",
        changes={"ort": BackendChange({"disabled_optimizers": optimizer}, user_code=lines)},
        family="optimizers",
    )


def _mode(name: str, what: str, word: str, mode: str, line: str) -> Mitigation:
    return Mitigation(
        name=name,
        what=what,
        changes={word: BackendChange({"mode": mode}, user_code=(line,))},
        family="mode",
    )


def _delegate(name: str, what: str, delegate: str, kind: str, rank: int) -> Mitigation:
    line = f"Interpreter(path, experimental_op_resolver_type=OpResolverType.{kind})"
    change = BackendChange(
        {"delegate": delegate}, threads=1 if delegate == "reference" else 0, user_code=(line,)
    )
    return Mitigation(name, what, {"tflite": change}, family="delegate", rank=rank)


ALL = (
    Mitigation(
        name="no-onednn",
        what="no kernels of oneDNN",
        changes={
            "tf": BackendChange({"onednn": "off"}, user_code=("export TF_ENABLE_ONEDNN_OPTS=0",)),
            "torch": BackendChange(
                {"mkldnn": False}, user_code=("torch.backends.mkldnn.enabled = False",)
            ),
        },
        family="kernels",
        rank=1,
    ),
    Mitigation(
        name="no-prepacking",
        what="ONNX Runtime does not repack weights for its kernels",
        changes={
            "ort": BackendChange(
                {"prepacking": False},
                user_code=('options.add_session_config_entry("session.disable_prepacking", "1")',),
            )
        },
        family="kernels",
        rank=1,
    ),
    Mitigation(
        name="cpu-capability-default",
        what="PyTorch's own kernels without AVX2 and AVX-512",
        changes={
            "torch": BackendChange(
                {"cpu_capability": "default"}, user_code=("export ATEN_CPU_CAPABILITY=default",)
            )
        },
        family="instructions",
        rank=1,
    ),
    Mitigation(
        name="onednn-sse41",
        what="oneDNN with SSE4.1 only",
        changes={
            word: BackendChange(
                {"onednn_isa": "sse41"}, user_code=("export ONEDNN_MAX_CPU_ISA=sse41",)
            )
            for word in ("tf", "torch")
        },
        family="instructions",
        rank=1,
    ),
    Mitigation(
        name="mkl-compatible",
        what="MKL's branch that all processors have",
        changes={
            "torch": BackendChange(
                {"mkl_cbwr": "COMPATIBLE"}, user_code=("export MKL_CBWR=COMPATIBLE",)
            ),
        },
        family="instructions",
        rank=1,
    ),
    *(_level(rank, level) for rank, level in enumerate(GRAPH_OPTIMIZATION_LEVELS, 1)),
    *(_without(name) for name in OPTIMIZERS),
    _mode("function", "one graph instead of eager operations", "tf", "function", "@tf.function"),
    _mode("xla", "XLA compiles", "tf", "xla", "@tf.function(jit_compile=True)"),
    _mode("compiled", "torch.compile", "torch", "compiled", "model = torch.compile(model)"),
    _delegate(
        "builtin-kernels", "TensorFlow Lite's own kernels, not XNNPACK", "none",
        "BUILTIN_WITHOUT_DEFAULT_DELEGATES", 2,
    ),
    _delegate(
        "reference-kernels", "TensorFlow Lite's reference kernels", "reference", "BUILTIN_REF", 4
    ),
)  # fmt: skip

"""Fewer degrees of freedom: threads, instruction sets, the flat graph, the batch."""

from __future__ import annotations

from collections.abc import Iterator

from xbackend.mitigation.catalogue.replacement import instead
from xbackend.plugins.mitigation import EVERY, BackendChange, Mitigation, MitigationContext

ORT_HAS_NO_ISA_SETTING = (
    "ONNX Runtime chooses kernels by the processor's flags and has no setting for it; "
    "under an emulator the platform decides."
)
TFLITE_HAS_NO_ISA_SETTING = (
    "XNNPACK and TensorFlow Lite choose kernels by the processor's flags, with no setting."
)


def mitigations(context: MitigationContext) -> Iterator[Mitigation]:
    """Yield what these platforms allow."""
    yield _one_thread()
    yield _common_isa(context.flags)
    yield _flat_graph()
    yield _canonical()
    yield Mitigation(
        name="batch-of-one",
        what="one sample in each inference",
        changes={},
        unavailable={EVERY: "xbackend infers samples one at a time already: it is no change here."},
        family="freedom",
    )


def _one_thread() -> Mitigation:
    lines = {
        "tf": (
            "tf.config.threading.set_intra_op_parallelism_threads(1)",
            "tf.config.threading.set_inter_op_parallelism_threads(1)",
        ),
        "torch": ("torch.set_num_threads(1)",),
        "ort": ("options.intra_op_num_threads = 1",),
        "tflite": ("Interpreter(path, num_threads=1)",),
    }
    return Mitigation(
        name="one-thread",
        what="one thread instead of several",
        changes={word: BackendChange(threads=1, user_code=paste) for word, paste in lines.items()},
        family="freedom",
    )


ISA_LEVELS = (
    ("avx512_core", "avx512", frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"})),
    ("avx2", "avx2", frozenset({"avx2", "fma"})),
    ("avx", "default", frozenset({"avx"})),
    ("sse41", "default", frozenset({"sse4_1"})),
)
"""oneDNN's word for an instruction set, PyTorch's, and the flags that it takes."""


def _common_isa(flags: frozenset[str]) -> Mitigation:
    """Limit each library to what all platforms have."""
    found = next(((one, own) for one, own, needs in ISA_LEVELS if needs <= flags), None)
    lacks = {"ort": ORT_HAS_NO_ISA_SETTING, "tflite": TFLITE_HAS_NO_ISA_SETTING}
    changes = {}
    if found is None:
        several = "These platforms have no instruction set of x86 in common."
        lacks.update(tf=several, torch=several)
    else:
        most, own = found
        line = f"export ONEDNN_MAX_CPU_ISA={most}"
        more = (line, f"export ATEN_CPU_CAPABILITY={own}", "export MKL_CBWR=COMPATIBLE")
        limited = {"onednn_isa": most, "cpu_capability": own, "mkl_cbwr": "COMPATIBLE"}
        changes["tf"] = BackendChange({"onednn_isa": most}, user_code=(line,))
        changes["torch"] = BackendChange(limited, user_code=more)
    return Mitigation(
        name="lowest-instructions",
        what="no instructions but those that all platforms have",
        changes=changes,
        unavailable=lacks,
        family="freedom",
        rank=2,
    )


def _canonical() -> Mitigation:
    change = BackendChange(
        replacement_backend="fixed",
        precision="float32",
        user_code=("xbackend run MODEL --backends fixed --precision float32",),
    )
    return instead("canonical", "every sum in one defined order, in NumPy,", 60, change)


def _flat_graph() -> Mitigation:
    lines = ("xbackend convert MODEL --to tflite", 'Interpreter("MODEL.tflite")')
    change = BackendChange(replacement_backend="tflite", user_code=lines)
    return instead("flat-graph", "the flat graph in TensorFlow Lite", 50, change)

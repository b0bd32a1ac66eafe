"""The adapter of `fixed`: quantized graphs in exact integers, the judge of other int8 runtimes."""

from __future__ import annotations

from xbackend.worker.contract import BackendSpec

_INTEGERS_ONLY = "fixed computes in integers only; it has no floating-point convolution or product."

SPEC = BackendSpec(
    word="fixed",
    title="exact integers",
    adapter="xbackend.backends.fixed.adapter:Adapter",
    modules=(),
    distributions=("numpy",),
    formats={"int8": "graph-int8"},
    lacks=dict.fromkeys(("float32", "float64", "float16", "bfloat16"), _INTEGERS_ONLY),
    default_precision="int8",
    environment={
        "OPENBLAS_NUM_THREADS": "{threads}",
        "MKL_NUM_THREADS": "{threads}",
        "OMP_NUM_THREADS": "{threads}",
    },
)

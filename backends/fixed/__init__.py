"""The adapter of `fixed`, the judge of the others: exact integers, and floats in one order."""

from __future__ import annotations

from xbackend.worker.contract import BackendSpec

from .known_operators import KNOWN

_NOT_IN_NUMPY = "NumPy, which is all that fixed rests on, does not have it."

SPEC = BackendSpec(
    word="fixed",
    title="exact integers, ordered floats",
    adapter="xbackend.backends.fixed.adapter:Adapter",
    modules=(),
    operators=KNOWN,
    distributions=("numpy",),
    formats={
        "int8": "graph-int8",
        "float32": "graph",
        "float64": "graph-float64",
        "float16": "graph-float16",
    },
    unsupported_precisions={"bfloat16": _NOT_IN_NUMPY},
    default_precision="int8",
    exact_integers=True,
    environment={
        "OPENBLAS_NUM_THREADS": "{threads}",
        "MKL_NUM_THREADS": "{threads}",
        "OMP_NUM_THREADS": "{threads}",
    },
)

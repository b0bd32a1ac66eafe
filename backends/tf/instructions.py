"""The most instructions that oneDNN may use inside TensorFlow, and what it says that it uses."""

from __future__ import annotations

import ctypes
import functools
import os
import re
import sys
import tempfile
from typing import Dict

from xbackend.worker.contract import Unsupported

VARIABLE = "ONEDNN_MAX_CPU_ISA"
VERBOSE = "ONEDNN_VERBOSE"

SETS = ("sse41", "avx", "avx2", "avx512_core")
"""Instruction sets of oneDNN, each with all before it."""

NAMES = (("AVX-512", "avx512_core"), ("AVX2", "avx2"), ("AVX", "avx"), ("SSE4.1", "sse41"))
"""How oneDNN begins to name the set that it uses, and the setting's value for it."""

MORE = re.compile(r"DL Boost|bfloat16|float16|AMX")
"""What it names beyond avx512_core."""


def limit(most: str) -> Dict[str, str]:
    """Return the variables that limit oneDNN and make it say what it uses; no bit depends on that.

    Both are read once, when TensorFlow is loaded.
    """
    return {VARIABLE: most, VERBOSE: "1"}


def require(most: str) -> str:
    """Return what oneDNN says it uses, nothing without a limit. Raises Unsupported for more."""
    if most == "auto":
        return ""
    said = _said()
    if not within(said, most):
        raise Unsupported(
            f"tf.onednn_isa={most} was not taken, oneDNN uses {said or 'what it does not tell'}: "
            f"{VARIABLE} is read once, when TensorFlow is loaded. Start a fresh process, or choose "
            "another value."
        )
    return said


def within(said: str, most: str) -> bool:
    """Tell whether what oneDNN says it uses is no more than a setting allows.

    >>> within("Intel AVX2", "avx512_core"), within("Intel AVX2", "avx")
    (True, False)
    """
    found = next((value for name, value in NAMES if name in said), None)
    if found is None or SETS.index(found) > SETS.index(most):
        return False
    return not (most == "avx512_core" and MORE.search(said))


@functools.lru_cache(maxsize=None)
def _said() -> str:
    """Return what oneDNN prints before its first operation, by its own kernels or TensorFlow's.

    Where it was told to, it goes on to print a line for each operation, and cannot be told to
    stop: what Python prints then goes on to where it went, and what libraries print to nowhere.
    """
    import tensorflow as tf

    sys.stdout.flush()
    kept = os.dup(1)
    with tempfile.TemporaryFile() as stream:
        os.dup2(stream.fileno(), 1)
        try:
            with tf.device("/CPU:0"):
                picture, kernel = tf.ones([1, 8, 8, 16]), tf.ones([3, 3, 16, 16])
                tf.nn.conv2d(picture, kernel, 1, "VALID").numpy()
                tf.matmul(tf.ones([64, 64]), tf.ones([64, 64])).numpy()
        finally:
            ctypes.CDLL(None).fflush(None)
            _give_back(kept)
        stream.seek(0)
        text = stream.read().decode(errors="replace")
    found = re.search(r"info,cpu,isa:(.*)", text)
    return found[1].strip() if found else ""


def _give_back(kept: int) -> None:
    """Let Python print where it did; libraries too, unless oneDNN has much to say."""
    if os.environ.get(VERBOSE) != "1":
        os.dup2(kept, 1)
        os.close(kept)
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    sys.stdout = os.fdopen(kept, "w", encoding="utf-8", errors="replace")

"""The most instructions that oneDNN may use inside TensorFlow, and what it says that it uses."""

from __future__ import annotations

import functools
import os
import sys
from typing import Dict

from xbackend.worker.contract import Unsupported
from xbackend.worker.machine.onednn import VARIABLE, is_within_isa_limit, isa_told_by, restore

VERBOSE = "ONEDNN_VERBOSE"


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
    if not is_within_isa_limit(said, most):
        raise Unsupported(
            f"tf.onednn_isa={most} was not taken, oneDNN uses {said or 'what it does not tell'}: "
            f"{VARIABLE} is read once, when TensorFlow is loaded. Start a fresh process, or choose "
            "another value."
        )
    return said


@functools.lru_cache(maxsize=None)
def _said() -> str:
    """Return what oneDNN prints before its first operation, by its own kernels or TensorFlow's.

    Where it was told to, it goes on to print a line for each operation, and cannot be told to
    stop: what Python prints then goes on to where it went, and what libraries print to nowhere.
    """
    return isa_told_by(_operate, _restore_output)


def _operate() -> None:
    import tensorflow as tf

    with tf.device("/CPU:0"):
        picture, kernel = tf.ones([1, 8, 8, 16]), tf.ones([3, 3, 16, 16])
        tf.nn.conv2d(picture, kernel, 1, "VALID").numpy()
        tf.matmul(tf.ones([64, 64]), tf.ones([64, 64])).numpy()


def _restore_output(kept: int) -> None:
    """Let Python print where it did; libraries too, unless oneDNN has much to say."""
    if os.environ.get(VERBOSE) != "1":
        restore(kept)
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    sys.stdout = os.fdopen(kept, "w", encoding="utf-8", errors="replace")

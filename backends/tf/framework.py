"""Starts TensorFlow under settings, once for each process, and reads them back."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict

from xbackend.worker.contract import Unsupported

from .instructions import limit, require

if TYPE_CHECKING:
    from typing import Iterator

    from xbackend.worker.contract import Settings

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"

DETERMINISM = ("TF_DETERMINISTIC_OPS", "TF_CUDNN_DETERMINISTIC")

ONCE = "TensorFlow takes {} only once for each process: start a fresh one."


@dataclass(frozen=True)
class Placement:
    """Where operations go, and what TensorFlow says of its settings."""

    device: str
    """TensorFlow's name of it, such as `/CPU:0`."""
    facts: Dict[str, Any]
    """Settings as they were read back, for the run's record."""

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Place what is run within on the device."""
        import tensorflow as tf

        with tf.device(self.device):
            yield


def start(settings: Settings) -> Placement:
    """Import TensorFlow and set it up. Raises Unsupported for what it cannot honour."""
    _set_variables(settings)
    import tensorflow as tf

    _set_threads(tf, int(settings["threads"]))
    device = _set_device(tf, str(settings["device"]))
    deterministic = _set_determinism(tf, bool(settings["deterministic_ops"]))
    tf32 = _set_tf32(tf, bool(settings["tf32"]))
    instructions = require(str(settings["onednn_isa"]))
    threading = tf.config.threading
    facts = {
        "settings": {"onednn": _read_onednn(str(settings["onednn"]))},
        "intra_op_threads": threading.get_intra_op_parallelism_threads(),
        "inter_op_threads": threading.get_inter_op_parallelism_threads(),
        "deterministic_ops": deterministic,
        **({"onednn_isa": instructions} if instructions else {}),
        "tf32_allowed": tf32,
        "device": _described(tf, device),
    }
    return Placement(device, facts)


def _set_variables(settings: Settings) -> None:
    """Set what TensorFlow reads when it is loaded; what the machine has set does not count."""
    if "tensorflow" in sys.modules:
        return
    for name in (ONEDNN, *DETERMINISM):
        os.environ.pop(name, None)
    if settings["onednn_isa"] != "auto":
        os.environ.update(limit(str(settings["onednn_isa"])))
    if settings["onednn"] != "auto":
        os.environ[ONEDNN] = "1" if settings["onednn"] == "on" else "0"
    if settings["deterministic_ops"]:
        os.environ.update(dict.fromkeys(DETERMINISM, "1"))


def _set_threads(tf: Any, wanted: int) -> None:
    threading = tf.config.threading
    try:
        if threading.get_intra_op_parallelism_threads() != wanted:
            threading.set_intra_op_parallelism_threads(wanted)
        if threading.get_inter_op_parallelism_threads() != wanted:
            threading.set_inter_op_parallelism_threads(wanted)
    except RuntimeError as error:
        now = threading.get_intra_op_parallelism_threads()
        raise Unsupported(
            f"{wanted} threads were asked for, but this process has begun with {now}. "
            + ONCE.format("the number of threads")
        ) from error


def _set_device(tf: Any, word: str) -> str:
    """Return TensorFlow's name of the device; GPUs that are not used are hidden if it is time."""
    gpus = tf.config.list_physical_devices("GPU")
    if word == "gpu" and not gpus:
        raise Unsupported(
            f"tf.device=gpu was asked for, but TensorFlow {tf.__version__} finds no GPU here. "
            "Install tensorflow[and-cuda] on a machine with an NVIDIA GPU, or use "
            "--set tf.device=cpu."
        )
    if word == "cpu" and gpus:
        try:
            tf.config.set_visible_devices([], "GPU")
        except RuntimeError:  # too late to hide them; operations are placed on the CPU all the same
            return "/CPU:0"
    return f"/{word.upper()}:0"


def _set_determinism(tf: Any, wanted: bool) -> bool:
    """Ask for deterministic kernels; before TensorFlow 2.8 the variables alone do."""
    from tensorflow.python.framework import config

    if not hasattr(config, "is_op_determinism_enabled"):
        return all(os.environ.get(name) == "1" for name in DETERMINISM)
    if wanted:
        tf.config.experimental.enable_op_determinism()
    elif config.is_op_determinism_enabled():
        config.disable_op_determinism()
    actual = bool(config.is_op_determinism_enabled())
    if actual != wanted:
        raise Unsupported(
            f"tf.deterministic_ops={wanted} has no effect in this process. " + ONCE.format("it")
        )
    return actual


def _set_tf32(tf: Any, wanted: bool) -> bool:
    """Allow TF32 or not, and return what holds; before TensorFlow 2.4 there is none."""
    experimental = tf.config.experimental
    if not hasattr(experimental, "enable_tensor_float_32_execution"):
        return False
    experimental.enable_tensor_float_32_execution(wanted)
    if experimental.tensor_float_32_execution_enabled() != wanted:
        raise Unsupported(f"tf.tf32={wanted} was refused by TensorFlow {tf.__version__}.")
    return wanted


def _read_onednn(wanted: str) -> str:
    """Return whether oneDNN's kernels are on, and fail where that is not what was asked for."""
    actual = "on" if _onednn_is_on() else "off"
    if wanted not in ("auto", actual):
        raise Unsupported(
            f"tf.onednn={wanted} was asked for, but oneDNN's kernels are {actual} in this process "
            "or with this build. " + ONCE.format("it")
        )
    return actual


def _onednn_is_on() -> bool:
    """Ask TensorFlow; where it denies, see whether it rewrites a product of matrices.

    Old versions deny it unless they were built for nothing else.
    """
    import tensorflow as tf

    from .placement import collected_operations

    if _built_with_mkl():
        return True
    with tf.device("/CPU:0"):
        square = tf.ones([2, 2])
        with collected_operations() as operations:
            tf.function(tf.matmul)(square, square)
    return any("_Mkl" in name for name in operations)


def _built_with_mkl() -> bool:
    """Return what TensorFlow says of itself; before 2.5 it has another place for it."""
    try:
        from tensorflow.python.util import _pywrap_util_port as port
    except ImportError:
        from tensorflow.python import _pywrap_util_port as port
    return bool(port.IsMklEnabled())


def _described(tf: Any, device: str) -> str:
    """Return the name of the GPU's model; of a CPU the run's record knows more."""
    if not device.startswith("/GPU"):
        return "CPU"
    details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
    return str(details.get("device_name", "GPU"))

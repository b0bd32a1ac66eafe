"""Switches that frameworks have for the sake of determinism."""

from __future__ import annotations

from xbackend.plugins.mitigation import Change, Mitigation

ALL = (
    Mitigation(
        name="deterministic",
        what="ask the framework for deterministic kernels",
        changes={
            "tf": Change(
                {"deterministic_ops": True},
                paste=("tf.config.experimental.enable_op_determinism()",),
            ),
            "torch": Change(
                {"deterministic_algorithms": True},
                paste=("torch.use_deterministic_algorithms(True)",),
            ),
            "ort": Change(
                {"deterministic": True}, paste=("options.use_deterministic_compute = True",)
            ),
        },
        lacks={"tflite": "TensorFlow Lite has no such switch."},
        family="determinism",
    ),
    Mitigation(
        name="no-tf32",
        what="no TensorFloat-32 on GPUs",
        changes={
            "tf": Change(
                {"tf32": False},
                needs={"device": "gpu"},
                paste=("tf.config.experimental.enable_tensor_float_32_execution(False)",),
            ),
            "torch": Change(
                {"tf32": "off"},
                needs={"device": "cuda"},
                paste=(
                    "torch.backends.cudnn.allow_tf32 = False",
                    "torch.backends.cuda.matmul.allow_tf32 = False",
                ),
            ),
            "ort": Change(
                {"tf32": False},
                needs={"provider": "cuda"},
                paste=('providers=[("CUDAExecutionProvider", {"use_tf32": "0"})]',),
            ),
        },
        family="determinism",
    ),
    Mitigation(
        name="cudnn-deterministic",
        what="only deterministic algorithms of cuDNN",
        changes={
            "torch": Change(
                {"cudnn_deterministic": True},
                needs={"device": "cuda"},
                paste=("torch.backends.cudnn.deterministic = True",),
            ),
        },
        family="determinism",
    ),
    Mitigation(
        name="fixed-search",
        what="no search for the fastest convolution on GPUs",
        changes={
            "torch": Change(
                {"cudnn_benchmark": False},
                needs={"device": "cuda"},
                paste=("torch.backends.cudnn.benchmark = False",),
            ),
            "ort": Change(
                {"conv_algo_search": "default"},
                needs={"provider": "cuda"},
                paste=(
                    'providers=[("CUDAExecutionProvider", {"cudnn_conv_algo_search": "DEFAULT"})]',
                ),
            ),
        },
        family="determinism",
    ),
)

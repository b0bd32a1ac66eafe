"""Switches that frameworks have for the sake of determinism."""

from __future__ import annotations

from xbackend.plugins.mitigation import BackendChange, Mitigation

ALL = (
    Mitigation(
        name="deterministic",
        what="ask the framework for deterministic kernels",
        changes={
            "tf": BackendChange(
                {"deterministic_ops": True},
                user_code=("tf.config.experimental.enable_op_determinism()",),
            ),
            "torch": BackendChange(
                {"deterministic_algorithms": True},
                user_code=("torch.use_deterministic_algorithms(True)",),
            ),
            "ort": BackendChange(
                {"deterministic": True}, user_code=("options.use_deterministic_compute = True",)
            ),
        },
        unavailable={"tflite": "TensorFlow Lite has no such switch."},
        family="determinism",
    ),
    Mitigation(
        name="no-tf32",
        what="no TensorFloat-32 on GPUs",
        changes={
            "tf": BackendChange(
                {"tf32": False},
                required_settings={"device": "gpu"},
                user_code=("tf.config.experimental.enable_tensor_float_32_execution(False)",),
            ),
            "torch": BackendChange(
                {"tf32": "off"},
                required_settings={"device": "cuda"},
                user_code=(
                    "torch.backends.cudnn.allow_tf32 = False",
                    "torch.backends.cuda.matmul.allow_tf32 = False",
                ),
            ),
            "ort": BackendChange(
                {"tf32": False},
                required_settings={"provider": "cuda"},
                user_code=('providers=[("CUDAExecutionProvider", {"use_tf32": "0"})]',),
            ),
        },
        family="determinism",
    ),
    Mitigation(
        name="cudnn-deterministic",
        what="only deterministic algorithms of cuDNN",
        changes={
            "torch": BackendChange(
                {"cudnn_deterministic": True},
                required_settings={"device": "cuda"},
                user_code=("torch.backends.cudnn.deterministic = True",),
            ),
        },
        family="determinism",
    ),
    Mitigation(
        name="fixed-search",
        what="no search for the fastest convolution on GPUs",
        changes={
            "torch": BackendChange(
                {"cudnn_benchmark": False},
                required_settings={"device": "cuda"},
                user_code=("torch.backends.cudnn.benchmark = False",),
            ),
            "ort": BackendChange(
                {"conv_algo_search": "default"},
                required_settings={"provider": "cuda"},
                user_code=(
                    'providers=[("CUDAExecutionProvider", {"cudnn_conv_algo_search": "DEFAULT"})]',
                ),
            ),
        },
        family="determinism",
    ),
)

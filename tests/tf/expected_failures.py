"""Public ONNX tests that TensorFlow cannot pass."""

from xbackend.testing.expected_failures import ExpectedFailure

VERSION = "tensorflow 2.21.0, onnx 1.23.2"

RANDOM = "What a Dropout in training keeps is random, and TensorFlow's generator is not NumPy's."

EXPECTED = tuple(
    ExpectedFailure(name, "unsupported", RANDOM, VERSION)
    for name in (
        "test_training_dropout",
        "test_training_dropout_default",
        "test_training_dropout_default_mask",
        "test_training_dropout_mask",
    )
)

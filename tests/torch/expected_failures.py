"""Public ONNX tests that the executor in PyTorch refuses."""

from xbackend.testing.expected import ExpectedFailure

VERSION = "torch 2.13.0, onnx 1.23.2"

TRAINING = "The executor only infers: normalising by the batch itself is training."
DROPPING = "The executor only infers, and whether this Dropout drops is only known at run time."

EXPECTED = (
    ExpectedFailure("test_batchnorm_*_training_mode", "unsupported", TRAINING, VERSION),
    ExpectedFailure("test_training_dropout*", "unsupported", DROPPING, VERSION),
)

"""Public ONNX tests that the executor in PyTorch refuses."""

from xbackend.testing.expected_failures import ExpectedFailure

VERSION = "torch 2.13.0, onnx 1.23.2"

RANDOM = "The executor only infers, and this Dropout drops at random."

BATCHED = "The Scan of opset 8 goes along a batch; later ones do not."

EXPECTED = (
    ExpectedFailure("test_training_dropout", "unsupported", RANDOM, VERSION),
    ExpectedFailure("test_training_dropout_mask", "unsupported", RANDOM, VERSION),
    ExpectedFailure("test_training_dropout_default*", "unsupported", RANDOM, VERSION),
    ExpectedFailure("test_scan_sum", "unsupported", BATCHED, VERSION),
)

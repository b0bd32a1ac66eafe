"""Public ONNX tests that TensorFlow cannot pass."""

from xbackend.testing.expected_failures import ExpectedFailure

VERSION = "tensorflow 2.21.0, onnx 1.23.2"

RANDOM = "What a Dropout in training keeps is random, and TensorFlow's generator is not NumPy's."

BATCHED = "The Scan of opset 8 goes along a batch; later ones do not."
CUBIC = "GridSample is spelled out for the nearest element and linear between neighbours."
PRODUCTS = "TensorFlow scatters sums, maxima and minima, and no products."
ORDER = "TensorFlow moves pixels into channels in one order, the other."

EXPECTED = (
    *(
        ExpectedFailure(name, "unsupported", RANDOM, VERSION)
        for name in (
            "test_training_dropout",
            "test_training_dropout_default",
            "test_training_dropout_default_mask",
            "test_training_dropout_mask",
        )
    ),
    ExpectedFailure("test_scan_sum", "unsupported", BATCHED, VERSION),
    ExpectedFailure("test_gridsample_bicubic*", "unsupported", CUBIC, VERSION),
    ExpectedFailure("test_scatter_elements_with_reduction_mul", "unsupported", PRODUCTS, VERSION),
    ExpectedFailure("test_scatternd_multiply", "unsupported", PRODUCTS, VERSION),
    ExpectedFailure("test_spacetodepth_crd_mode_example", "unsupported", ORDER, VERSION),
)

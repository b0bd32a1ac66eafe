"""The handwritten digits of scikit-learn, drawn as 32x32 pictures in three equal channels.

1,797 digits of 8x8 pixels with values 0 to 16, the test half of the UCI data set "Optical
Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, 1998, CC BY 4.0).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xbackend.errors import UsageError
from xbackend.models.dataset import Dataset, Images

Array = np.ndarray[Any, Any]

CLASSES = tuple("0123456789")
SCALE = 4
"""Each pixel becomes a square of 4x4, so 8x8 becomes 32x32."""
DIVISOR = 16
"""A power of two, so every input of the network is exact in every float format."""
FOLDS = 5
"""Every fifth digit (index 4, 9, 14, …) is held out."""
SOURCE = "the 1,797 handwritten digits of scikit-learn (UCI, E. Alpaydin and C. Kaynak, CC BY 4.0)"


def read() -> Dataset:
    """Read the digits out of the installed scikit-learn; raises UsageError where it is absent."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UsageError(
            "The handwritten digits need scikit-learn. Install it with: pip install scikit-learn"
        ) from error
    bunch = load_digits()
    pixels, labels = enlarge(bunch.images.astype(np.uint8)), bunch.target.astype(np.int64)
    held_out = np.arange(len(labels)) % FOLDS == FOLDS - 1
    return Dataset(
        training=Images(pixels[~held_out], labels[~held_out]),
        held_out=Images(pixels[held_out], labels[held_out]),
        classes=CLASSES,
        divisor=DIVISOR,
        title="handwritten digits",
        source=SOURCE,
    )


def enlarge(digits: Array) -> Array:
    """Repeat each pixel of [count, 8, 8] into [count, 32, 32, 3]: whole numbers, no rounding."""
    squares = digits.repeat(SCALE, axis=1).repeat(SCALE, axis=2)
    return squares[..., None].repeat(3, axis=3)

"""A Keras model in memory is a model of the API: saved as .keras, without when it was saved."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xbackend as xb

SAMPLES = np.array([[1, 2, 3, 4], [-1, 0, 1, 2]], np.float32)


@pytest.fixture
def model() -> Any:
    """Return y = relu(sum of x, minus the sum of x)."""
    import keras

    layer = keras.layers.Dense(2, activation="relu", name="dense")
    made = keras.Sequential([keras.layers.Input((4,)), layer], name="tiny")
    layer.set_weights([np.array([[1, -1]] * 4, np.float32), np.zeros(2, np.float32)])
    return made


def test_a_model_in_memory_gives_what_it_computes_and_is_known_again(
    model: Any, tmp_path: Path
) -> None:
    runs = xb.run(model, backends="tf", inputs=SAMPLES, store=tmp_path)
    found = [next(iter(each.values())).ravel().tolist() for each in runs.outputs(0).values()]
    assert found == [[10, 0], [2, 0]]
    assert runs[0].row["model"] == "tiny"
    time.sleep(1.1)
    again = xb.run(model, backends="tf", inputs=SAMPLES, store=tmp_path)
    assert again[0].id == runs[0].id


def test_another_object_of_keras_is_refused(model: Any, tmp_path: Path) -> None:
    with pytest.raises(xb.UsageError, match="A Dense is no model. Give a keras.Model."):
        xb.run(model.layers[0], backends="tf", store=tmp_path)

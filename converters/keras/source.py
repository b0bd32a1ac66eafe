"""Loads a Keras model or a SavedModel as one TensorFlow function, and nothing of it as Python."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xbackend.errors import ModelError

from ..libraries.sentence import first_line
from .safety import check_h5_file, check_keras_file
from .savedmodel_safety import check_saved_model

BATCH = 1
"""The extent of the first axis, fixed: a free one adds Shape, Gather, Slice and Concat nodes."""


@dataclass(frozen=True)
class TraceableModel:
    """A model that can be traced: a function from its inputs, in order, to a list of outputs."""

    function: Any
    """A `tf.function`."""
    signature: tuple[Any, ...]
    """A `tf.TensorSpec` for each input, with the batch fixed."""
    inputs: tuple[str, ...]
    """Names, for Keras those of the input layers."""
    outputs: tuple[str, ...]
    """Names, for Keras those of the layers that compute them."""
    weights: dict[str, np.ndarray[Any, Any]]
    scopes: tuple[str, ...] = ()
    """Names of the model and its layers, as they occur in the names of values."""
    owner: Any = None
    """What holds the variables, which live as long as it does: the Keras model, or what TensorFlow
    loaded."""

    def frozen(self) -> Any:
        """Return the concrete function with its variables turned into constants.

        TFLiteConverter leaves them as READ_VARIABLE otherwise, without a word.
        """
        from tensorflow.python.framework.convert_to_constants import (
            convert_variables_to_constants_v2,
        )

        return convert_variables_to_constants_v2(
            self.function.get_concrete_function(*self.signature)
        )


def load_traceable(path: Path, source_format: str) -> TraceableModel:
    """Load a model of the format `keras`, `h5` or `savedmodel`. Raises ModelError."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if source_format == "savedmodel":
        return _saved_model(path)
    (check_keras_file if source_format == "keras" else check_h5_file)(path)
    return _keras_model(path)


def _keras_model(path: Path) -> TraceableModel:
    import keras

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever a layer's constructor does
        raise ModelError(f"Keras cannot load {path}: {first_line(error)}") from error
    if not getattr(model, "inputs", None):
        raise ModelError(
            f"{path} does not say what its inputs are. Save it as a functional model, or call it "
            "once before saving."
        )
    return TraceableModel(
        function=_traceable(model),
        signature=tuple(
            _spec(tensor.shape, tensor.dtype, _layer(tensor)) for tensor in model.inputs
        ),
        inputs=_numbered([_layer(tensor) for tensor in model.inputs]),
        outputs=_numbered([_layer(tensor) for tensor in model.outputs]),
        weights={weight.path: weight.numpy() for weight in model.weights},
        scopes=(model.name, *(layer.name for layer in model._flatten_layers())),
        owner=model,
    )


def _traceable(model: Any) -> Any:
    import keras
    import tensorflow as tf

    structure = getattr(model, "_inputs_struct", None)

    def call(*arrays: Any) -> Any:
        inputs = arrays[0]
        if structure is not None:
            inputs = keras.tree.pack_sequence_as(structure, list(arrays))
        return keras.tree.flatten(model(inputs, training=False))

    return tf.function(call)


def _layer(tensor: Any) -> str:
    """Return the name of the layer that makes a symbolic tensor."""
    return str(tensor._keras_history.operation.name)


def _saved_model(path: Path) -> TraceableModel:
    check_saved_model(path)
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow raises what its readers and operations do
        raise ModelError(f"TensorFlow cannot load {path}: {first_line(error)}") from error
    signature = _signature(loaded, path)
    specs = signature.structured_input_signature[1]
    names, results = sorted(specs), sorted(signature.structured_outputs)

    def call(*arrays: Any) -> Any:
        outputs = signature(**dict(zip(names, arrays, strict=True)))
        return [outputs[name] for name in results]

    return TraceableModel(
        function=tf.function(call),
        signature=tuple(_spec(specs[name].shape, specs[name].dtype, name) for name in names),
        inputs=tuple(names),
        outputs=tuple(results),
        weights={_variable_name(v): v.numpy() for v in signature.variables},
        owner=loaded,
    )


def _signature(loaded: Any, path: Path) -> Any:
    """Return the signature to run: the one that is served, or the only one."""
    signatures = dict(loaded.signatures)
    for name in ("serving_default", "serve", *(signatures if len(signatures) == 1 else ())):
        if name in signatures:
            return signatures[name]
    known = ", ".join(sorted(signatures)) or "none"
    raise ModelError(
        f"{path} has no signature 'serving_default' (it has: {known}). Save it with "
        "model.export, or with tf.saved_model.save(…, signatures=…)."
    )


def _spec(shape: Sequence[int | None], dtype: Any, name: str) -> Any:
    """Return what an input looks like, one sample at a time."""
    import tensorflow as tf

    extents = [None if extent is None else int(extent) for extent in shape]
    if extents and extents[0] is None:
        extents[0] = BATCH
    return tf.TensorSpec(extents, dtype, name=re.sub(r"[^A-Za-z0-9_.\-]", "_", name))


def _numbered(names: Sequence[str]) -> tuple[str, ...]:
    """Tell apart tensors of one layer.

    >>> _numbered(["split", "split", "sum"])
    ('split', 'split_1', 'sum')
    """
    seen: dict[str, int] = {}
    found = []
    for name in names:
        number = seen.get(name, 0)
        seen[name] = number + 1
        found.append(f"{name}_{number}" if number else name)
    return tuple(found)


def _variable_name(variable: Any) -> str:
    return str(getattr(variable, "path", variable.name)).removesuffix(":0")

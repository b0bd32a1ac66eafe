"""The model's own TensorFlow: a Keras model or a SavedModel, called as its user calls it."""

from __future__ import annotations

import inspect
import json
import os
from typing import TYPE_CHECKING, Any, Callable, Collection, Dict, Iterator, List, Mapping, Tuple

import numpy as np
import tensorflow as tf

from xbackend.worker.contract import Session, Unsupported
from xbackend.worker.tensor import Tensor as Bits

from .session import bits_of
from .value import constant

if TYPE_CHECKING:
    from pathlib import Path

    from xbackend.worker.artifact import Artifact

    from .framework import Placement

MOST_PREDICTED = 16
"""So many samples are computed by `predict`, too, to see whether it gives the same bits."""


def prepare_source(artifact: Artifact, placement: Placement, mode: str) -> Session:
    """Load what `source.json` names. Raises Unsupported where this TensorFlow cannot read it."""
    document = json.loads((artifact.folder / "source.json").read_text(encoding="utf-8"))
    path = artifact.folder / document["file"]
    with placement.scope():
        if document["kind"] == "savedmodel":
            model: _Model = _Signature(path, document)
        else:
            model = _Keras(path)
    return SourceSession(model, document["taps"], artifact, placement, mode)


class SourceSession(Session):
    """Runs the source and names its tensors after the values of the exported graph."""

    def __init__(
        self,
        model: _Model,
        taps: Mapping[str, Mapping[str, Any]],
        artifact: Artifact,
        placement: Placement,
        mode: str,
    ) -> None:
        self.model = model
        self.layers = taps
        self.inputs = [value.name for value in artifact.inputs]
        self.outputs = [value.name for value in artifact.outputs]
        order = [layer.tap for layer in artifact.layers]
        self.taps = tuple(name for name in order if name in taps or name in self.outputs)
        self.placement = placement
        self.mode = mode
        self.function = _in_mode(model.call, mode)
        self.samples: List[Tuple[List[Any], List[bytes]]] = []

    def run(self, inputs: Mapping[str, Bits]) -> Dict[str, Bits]:
        """Return the outputs of one inference that nothing watches."""
        with self.placement.scope():
            tensors = [constant(inputs[name]).tensor for name in self.inputs]
            results = [bits_of(each) for each in self.function(*tensors)]
        if len(self.samples) < MOST_PREDICTED:
            self.samples.append((tensors, [each.data() for each in results]))
        return dict(zip(self.outputs, results))

    def tap(
        self, inputs: Mapping[str, Bits], wanted: Collection[str]
    ) -> Iterator[Tuple[str, Bits]]:
        """Yield the matched layers from a model whose outputs they are, then the outputs."""
        asked = [name for name in self.taps if name in self.layers and name in wanted]
        names = [name for name in asked if name not in self.outputs]
        with self.placement.scope():
            tensors = [constant(inputs[name]).tensor for name in self.inputs]
            layers = [str(self.layers[name]["layer"]) for name in names]
            watched = _in_mode(self.model.watched(layers), self.mode)
            values = [bits_of(each) for each in watched(*tensors)]
        found = dict(zip(names, values))
        for name in names:
            if self.layers[name]["channels_first"]:
                found[name] = _channels_first(found[name])
        found.update(zip(self.outputs, values[len(names) :]))
        order = [*self.taps, *(name for name in self.outputs if name not in self.taps)]
        yield from ((name, found[name]) for name in order if name in found and name in wanted)

    def facts(self) -> Dict[str, Any]:
        """Return the settings as they were read back, and whether `predict` gives other bits."""
        return {**self.placement.facts, **self._predicted()}

    def _predicted(self) -> Dict[str, Any]:
        predict = self.model.predict
        if predict is None or self.mode != "eager":
            return {}
        other = 0
        with self.placement.scope():
            for tensors, expected in self.samples:
                results = [np.ascontiguousarray(each).tobytes() for each in predict(tensors)]
                other += results != expected
        return {"predict": {"samples": len(self.samples), "other_bits": other}}

    def close(self) -> None:
        """Forget the samples."""
        self.samples.clear()


def _channels_first(value: Bits) -> Bits:
    return Bits(value.dtype, np.ascontiguousarray(np.moveaxis(value.array, -1, 1)))


Call = Callable[..., List[Any]]


def _in_mode(call: Call, mode: str) -> Call:
    """Return a call as it is, as a tf.function, or compiled by XLA."""
    if mode == "eager":
        return call
    options = {"jit_compile": True} if mode == "xla" else {}
    made: Call = tf.function(call, autograph=False, **options)
    return made


class _Model:
    """What is run: tensors in, a list of tensors out."""

    predict: Any = None
    """Keras's own way to infer many samples, where there is one."""

    def call(self, *tensors: Any) -> List[Any]:
        """Infer."""
        raise NotImplementedError

    def watched(self, layers: List[str]) -> Call:
        """Return a call that gives the outputs of layers before the model's own."""
        raise NotImplementedError


class _Keras(_Model):
    """A model of Keras."""

    def __init__(self, path: Path) -> None:
        os.environ["KERAS_BACKEND"] = "tensorflow"
        keras = _keras()
        load = keras.models.load_model
        options: Dict[str, Any] = {"compile": False}
        if "safe_mode" in inspect.signature(load).parameters:
            options["safe_mode"] = True
        try:
            self.model = load(str(path), **options)
        except Exception as error:  # Keras raises whatever a layer's constructor does
            raise Unsupported(
                f"Keras {keras.__version__} cannot load the model, which another version wrote "
                f"({_first(error)}). Set tf.graph=onnx."
            ) from error
        self.keras = keras
        self.structure = getattr(self.model, "_inputs_struct", None)

    def call(self, *tensors: Any) -> List[Any]:
        return _flat(self.model(self._packed(tensors), training=False))

    def _packed(self, tensors: Tuple[Any, ...]) -> Any:
        """Return the tensors in the structure that the model takes."""
        if self.structure is not None:
            return self.keras.tree.pack_sequence_as(self.structure, list(tensors))
        return tensors[0] if len(tensors) == 1 else list(tensors)

    def watched(self, layers: List[str]) -> Call:
        inner = self._layer_outputs()
        wanted = [inner[name] for name in layers if name in inner]
        if len(wanted) != len(layers):
            raise Unsupported(
                f"Keras {self.keras.__version__} does not tell what the layers of this model give. "
                "Run it with --taps outputs."
            )
        outer = self.keras.Model(self.model.inputs, [*wanted, *self.model.outputs])

        def call(*tensors: Any) -> List[Any]:
            return _flat(outer(list(tensors), training=False))

        return call

    def _layer_outputs(self) -> Dict[str, Any]:
        """Return the symbolic output of each layer, from its call in the model itself."""
        functional = getattr(self.model, "_functional", None) or self.model
        by_depth = getattr(functional, "_nodes_by_depth", {})
        nodes = [node for nodes in by_depth.values() for node in nodes]
        if nodes and hasattr(nodes[0], "operation"):  # since Keras 3
            return {str(node.operation.name): node.output_tensors[0] for node in nodes}
        return {layer.name: layer.output for layer in self.model.layers}

    def predict(self, tensors: List[Any]) -> List[Any]:
        return _flat(self.model.predict(self._packed(tuple(tensors)), verbose=0))


class _Signature(_Model):
    """The function of a SavedModel that is served."""

    def __init__(self, path: Path, document: Mapping[str, Any]) -> None:
        try:
            self.loaded = tf.saved_model.load(str(path))
        except Exception as error:  # TensorFlow raises what its readers and operations do
            raise Unsupported(
                f"TensorFlow {tf.__version__} cannot load the SavedModel ({_first(error)}). "
                "Set tf.graph=onnx."
            ) from error
        self.names = document["inputs"]
        self.results = document["outputs"]
        signatures = dict(self.loaded.signatures)
        chosen = [name for name in ("serving_default", "serve", *signatures) if name in signatures]
        self.signature = signatures[chosen[0]]

    def call(self, *tensors: Any) -> List[Any]:
        results = self.signature(**dict(zip(self.names, tensors)))
        return [results[name] for name in self.results]

    def watched(self, layers: List[str]) -> Call:
        return self.call


def _keras() -> Any:
    """Return Keras: the package, or before TensorFlow 2.16 the part of it."""
    try:
        import keras
    except ImportError:
        return tf.keras
    return keras if int(str(keras.__version__).split(".")[0]) >= 3 else tf.keras


def _flat(results: Any) -> List[Any]:
    return list(tf.nest.flatten(results))


def _first(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".")[:200] if lines else type(error).__name__

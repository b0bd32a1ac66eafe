"""Integers of 8 bits, in the kinds that a quantizer can write, and exact ones."""

from __future__ import annotations

from collections.abc import Iterator

from xbackend.mitigation.catalogue.replacement import instead
from xbackend.plugins.mitigation import BackendChange, Mitigation, MitigationContext

QUANTIZER = "onnx_to_int8"
FLOAT_ONLY = "The executor of the ONNX graph has no integer operators in this framework."

KERAS_FORMATS = frozenset({"keras", "h5", "savedmodel"})
"""File formats of Keras, which it converts to flat graphs itself."""

QUANTIZATION_SCHEMES: dict[str, tuple[str, dict[str, object]]] = {
    "int8": ("unsigned activations, signed weights", {}),
    "int8-s8s8": ("signed activations, signed weights", {"activation": "int8"}),
    "int8-u8u8": ("unsigned activations, unsigned weights", {"weight": "uint8"}),
    "int8-reduced": ("weights of 7 bits", {"reduce_range": True}),
    "int8-per-channel": ("a scale for each channel", {"per_channel": True}),
    "int8-qdq": ("floats between pairs of QuantizeLinear and DequantizeLinear", {"format": "qdq"}),
}


def _scheme(rank: int, name: str, what: str, options: dict[str, object]) -> Mitigation:
    told = "".join(f" --option {QUANTIZER}.{key}={_text(v)}" for key, v in options.items())
    line = f"xbackend convert model.onnx --to onnx-int8{told}"
    chosen = {QUANTIZER: options} if options else {}
    changes = {"ort": BackendChange(precision="int8", options=chosen, user_code=(line,))}
    lacks = dict.fromkeys(("tf", "torch"), FLOAT_ONLY) if not options else {}
    if not options:
        flat = "xbackend convert MODEL --to tflite-int8"
        changes["tflite"] = BackendChange(precision="int8", user_code=(flat,))
    return Mitigation(
        name=name,
        what=f"int8: {what}",
        changes=changes,
        unavailable=lacks,
        family="int8",
        rank=8 + (rank > 0),
    )


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _exact() -> Mitigation:
    change = BackendChange(
        replacement_backend="fixed",
        precision="int8",
        user_code=("xbackend run MODEL --backends fixed --precision int8",),
    )
    return instead("int8-exact", "int8 in exact integers, in NumPy,", 61, change)


def _int16x8(formats: frozenset[str]) -> Mitigation:
    """Give TensorFlow Lite's activations 16 bits; who is told depends on what the model is in."""
    converter = "keras_to_tflite" if formats & KERAS_FORMATS else "onnx_to_tflite"
    line = f"xbackend convert MODEL --to tflite-int8 --option {converter}.activation=int16"
    change = BackendChange(
        precision="int8", options={converter: {"activation": "int16"}}, user_code=(line,)
    )
    return Mitigation(
        name="int16x8",
        what="int8 weights, activations of 16 bits",
        changes={"tflite": change},
        unavailable=dict.fromkeys(("tf", "torch"), FLOAT_ONLY),
        family="int8",
        rank=9,
    )


def mitigations(context: MitigationContext) -> Iterator[Mitigation]:
    """Yield every kind."""
    for place, (name, kind) in enumerate(QUANTIZATION_SCHEMES.items()):
        yield _scheme(place, name, *kind)
    yield _int16x8(context.formats)
    yield _exact()

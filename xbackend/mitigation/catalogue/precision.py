"""Other formats of numbers for the same weights."""

from __future__ import annotations

from xbackend.plugins.mitigation import BackendChange, Mitigation

STORED = "TensorFlow Lite has no {} arithmetic on CPUs: it can only store weights in it."


def _cast(name: str, what: str, rank: int) -> Mitigation:
    tf = (f"tensors = [tf.cast(t, tf.{name}) for t in tensors]  # weights and inputs",)
    torch = (f"model = model.to(torch.{name}); x = x.to(torch.{name})",)
    ort = (f"xbackend convert model.onnx --to onnx-{name}",)
    return Mitigation(
        name=name,
        what=what,
        changes={
            "tf": BackendChange(precision=name, user_code=tf),
            "torch": BackendChange(precision=name, user_code=torch),
            "ort": BackendChange(precision=name, user_code=ort),
        },
        unavailable={"tflite": STORED.format(name)},
        family="precision",
        rank=rank,
    )


ALL = (
    _cast("float64", "52 bits of mantissa instead of 23", 5),
    _cast("float16", "10 bits of mantissa instead of 23", 6),
    _cast("bfloat16", "7 bits of mantissa instead of 23", 7),
)

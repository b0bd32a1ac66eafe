"""Low mantissa bits zeroed: of weights, of inputs, of activations after every layer, of all."""

from __future__ import annotations

from collections.abc import Iterator

from xbackend.numerics.zeroing import MANTISSA
from xbackend.plugins.mitigation import BackendChange, Mitigation, MitigationContext

FLOAT_BACKENDS = ("tf", "ort", "torch", "tflite")
DEFAULT_BITS = {
    "round-activations": (4, 8, 12, 16, 20),
    "cut-activations": (8, 12, 16),
    "round-weights": (12,),
    "round-inputs": (12,),
    "round-all": (8, 12, 16),
}
"""Numbers of bits that are tried unasked; any other is there by its name."""
FAMILIES = {
    f"{verb}-{what}": (verb, what)
    for what in ("weights", "inputs", "activations", "all")
    for verb in ("round", "cut")
}
MIN_TRUNCATED_BITS = 2
"""Bits from which cutting activations is exact."""
NO_MANTISSA = "Integers have no mantissa."


def mitigations(context: MitigationContext) -> Iterator[Mitigation]:
    """Yield a mitigation for each number of bits, each rounding and each of the four."""
    for family in FAMILIES:
        for bits in range(1, MANTISSA):
            if not (family in ("cut-activations", "cut-all") and bits < MIN_TRUNCATED_BITS):
                yield _mitigation(family, bits)


def _mitigation(family: str, bits: int) -> Mitigation:
    verb, what = FAMILIES[family]
    change = _change(verb, what, bits)
    where = {"all": "weights, inputs and activations"}.get(what, what)
    how = "rounded" if verb == "round" else "cut off"
    return Mitigation(
        name=f"{family}-{bits}",
        what=f"the last {bits} mantissa bits of {where} are {how}",
        changes=dict.fromkeys(FLOAT_BACKENDS, change),
        unavailable={"fixed": NO_MANTISSA},
        family=family,
        rank=10 + bits,
        default=bits in DEFAULT_BITS.get(family, ()),
    )


def _change(verb: str, what: str, bits: int) -> BackendChange:
    rounding = "nearest" if verb == "round" else "zero"
    every = what == "all"
    options = {
        "weights": bits if every or what == "weights" else 0,
        "activations": bits if every or what == "activations" else 0,
        "rounding": rounding,
    }
    rewritten = options["weights"] or options["activations"]
    return BackendChange(
        options={"onnx_to_zeroed": options} if rewritten else {},
        rewrite="onnx-zeroed" if rewritten else "",
        zero_inputs=bits if every or what == "inputs" else 0,
        rounding=rounding,
        expected_zero_bits=bits if options["activations"] else 0,
        user_code=_paste(what, bits, rounding, options),
    )


def _paste(what: str, bits: int, rounding: str, options: dict[str, object]) -> tuple[str, ...]:
    chosen = " ".join(
        f"--option onnx_to_zeroed.{key}={value}" for key, value in options.items() if value
    )
    model = () if what == "inputs" else (f"xbackend convert model.onnx --to onnx-zeroed {chosen}",)
    code = (
        "from xbackend.numerics.zeroing import zero_mantissa_bits",
        f'x = zero_bits(x, {bits}, "{rounding}")',
    )
    return (*model, *(code if what in ("inputs", "all") else ()))

"""What is done to a model and its inputs before any backend gets them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xbackend.plugins import registry

if TYPE_CHECKING:
    from xbackend.plugins.converter import ConverterSpec
    from xbackend.preparation.conversion.convert import ArtifactBuilder
    from xbackend.preparation.samples.input_set import InputSet
    from xbackend.store.store import Store


@dataclass(frozen=True)
class Rewrite:
    """Nothing, unless a field says so."""

    name: str = ""
    """What the treated model is called besides its own name."""
    target_format: str = ""
    """A file format, such as `onnx-zeroed`, in which the model is written first: every other
    conversion begins with that file, and its converter's options are for this one alone."""
    zero_inputs: int = 0
    """How many low mantissa bits of float32 inputs are zeroed."""
    rounding: str = "nearest"
    """How the inputs are: to `nearest`, or towards `zero`."""


NO_REWRITE = Rewrite()


def rewrite_model(builder: ArtifactBuilder, rewrite: Rewrite) -> ArtifactBuilder:
    """Return a builder that begins with the rewritten model, the same one where none is asked.

    The rewritten model has a digest of its own, so that its runs are never taken for the others.
    """
    if not rewrite.target_format:
        return builder
    from xbackend.preparation.conversion.convert import onnx_digest

    made = builder.build(rewrite.target_format)
    digest = onnx_digest(made.model)
    model = dataclasses.replace(
        builder.model,
        name=f"{builder.model.name}~{rewrite.name}",
        digest=digest,
        files={"onnx": made.model},
        digests={"onnx": digest},
    )
    used = {spec.name for spec in registry.converters() if rewrite.target_format in _targets(spec)}
    rest = {name: options for name, options in builder.options.items() if name not in used}
    return dataclasses.replace(builder, model=model, options=rest, built={})


def _targets(spec: ConverterSpec) -> set[str]:
    return {target for _, target in spec.conversions}


def rewrite_inputs(inputs: InputSet, rewrite: Rewrite, store: Store) -> InputSet:
    """Return the inputs with low bits zeroed, kept in the store; the same where none are."""
    if not rewrite.zero_inputs:
        return inputs
    from xbackend.numerics.zeroing import zero_mantissa_bits
    from xbackend.preparation.inputs import map_inputs

    return map_inputs(
        inputs,
        lambda array: zero_mantissa_bits(array, rewrite.zero_inputs, rewrite.rounding),
        store,
    )

"""What is done to a model and its inputs before any backend gets them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xbackend.plugins import registry
from xbackend.plugins.converter import ConverterSpec

if TYPE_CHECKING:
    from xbackend.preparation.conversion import Workshop
    from xbackend.preparation.inputs import InputSet
    from xbackend.store.store import Store


@dataclass(frozen=True)
class Treatment:
    """Nothing, unless a field says so."""

    name: str = ""
    """What the treated model is called besides its own name."""
    rewrite: str = ""
    """A file format, such as `onnx-zeroed`, in which the model is written first: every other
    conversion begins with that file, and its converter's options are for this one alone."""
    zero_inputs: int = 0
    """How many low mantissa bits of float32 inputs are zeroed."""
    rounding: str = "nearest"
    """How the inputs are: to `nearest`, or towards `zero`."""


NOTHING = Treatment()


def treat_model(workshop: Workshop, treatment: Treatment) -> Workshop:
    """Return a workshop that begins with the rewritten model, the same one where none is asked.

    The rewritten model has a digest of its own, so that its runs are never taken for the others.
    """
    if not treatment.rewrite:
        return workshop
    from xbackend.preparation.conversion import content

    made = workshop.make(treatment.rewrite)
    digest = content(made.model)
    model = dataclasses.replace(
        workshop.model,
        name=f"{workshop.model.name}~{treatment.name}",
        digest=digest,
        files={"onnx": made.model},
        digests={"onnx": digest},
    )
    used = {spec.name for spec in registry.converters() if treatment.rewrite in _targets(spec)}
    rest = {name: options for name, options in workshop.options.items() if name not in used}
    return dataclasses.replace(workshop, model=model, options=rest, made={})


def _targets(spec: ConverterSpec) -> set[str]:
    return {target for _, target in spec.arrows}


def treat_inputs(inputs: InputSet, treatment: Treatment, store: Store) -> InputSet:
    """Return the inputs with low bits zeroed, kept in the store; the same where none are."""
    if not treatment.zero_inputs:
        return inputs
    from xbackend.numerics.zeroing import zero_bits
    from xbackend.preparation.inputs import changed_inputs

    return changed_inputs(
        inputs,
        lambda array: zero_bits(array, treatment.zero_inputs, treatment.rounding),
        store,
    )

"""Models that are quantized already: they run as they are in every backend, in one section."""

from __future__ import annotations

from xbackend.preparation.conversion.convert import ArtifactBuilder
from xbackend.worker.artifact import read_artifact
from xbackend.worker.contract import BackendSpec

QUANTIZED, AS_IT_IS = "int8", "float32"
"""The precision that quantizes a model of floats, and that in which a model runs as it is."""


def default_precision(spec: BackendSpec, builder: ArtifactBuilder) -> str:
    """Return the precision in which a backend runs a model where none is asked for.

    A backend of integers quantizes a model of floats, and no other one again.
    """
    own = spec.default_precision
    runs_as_it_is = own == QUANTIZED and AS_IT_IS in spec.formats
    return AS_IT_IS if runs_as_it_is and is_quantized(builder) else own


def requantization_refusal(precision: str, builder: ArtifactBuilder) -> str:
    """Return why a model is not quantized, nothing where it is one of floats."""
    if precision != QUANTIZED or not is_quantized(builder):
        return ""
    return (
        f"'{builder.model.name}' is quantized already and is not quantized again. Leave out "
        f"--precision, or give {AS_IT_IS}: it runs as it is, its integers as integers."
    )


def is_quantized(builder: ArtifactBuilder) -> bool:
    """Tell whether the model's own graph holds integer arithmetic.

    One that comes with samples is of floats: the built-in models, and those that are trained here.
    """
    if builder.model.samples is not None:
        return False
    hub = builder.hub()
    return hub is not None and read_artifact(hub.folder).quantized

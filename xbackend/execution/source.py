"""The model and the inputs of an order: found, digested, and converted when that is needed."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from xbackend.errors import ConversionError, InputError, ModelError
from xbackend.execution.request import Order
from xbackend.preparation.conversion import MissingPackages, Workshop
from xbackend.preparation.inputs import (
    InputSet,
    given_inputs,
    kept_inputs,
    made_inputs,
    shipped_inputs,
)
from xbackend.preparation.model import Model, find_model
from xbackend.preparation.rewrite import treat_inputs
from xbackend.store.store import Store
from xbackend.worker.artifact import ValueInfo, read_artifact


def source_model(
    order: Order,
    store: Store,
    tell: Callable[[str], None],
    options: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> Model:
    """Find the model, make the store, and have a `module:callable` called."""
    model = find_model(order.model)
    store.create()
    model = Workshop(model, store, lambda: None, "", options, tell).settled()
    if order.model_digest not in ("", model.digest):
        raise ModelError(
            f"The model '{order.model}' is no longer the one that was run: its digest is "
            f"{model.digest[:8]}, not {order.model_digest[:8]}. Bring that one back, or run this "
            "one anew."
        )
    return model


def workshop_for(
    order: Order,
    store: Store,
    tell: Callable[[str], None],
    options: Mapping[str, Mapping[str, Any]],
) -> Workshop:
    """Return a workshop for a conversion alone, calibrating with the order's inputs."""
    model = source_model(order, store, tell, options)
    try:
        return source_inputs(order, model, store, tell, options)[1]
    except InputError as error:
        if order.inputs is not None:
            raise
        return Workshop(model, store, _refusal(error), "", options, tell)


def _refusal(error: InputError) -> Callable[[], Path]:
    """Return what raises an error only once sample inputs are really needed."""

    def refuse() -> Path:
        raise error

    return refuse


def source_inputs(
    order: Order,
    model: Model,
    store: Store,
    tell: Callable[[str], None],
    options: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> tuple[InputSet, Workshop]:
    """Return the samples and a workshop that calibrates with them."""
    bare = Workshop(model, store, lambda: None, "", options, tell)
    if order.inputs_digest:
        inputs = _same_inputs(order.inputs_digest, model, bare)
    elif order.inputs is None and model.samples is not None:
        inputs = shipped_inputs(model.samples, model.sample_names, model.digest)
    else:
        interface = interface_of(bare)
        if order.inputs is None:
            inputs = made_inputs(interface, store)
        else:
            inputs = given_inputs(order.inputs, interface, store, order.allow_nonfinite)
    inputs = treat_inputs(inputs, order.treatment, store)

    def sample_inputs() -> Path:
        path = store.folder / "inputs" / f"{inputs.digest}.npz"
        return path if path.exists() else inputs.write_npz(path, interface_of(bare))

    workshop = dataclasses.replace(
        bare, sample_inputs=sample_inputs, inputs_digest=inputs.digest, made=dict(bare.made)
    )
    return inputs, workshop


def _same_inputs(digest: str, model: Model, workshop: Workshop) -> InputSet:
    """Return the inputs with a digest: shipped, made up, or kept. Raises InputError."""
    if model.samples is not None:
        shipped = shipped_inputs(model.samples, model.sample_names, model.digest)
        if shipped.digest == digest:
            return shipped
    interface = interface_of(workshop)
    with contextlib.suppress(InputError):
        made = made_inputs(interface, workshop.store)
        if made.digest == digest:
            return made
    return kept_inputs(digest, interface, workshop.store)


def interface_of(workshop: Workshop) -> tuple[ValueInfo, ...]:
    """Return the model's inputs, from its ONNX graph or, where there is none, its flat graph."""
    try:
        return read_artifact(workshop.make("graph").folder).inputs
    except (MissingPackages, ConversionError) as no_graph:
        try:
            return read_artifact(workshop.make("flat").folder).inputs
        except ModelError:
            raise
        except ConversionError:
            raise no_graph from None

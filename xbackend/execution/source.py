"""The model and the inputs of a request: found, digested, and converted when that is needed."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from xbackend.errors import ConversionError, InputError, ModelError, UsageError
from xbackend.execution.request import RunRequest
from xbackend.preparation.conversion.convert import ArtifactBuilder
from xbackend.preparation.inputs import (
    builtin_inputs,
    find_stored_inputs,
    load_inputs,
    random_inputs,
)
from xbackend.preparation.model import Model, find_model
from xbackend.preparation.rewrite import rewrite_inputs
from xbackend.preparation.samples.choice import NO_CHOICE
from xbackend.preparation.samples.input_set import InputSet
from xbackend.preparation.samples.kinds import InputKind, input_kinds
from xbackend.store.store import Store
from xbackend.worker.artifact import ValueInfo, read_artifact


def source_model(
    request: RunRequest,
    store: Store,
    log: Callable[[str], None],
    options: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> Model:
    """Find the model, make the store, and have a `module:callable` called."""
    model = find_model(request.model)
    store.create()
    model = ArtifactBuilder(model, store, lambda: None, "", options, log).resolved_model()
    if request.model_digest not in ("", model.digest):
        raise ModelError(
            f"The model '{request.model}' is no longer the one that was run: its digest is "
            f"{model.digest[:8]}, not {request.model_digest[:8]}. Bring that one back, or run this "
            "one anew."
        )
    return model


def conversion_builder(
    request: RunRequest,
    store: Store,
    log: Callable[[str], None],
    options: Mapping[str, Mapping[str, Any]],
) -> ArtifactBuilder:
    """Return a builder for a conversion alone, calibrating with the request's inputs."""
    model = source_model(request, store, log, options)
    try:
        return source_inputs(request, model, store, log, options)[1]
    except InputError as error:
        if request.inputs is not None:
            raise
        return ArtifactBuilder(model, store, _refusal(error), "", options, log)


def _refusal(error: InputError) -> Callable[[], Path]:
    """Return what raises an error only once sample inputs are really needed."""

    def refuse() -> Path:
        raise error

    return refuse


def source_inputs(
    request: RunRequest,
    model: Model,
    store: Store,
    log: Callable[[str], None],
    options: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> tuple[InputSet, ArtifactBuilder]:
    """Return the samples and a builder that calibrates with them."""
    bare = ArtifactBuilder(model, store, lambda: None, "", options, log)
    choice = request.choice
    if request.inputs_digest:
        inputs = _same_inputs(request.inputs_digest, model, bare)
    elif request.inputs is None and model.samples is not None:
        _refuse_choice(request)
        inputs = builtin_inputs(model.samples, model.sample_names, model.digest)
    elif request.inputs is None:
        interface = model_inputs(bare)
        kinds = _kinds(bare, interface)
        inputs = random_inputs(interface, store, choice=choice, kinds=kinds, log=log)
    else:
        interface = model_inputs(bare)
        inputs = load_inputs(request.inputs, interface, store, request.allow_nonfinite, choice)
    inputs = rewrite_inputs(inputs, request.rewrite, store)

    written: set[Path] = set()  # what lies there from before is not believed

    def sample_inputs() -> Path:
        path = store.folder / "inputs" / f"{inputs.digest}.npz"
        if path not in written:
            written.add(inputs.write_npz(path, model_inputs(bare)))
        return path

    builder = dataclasses.replace(
        bare, sample_inputs=sample_inputs, inputs_digest=inputs.digest, built=dict(bare.built)
    )
    return inputs, builder


def _refuse_choice(request: RunRequest) -> None:
    """Raise UsageError where something is said of samples that a built-in model brings."""
    if request.choice != NO_CHOICE:
        raise UsageError(
            f"'{request.model}' brings samples of its own, which --shape, --dim, --labels and what "
            "is said of pictures do not change. Leave these out, or give --inputs."
        )


def _kinds(builder: ArtifactBuilder, interface: Sequence[ValueInfo]) -> dict[str, InputKind]:
    """Return what the inputs stand for, from the ONNX graph where there is one."""
    from xbackend.worker.graph import read_graph

    try:
        graph = read_graph(builder.build("graph").folder)
    except (ConversionError, ModelError):
        graph = None
    return input_kinds(interface, graph)


def _same_inputs(digest: str, model: Model, builder: ArtifactBuilder) -> InputSet:
    """Return the inputs with a digest: shipped, made up, or kept. Raises InputError."""
    if model.samples is not None:
        shipped = builtin_inputs(model.samples, model.sample_names, model.digest)
        if shipped.digest == digest:
            return shipped
    interface = model_inputs(builder)
    with contextlib.suppress(InputError):
        kinds = _kinds(builder, interface)
        made = random_inputs(interface, builder.store, kinds=kinds)
        if made.digest == digest:
            return made
    return find_stored_inputs(digest, interface, builder.store)


def model_inputs(builder: ArtifactBuilder) -> tuple[ValueInfo, ...]:
    """Return the model's inputs, from its ONNX graph or, where there is none, its flat graph."""
    hub = builder.hub()
    if hub is not None:
        return read_artifact(hub.folder).inputs
    try:
        return read_artifact(builder.build("flat").folder).inputs
    except ModelError:
        raise
    except ConversionError:
        builder.build("graph")  # whose error tells what is missing
        raise

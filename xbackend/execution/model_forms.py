"""Which forms of a model a backend runs: the source of its own framework, the exported graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xbackend.errors import StoreError
from xbackend.platforms.platform import Platform
from xbackend.preparation.model import CALLABLE, Model, source_digest
from xbackend.worker.artifact import Artifact
from xbackend.worker.contract import AUTO, GRAPH, ONNX, SOURCE, BackendSpec, SettingValue

Settings = Mapping[str, SettingValue]

COPIED = ("keras", "h5", "savedmodel")
"""Sources of which the artifact holds a copy, which the framework itself reads."""


def source_kind(spec: BackendSpec, model: Model) -> str | None:
    """Return the file format in which a model is of the backend's own framework, None if in none.

    A built-in model that has an ONNX file, too, was made in that framework.
    """
    return next((kind for kind in spec.sources if kind in model.files), None)


def form_settings(
    spec: BackendSpec, settings: Settings, model: Model, precision: str, both: bool
) -> list[dict[str, SettingValue]]:
    """Return the settings of each form to run, `graph` resolved.

    The source has the precision in which it was made, which is the backend's default.
    """
    if settings.get(GRAPH) != AUTO:
        return [dict(settings)]
    has_source = source_kind(spec, model) is not None and precision == spec.default_precision
    forms = (SOURCE, ONNX) if both and has_source else (ONNX,)
    return [{**settings, GRAPH: form} for form in forms]


def is_source(settings: Settings) -> bool:
    """Tell whether settings ask for the source."""
    return settings.get(GRAPH) == SOURCE


def source_refusal(spec: BackendSpec, model: Model, precision: str) -> str:
    """Return why a backend cannot run a model's source, nothing where it can."""
    if source_kind(spec, model) is None:
        kinds = ", ".join(sorted(spec.sources))
        return (
            f"'{model.source}' is no {spec.source_title} ({kinds}), so there is no source for "
            f"'{spec.word}' to run. Set {spec.word}.{GRAPH}={ONNX}."
        )
    if precision != spec.default_precision:
        return (
            f"The source of '{model.name}' runs in the format in which it was made, not in "
            f"{precision}. Leave out --precision, or set {spec.word}.{GRAPH}={ONNX}."
        )
    return ""


def travel_refusal(spec: BackendSpec, model: Model, platform: Platform) -> str:
    """Return why a source cannot run on a platform, nothing where it can: a function stays here."""
    away = bool(platform.transport) or platform.python != Platform("").python
    if source_kind(spec, model) != CALLABLE or not away:
        return ""
    return (
        f"'{model.source}' is a function of this Python, which '{platform.spec}' does not have; "
        "the exported graph stands in for it there. A program that torch.export.save wrote runs "
        "everywhere."
    )


def check_copy(spec: BackendSpec, model: Model, artifact: Artifact) -> None:
    """Raise StoreError where what a framework is to read is not the user's own file."""
    kind = source_kind(spec, model)
    if kind not in COPIED:
        return
    copy = artifact.folder / artifact.manifest["model"]
    if source_digest(copy) != model.digests[kind]:
        raise StoreError(
            f"{copy} is not '{model.source}', of which it is to be a copy. Remove the folder "
            f"{artifact.folder}, and it is made again."
        )


def source_notes(settings: Settings, artifact: Artifact) -> dict[str, Any]:
    """Return how many of the graph's values a source computes too, and which it does not."""
    if not is_source(settings):
        return {}
    notes = artifact.manifest["steps"][-1]["notes"]
    return {key: notes[key] for key in ("kind", "matched", "unmatched") if key in notes}

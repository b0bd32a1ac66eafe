"""From what the user asks for to the workers to start."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xbackend.errors import (
    ConversionError,
    ModelError,
    PluginError,
    UnsupportedOperators,
    UsageError,
)
from xbackend.execution.backend_settings import parse_settings, worker_environment
from xbackend.execution.model_forms import (
    check_copy,
    form_settings,
    is_source,
    source_kind,
    source_notes,
    source_refusal,
    travel_refusal,
)
from xbackend.execution.operators import check_operators
from xbackend.execution.quantized_models import default_precision, requantization_refusal
from xbackend.execution.request import RunRequest, check_precisions
from xbackend.execution.run_key import run_id_prefix, run_key
from xbackend.execution.source import source_inputs, source_model
from xbackend.execution.workers.launcher import Launch
from xbackend.execution.workers.zipapp import worker_zipapp
from xbackend.platforms.emulation_taint import last_faithful_tensors
from xbackend.platforms.parse import expand_platforms, parse_platform
from xbackend.platforms.platform import Platform
from xbackend.platforms.trust import remember_function, remember_named
from xbackend.plugins import registry
from xbackend.preparation.conversion.convert import ArtifactBuilder, MissingPackages
from xbackend.preparation.conversion.export_notes import export_notes, export_sentences
from xbackend.preparation.conversion.flat_notes import flat_doubts, flat_sentences
from xbackend.preparation.conversion.options import (
    options_label,
    parse_options,
    quantizer_of,
    reject_unused_options,
)
from xbackend.preparation.limits import Limits, limits
from xbackend.preparation.model import CALLABLE, Model, is_callable
from xbackend.preparation.rewrite import rewrite_model
from xbackend.preparation.samples.input_set import InputSet
from xbackend.store.store import Store
from xbackend.worker.artifact import Artifact, read_artifact
from xbackend.worker.contract import BackendSpec, SettingValue
from xbackend.worker.job import Job, Sample, wanted_taps
from xbackend.worker.version import VERSION

Record = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """All runs of a request: those to start, and those that cannot be."""

    launches: tuple[Launch, ...]
    not_started: tuple[Record, ...]
    """Records of runs that are skipped or failed before any worker starts."""
    cached: tuple[Record, ...]
    """Records of the same runs that the store has already."""


@dataclass(frozen=True)
class BackendConfig:
    """One run but for its artifact."""

    spec: BackendSpec
    precision: str
    settings: dict[str, SettingValue]
    """The backend's own settings, without threads."""
    optional: bool = False
    """Whether nobody asked for it by name, so that it is skipped where it cannot be made."""

    @property
    def name(self) -> str:
        """How the run's id ends: the backend's word, and `source` where it is no exported graph."""
        return f"{self.spec.word}-source" if is_source(self.settings) else self.spec.word


def make_plan(request: RunRequest, store: Store, log: Callable[[str], None]) -> Plan:
    """Check everything, convert what must be, and return what to start.

    Raises UsageError for a wrong request, ModelError for a model that nothing can run.
    """
    texts = expand_platforms(request.platforms)
    platforms = [parse_platform(text) for text in texts]
    remember_named(texts)
    if is_callable(request.model):
        remember_function(request.model)
    specs = _specs(request, platforms)
    check_precisions(request.precisions)
    settings = parse_settings(request.settings, specs)
    options = parse_options(request.options)
    _check_installed(specs, platforms)
    model = source_model(request, store, log, options)
    inputs, builder = source_inputs(request, model, store, log, options)
    builder = rewrite_model(builder, request.rewrite)
    planner = Planner(request, builder.model, store, inputs, builder, platforms)
    for spec in specs:
        for precision in request.precisions or (default_precision(spec, builder),):
            own, both = settings[spec.word], request.sources
            for chosen in form_settings(spec, own, builder.model, precision, both):
                optional = is_source(chosen) and not is_source(own)
                planner.add(BackendConfig(spec, precision, chosen, optional))
    if not any(record["status"] == "failed" for record in planner.not_started):
        reject_unused_options(builder.options, planner.steps)
    return Plan(tuple(planner.launches), tuple(planner.not_started), tuple(planner.cached))


def _specs(request: RunRequest, platforms: Sequence[Platform]) -> list[BackendSpec]:
    """Return the backends to run. Raises UsageError for an unknown one."""
    if not request.backends:
        return [spec for spec in registry.backends() if _may_run(spec, platforms)]
    return [registry.backend(word) for word in dict.fromkeys(request.backends)]


def _check_installed(specs: Sequence[BackendSpec], platforms: Sequence[Platform]) -> None:
    """Raise UsageError for a backend that is not installed, once all that was typed is known."""
    for spec in specs:
        if not _may_run(spec, platforms):
            raise UsageError(registry.install_hint(spec))


def _may_run(spec: BackendSpec, platforms: Sequence[Platform]) -> bool:
    """Tell whether a backend's framework is here, or may be where one of the platforms runs."""
    own = Platform("").python
    foreign = [platform for platform in platforms if platform.python != own]
    return registry.is_available(spec) or any(p.may_provide(spec.modules) for p in foreign)


@dataclass
class Planner:
    """Collects the runs of a request, numbered in the order in which they are added."""

    request: RunRequest
    model: Model
    store: Store
    inputs: InputSet
    builder: ArtifactBuilder
    platforms: Sequence[Platform]
    launches: list[Launch] = field(default_factory=list)
    not_started: list[Record] = field(default_factory=list)
    cached: list[Record] = field(default_factory=list)
    steps: list[Record] = field(default_factory=list)
    """Everything that was converted for these runs."""
    saturation_risks: dict[str, list[Record]] = field(default_factory=dict)
    """Digests of artifacts to the layers that saturating kernels overflow in."""
    export: Record | None = None
    """What the exporter told of the model's graph, once it is known."""
    run_counter: Iterator[int] = field(default_factory=itertools.count)
    id_prefix: str = field(default_factory=run_id_prefix)
    limits: Limits = field(default_factory=limits)

    def add(self, config: BackendConfig) -> None:
        """Add the runs of one backend in one precision, on all platforms."""
        spec, precision = config.spec, config.precision
        if precision not in spec.formats:
            reason = spec.unsupported_precisions.get(precision, "the framework does not have it")
            message = f"Backend '{spec.word}' has no {precision}: {reason}"
            self._record_not_started(config, "skipped", "plan", "unsupported", message)
            return
        refusal = requantization_refusal(precision, self.builder)
        if is_source(config.settings):
            refusal = source_refusal(spec, self.model, precision)
        if refusal:
            self._record_not_started(config, "skipped", "plan", "unsupported", refusal)
            return
        try:
            artifact = self._artifact(config)
            worker = worker_zipapp(spec)
        except UnsupportedOperators as error:
            self._record_not_started(config, "skipped", "plan", "unsupported", str(error))
        except MissingPackages as error:
            self._record_not_started(config, "skipped", "convert", "not-installed", str(error))
        except (ConversionError, ModelError, PluginError) as error:
            status = "skipped" if config.optional else "failed"
            self._record_not_started(config, status, "convert", type(error).__name__, str(error))
        else:
            self._check_taps(artifact)
            self._note_export(artifact)
            for text in flat_sentences(self.model.name, flat_doubts(artifact.manifest["steps"])):
                self.builder.log(text)
            self.steps += artifact.manifest["steps"]
            self._check_saturation(spec, artifact)
            self._launch(config, artifact, worker)
            self._skip_unavailable(config)

    def _artifact(self, config: BackendConfig) -> Artifact:
        """Return what a config runs. Raises an XbackendError where it cannot be made."""
        if not is_source(config.settings):
            check_operators(config.spec, config.precision, self.builder)
            return read_artifact(self.builder.build(config.spec.formats[config.precision]).folder)
        kind = source_kind(config.spec, self.model)
        artifact = read_artifact(self.builder.build(config.spec.sources[str(kind)]).folder)
        check_copy(config.spec, self.model, artifact)
        return artifact

    def _note_export(self, artifact: Artifact) -> None:
        """Find out what the exporter told of the model's graph, and say so once."""
        if self.export is not None:
            return
        self.export = export_notes(artifact.manifest["steps"])
        if not self.export and (hub := self.builder.hub()) is not None:
            self.export = export_notes(read_artifact(hub.folder).manifest["steps"])
        for sentence in export_sentences(self.model.name, self.export):
            self.builder.log(sentence)

    def _check_saturation(self, spec: BackendSpec, artifact: Artifact) -> None:
        """Find the layers that a backend's kernels may overflow in, and say so once."""
        if (
            not spec.saturation_warning
            or artifact.digest in self.saturation_risks
            or not artifact.quantized
        ):
            return
        from xbackend.preparation.saturation import (  # NumPy, which most runs do not need
            artifact_saturation_risks,
            saturation_warning,
        )

        exposed = artifact_saturation_risks(artifact.folder)
        self.saturation_risks[artifact.digest] = [exposure.to_dict() for exposure in exposed]
        if exposed:
            self.builder.log(saturation_warning(self.model.name, spec.saturation_warning, exposed))

    def _check_taps(self, artifact: Artifact) -> None:
        names = tuple(layer.tap for layer in artifact.layers)
        if self.request.taps in ("layers", "outputs") or not names:
            return
        if not wanted_taps(self.request.taps, names):
            raise UsageError(
                f"'--taps {self.request.taps}' matches none of the model's {len(names)} values, "
                f"such as {', '.join(names[:3])}."
            )

    def _launch(self, config: BackendConfig, artifact: Artifact, worker: Path) -> None:
        samples = self.inputs.samples(artifact.inputs)
        digests = {"inputs": self.inputs.digest, "artifact": artifact.digest}
        digests.update(worker=worker.stem, model=self.model.name)
        digests.update(samples=json.dumps(self.inputs.notes(), sort_keys=True))
        for platform, threads, repeat in self._grid(config):
            settings = {**config.settings, "threads": threads}
            chosen = self._chosen(samples, platform)
            job = Job(
                backend=config.spec.word,
                adapter=config.spec.adapter,
                environment=worker_environment(config.spec, settings),
                artifact=str(artifact.folder.absolute()),
                settings={**settings, "precision": config.precision},
                samples=chosen,
                taps=self._taps(config, artifact),
                store=str(self.store.folder.absolute()),
                missing=registry.install_hint(config.spec),
                emulator=platform.emulator,
                machine=platform.machine,
                sandbox=self.limits.sandbox,
                memory=self.limits.memory,
            )
            some = {} if len(chosen) == len(samples) else {"samples": str(len(chosen))}
            key = run_key(config.spec, job, platform, {**digests, **some}, repeat)
            repeatable = not (self.request.fresh or platform.transport or self._calls(config))
            known = self.store.find_by_key(key) if repeatable else None
            if known is not None:
                self.cached.append(self._own(known))
                continue
            record = self._record(config, platform, threads, repeat)
            record["artifact"] = {"digest": artifact.digest, "format": artifact.format}
            record["conversion"] = options_label(artifact.manifest["steps"])
            record["export"] = {**(self.export or {}), **source_notes(config.settings, artifact)}
            record["export"].update(flat_doubts(artifact.manifest["steps"]))
            record["quantizer"] = quantizer_of(artifact.manifest["steps"])
            saturating = config.spec.saturation_warning
            record["saturation"] = (
                self.saturation_risks.get(artifact.digest, []) if saturating else []
            )
            record["layers"] = [vars(layer) for layer in artifact.layers]
            record["worker"] = worker.name
            self.launches.append(Launch(record, job, platform, worker, key, config.spec))

    def _own(self, known: Record) -> Record:
        """Return a known run, which is the user's own from when the user asks for it."""
        if self.request.purpose or not known.get("purpose"):
            return known
        own = {key: value for key, value in known.items() if key != "purpose"}
        self.store.write_run(own)
        return own

    def _calls(self, config: BackendConfig) -> bool:
        """Tell whether a run calls the user's function, whose code may rest on anything."""
        own = source_kind(config.spec, self.model) == CALLABLE
        return is_source(config.settings) and own

    def _taps(self, config: BackendConfig, artifact: Artifact) -> str:
        """Return the taps that are wanted; where emulation may spoil outputs, what vouches."""
        rules = [
            rule
            for word in self.request.faithful_taps_for
            for rule in registry.backend(word).unfaithful
        ]
        if not rules or not any(platform.emulator for platform in self.platforms):
            return self.request.taps
        names = last_faithful_tensors(
            [vars(layer) for layer in artifact.layers], rules, config.precision
        )
        return ",".join(re.sub(r"[,*?[]", "?", name) for name in names) or self.request.taps

    def _chosen(self, samples: tuple[Sample, ...], platform: Platform) -> tuple[Sample, ...]:
        """Return the samples that run on a platform: under emulation perhaps only some."""
        emulated = platform.emulator or platform.machine
        return samples[: self.request.emulated_samples or None] if emulated else samples

    def _record_not_started(
        self, config: BackendConfig, status: str, stage: str, symptom: str, message: str
    ) -> None:
        """Record the runs of a config that cannot be started."""
        error = {"stage": stage, "symptom": symptom, "message": message}
        for platform in self.platforms:
            self._add_not_started(config, platform, status, error)

    def _add_not_started(
        self, config: BackendConfig, platform: Platform, status: str, error: Record
    ) -> None:
        record = self._record(config, platform, self.request.threads[0], 0)
        self.not_started.append({**record, "status": status, "error": error})

    def _skip_unavailable(self, config: BackendConfig) -> None:
        """Record that a backend is skipped on the platforms that are known not to have it."""
        for platform in self.platforms:
            refusal = self._travel_refusal(config, platform)
            if refusal:
                error = {"stage": "plan", "symptom": "unsupported", "message": refusal}
                self._add_not_started(config, platform, "skipped", error)
            elif not platform.may_provide(config.spec.modules):
                needs = " or ".join(config.spec.modules)
                message = f"The set-up of '{platform.spec}' does not hold {needs}."
                error = {"stage": "plan", "symptom": "not-installed", "message": message}
                self._add_not_started(config, platform, "skipped", error)

    def _travel_refusal(self, config: BackendConfig, platform: Platform) -> str:
        if not is_source(config.settings):
            return ""
        return travel_refusal(config.spec, self.model, platform)

    def _grid(self, config: BackendConfig) -> Iterator[tuple[Platform, int, int]]:
        platforms = [
            platform
            for platform in self.platforms
            if platform.may_provide(config.spec.modules)
            and not self._travel_refusal(config, platform)
        ]
        return itertools.product(platforms, self.request.threads, range(self.request.repeats))

    def _record(
        self, config: BackendConfig, platform: Platform, threads: int, repeat: int
    ) -> Record:
        """Return all keys of a run's record, as they are before it ran."""
        word = config.spec.word
        return {
            "schema_version": 1,
            "id": f"{self.id_prefix}-{next(self.run_counter):04d}-{config.name}",
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "xbackend": VERSION,
            "model": {
                "name": self.model.name,
                "digest": self.model.digest,
                "source": self.model.source,
            },
            "inputs_digest": self.inputs.digest,
            "samples": self.inputs.notes(),
            "backend": word,
            "backend_version": None,
            "precision": config.precision,
            "settings": {**config.settings, "threads": threads},
            "platform": platform.spec,
            "repeat": repeat,
            "hardware": {},
            "software": {},
            "status": "failed",
            "error": None,
            "seconds": None,
            "taps_neutral": None,
            "artifact": None,
            "layers": [],
            "results": [],
            "facts": {},
            **({"purpose": self.request.purpose} if self.request.purpose else {}),
        }

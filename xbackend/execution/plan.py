"""From what the user asks for to the workers to start."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xbackend.errors import ConversionError, ModelError, PluginError, UsageError
from xbackend.execution.bundle import worker_file
from xbackend.execution.launcher import Launch
from xbackend.execution.request import Order
from xbackend.execution.run_key import run_key
from xbackend.execution.settings import parse_settings
from xbackend.execution.source import source_inputs, source_model
from xbackend.platforms.emulation_marks import witnesses
from xbackend.platforms.parse import expand_platforms, parse_platform
from xbackend.platforms.platform import Platform
from xbackend.plugins import registry
from xbackend.preparation.conversion import MissingPackages, Workshop
from xbackend.preparation.inputs import (
    InputSet,
)
from xbackend.preparation.model import Model
from xbackend.preparation.options import kind, parse_options, refuse_unused
from xbackend.preparation.rewrite import treat_model
from xbackend.store.store import Store
from xbackend.worker.artifact import Artifact, read_artifact
from xbackend.worker.contract import PRECISIONS, BackendSpec, SettingValue
from xbackend.worker.job import Job, Sample, wanted_taps
from xbackend.worker.version import VERSION

Record = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """All runs of an order: those to start, and those that cannot be."""

    launches: tuple[Launch, ...]
    stillborn: tuple[Record, ...]
    """Records of runs that are skipped or failed before any worker starts."""
    kept: tuple[Record, ...]
    """Records of the same runs that the store has already."""


@dataclass(frozen=True)
class Variant:
    """One run but for its artifact."""

    spec: BackendSpec
    precision: str
    settings: dict[str, SettingValue]
    """The backend's own settings, without threads."""


def make_plan(order: Order, store: Store, tell: Callable[[str], None]) -> Plan:
    """Check everything, convert what must be, and return what to start.

    Raises UsageError for a wrong order, ModelError for a model that nothing can run.
    """
    platforms = [parse_platform(text) for text in expand_platforms(order.platforms)]
    specs = _specs(order, platforms)
    _check_precisions(order.precisions)
    settings = parse_settings(order.settings, specs)
    options = parse_options(order.options)
    model = source_model(order, store, tell, options)
    inputs, workshop = source_inputs(order, model, store, tell, options)
    workshop = treat_model(workshop, order.treatment)
    planner = Planner(order, workshop.model, store, inputs, workshop, platforms)
    for spec in specs:
        for precision in order.precisions or (spec.default_precision,):
            planner.add(Variant(spec, precision, settings[spec.word]))
    if not any(record["status"] == "failed" for record in planner.stillborn):
        refuse_unused(workshop.options, planner.steps)
    return Plan(tuple(planner.launches), tuple(planner.stillborn), tuple(planner.kept))


def _specs(order: Order, platforms: Sequence[Platform]) -> list[BackendSpec]:
    """Return the backends to run. Raises UsageError for an unknown one, or one not installed."""
    if not order.backends:
        return [spec for spec in registry.backends() if _may_run(spec, platforms)]
    specs = [registry.backend(word) for word in dict.fromkeys(order.backends)]
    for spec in specs:
        if not _may_run(spec, platforms):
            raise UsageError(registry.install_hint(spec))
    return specs


def _may_run(spec: BackendSpec, platforms: Sequence[Platform]) -> bool:
    """Tell whether a backend's framework is here, or may be where one of the platforms runs."""
    own = Platform("").python
    foreign = [platform for platform in platforms if platform.python != own]
    return registry.is_available(spec) or any(p.offers(spec.modules) for p in foreign)


def _check_precisions(precisions: Sequence[str]) -> None:
    for precision in precisions:
        if precision not in PRECISIONS:
            raise UsageError(
                f"There is no precision '{precision}'. Known: {', '.join(PRECISIONS)}."
            )


@dataclass
class Planner:
    """Collects the runs of an order, numbered in the order in which they are added."""

    order: Order
    model: Model
    store: Store
    inputs: InputSet
    workshop: Workshop
    platforms: Sequence[Platform]
    launches: list[Launch] = field(default_factory=list)
    stillborn: list[Record] = field(default_factory=list)
    kept: list[Record] = field(default_factory=list)
    steps: list[Record] = field(default_factory=list)
    """Everything that was converted for these runs."""
    exposed: dict[str, list[Record]] = field(default_factory=dict)
    """Digests of artifacts to the layers that saturating kernels overflow in."""
    serial: Iterator[int] = field(default_factory=itertools.count)
    began: str = field(default_factory=lambda: _stamp())

    def add(self, variant: Variant) -> None:
        """Add the runs of one backend in one precision, on all platforms."""
        spec, precision = variant.spec, variant.precision
        if precision not in spec.formats:
            reason = spec.lacks.get(precision, "the framework does not have it")
            message = f"Backend '{spec.word}' has no {precision}: {reason}"
            self._give_up(variant, "skipped", "plan", "unsupported", message)
            return
        try:
            artifact = read_artifact(self.workshop.make(spec.formats[precision]).folder)
            worker = worker_file(spec, self.store)
        except MissingPackages as error:
            self._give_up(variant, "skipped", "convert", "not-installed", str(error))
        except (ConversionError, ModelError, PluginError) as error:
            self._give_up(variant, "failed", "convert", type(error).__name__, str(error))
        else:
            self._check_taps(artifact)
            self.steps += artifact.manifest["steps"]
            self._expose(spec, artifact)
            self._launch(variant, artifact, worker)
            self._leave_out(variant)

    def _expose(self, spec: BackendSpec, artifact: Artifact) -> None:
        """Find the layers that a backend's kernels may overflow in, and say so once."""
        if not spec.saturating or artifact.digest in self.exposed or not artifact.quantized:
            return
        from xbackend.preparation.saturation import (  # NumPy, which most runs do not need
            of_artifact,
            warning,
        )

        exposed = of_artifact(artifact.folder)
        self.exposed[artifact.digest] = [exposure.document() for exposure in exposed]
        if exposed:
            self.workshop.tell(warning(self.model.name, spec.saturating, exposed))

    def _check_taps(self, artifact: Artifact) -> None:
        names = tuple(layer.tap for layer in artifact.layers)
        if self.order.taps in ("layers", "outputs") or not names:
            return
        if not wanted_taps(self.order.taps, names):
            raise UsageError(
                f"'--taps {self.order.taps}' matches none of the model's {len(names)} values, "
                f"such as {', '.join(names[:3])}."
            )

    def _launch(self, variant: Variant, artifact: Artifact, worker: Path) -> None:
        samples = self.inputs.samples(artifact.inputs)
        digests = {"inputs": self.inputs.digest, "artifact": artifact.digest, "worker": worker.stem}
        for platform, threads, repeat in self._grid(variant.spec):
            settings = {**variant.settings, "threads": threads}
            chosen = self._chosen(samples, platform)
            job = Job(
                backend=variant.spec.word,
                adapter=variant.spec.adapter,
                environment=_environment(variant.spec, settings),
                artifact=str(artifact.folder.absolute()),
                settings={**settings, "precision": variant.precision},
                samples=chosen,
                taps=self._taps(variant, artifact),
                store=str(self.store.folder.absolute()),
                missing=registry.install_hint(variant.spec),
                emulator=platform.emulator,
                machine=platform.machine,
            )
            some = {} if len(chosen) == len(samples) else {"samples": str(len(chosen))}
            key = run_key(variant.spec, job, platform, {**digests, **some}, repeat)
            repeatable = not (self.order.fresh or platform.carrier)
            known = self.store.recall(key) if repeatable else None
            if known is not None:
                self.kept.append(known)
                continue
            record = self._record(variant, platform, threads, repeat)
            record["artifact"] = {"digest": artifact.digest, "format": artifact.format}
            record["conversion"] = kind(artifact.manifest["steps"])
            saturating = variant.spec.saturating
            record["saturation"] = self.exposed.get(artifact.digest, []) if saturating else []
            record["layers"] = [vars(layer) for layer in artifact.layers]
            record["worker"] = worker.name
            self.launches.append(Launch(record, job, platform, worker, key, variant.spec))

    def _taps(self, variant: Variant, artifact: Artifact) -> str:
        """Return the taps that are wanted; where emulation may spoil outputs, what vouches."""
        rules = [rule for word in self.order.vouched for rule in registry.backend(word).unfaithful]
        if not rules or not any(platform.emulator for platform in self.platforms):
            return self.order.taps
        names = witnesses([vars(layer) for layer in artifact.layers], rules, variant.precision)
        return ",".join(re.sub(r"[,*?[]", "?", name) for name in names) or self.order.taps

    def _chosen(self, samples: tuple[Sample, ...], platform: Platform) -> tuple[Sample, ...]:
        """Return the samples that run on a platform: under emulation perhaps only some."""
        emulated = platform.emulator or platform.machine
        return samples[: self.order.emulated_samples or None] if emulated else samples

    def _give_up(
        self, variant: Variant, status: str, stage: str, symptom: str, message: str
    ) -> None:
        """Record the runs of a variant that cannot be started."""
        error = {"stage": stage, "symptom": symptom, "message": message}
        for platform in self.platforms:
            self._bury(variant, platform, status, error)

    def _bury(self, variant: Variant, platform: Platform, status: str, error: Record) -> None:
        record = self._record(variant, platform, self.order.threads[0], 0)
        self.stillborn.append({**record, "status": status, "error": error})

    def _leave_out(self, variant: Variant) -> None:
        """Record that a backend is skipped on the platforms that are known not to have it."""
        for platform in self.platforms:
            if not platform.offers(variant.spec.modules):
                needs = " or ".join(variant.spec.modules)
                message = f"The set-up of '{platform.spec}' does not hold {needs}."
                error = {"stage": "plan", "symptom": "not-installed", "message": message}
                self._bury(variant, platform, "skipped", error)

    def _grid(self, spec: BackendSpec) -> Iterator[tuple[Platform, int, int]]:
        platforms = [platform for platform in self.platforms if platform.offers(spec.modules)]
        return itertools.product(platforms, self.order.threads, range(self.order.repeats))

    def _record(self, variant: Variant, platform: Platform, threads: int, repeat: int) -> Record:
        """Return all keys of a run's record, as they are before it ran."""
        word = variant.spec.word
        return {
            "schema_version": 1,
            "id": f"{self.began}-{next(self.serial):04d}-{word}",
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "xbackend": VERSION,
            "model": {
                "name": self.model.name,
                "digest": self.model.digest,
                "source": self.model.source,
            },
            "inputs_digest": self.inputs.digest,
            "backend": word,
            "backend_version": None,
            "precision": variant.precision,
            "settings": {**variant.settings, "threads": threads},
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
        }


def _environment(spec: BackendSpec, settings: Mapping[str, SettingValue]) -> dict[str, str]:
    """Return variables to set before the framework is loaded: the spec's own, and of settings."""
    own = {
        name: text.format(threads=settings["threads"]) for name, text in spec.environment.items()
    }
    chosen = {
        each.variable: str(settings[each.key])
        for each in spec.settings
        if each.variable and settings[each.key] != each.default
    }
    return {**own, **chosen}


def _stamp() -> str:
    """Return when a plan was made, to the microsecond, and a few random digits: a prefix of ids."""
    now = time.time()
    clock = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now))
    return f"{clock}.{int(now * 1e6) % 1000000:06d}-{os.urandom(2).hex()}"

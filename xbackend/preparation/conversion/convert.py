"""From a model's file to what a backend eats: finds the arrows, runs them, keeps what they give."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbackend.errors import ConversionError, ModelError, StoreError
from xbackend.plugins import registry
from xbackend.plugins.installed import importable, version
from xbackend.preparation.conversion.export_notes import code_and_state_digest
from xbackend.preparation.model import CALLABLE, Model
from xbackend.store.artifact_files import discard, file_fault, file_rows, sync_artifact
from xbackend.store.files import is_digest, open_plain
from xbackend.store.store import MAX_SMALL, Store
from xbackend.worker.artifact import MANIFEST, read_artifact
from xbackend.worker.objects import sync_file

if TYPE_CHECKING:
    from xbackend.plugins.converter import ConverterSpec

HUB_FILE = "onnx"
"""The format of a file that holds the ONNX graph."""

WITHOUT_HUB = frozenset({"tflite", "keras", "h5", "savedmodel"})
"""Formats of files that lead to TensorFlow Lite by a way of their own."""

HUB = "graph"
"""The prepared format whose values name the taps of every backend."""


class MissingPackages(ConversionError):
    """No way leads from the model to the format with the packages that are installed."""


@dataclass(frozen=True)
class ConversionStep:
    """One arrow of a way, and which source it starts from."""

    converter: ConverterSpec
    source: str
    target: str


@dataclass(frozen=True)
class ConvertedModel:
    """One converted model in the store."""

    folder: Path
    digest: str
    model: Path
    """The main file."""


@dataclass
class ArtifactBuilder:
    """Converts one model, once for each format, into a store."""

    model: Model
    store: Store
    sample_inputs: Callable[[], Path | None]
    """Gives the .npz of sample inputs, made when a converter asks for it first."""
    inputs_digest: str
    """SHA-256 of the sample inputs."""
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Converter's name to its options."""
    log: Callable[[str], None] = lambda message: None
    """Told what is being converted."""
    built: dict[str, ConvertedModel] = field(default_factory=dict)
    no_hub: list[str] = field(default_factory=list)
    """Why there is no ONNX graph of a model that runs without one, once that is known."""

    def build(self, target: str) -> ConvertedModel:
        """Return the model in a format, converted if it is not in the store yet.

        Raises MissingPackages where a package is missing, ModelError or ConversionError where
        the model cannot be converted.
        """
        if target == HUB and self.no_hub:
            raise ModelError(self.no_hub[0])
        made = self.kept(target)
        if made is None:
            made = self.built[target] = self._convert_by_path(target, self._cache_entry(target))
        return made

    def kept(self, target: str) -> ConvertedModel | None:
        """Return the model in a format that it has or was converted to before, None for others.

        No converter is imported for it.
        """
        if target in self.model.files and not self._must_reconvert(target):
            path = self.model.files[target]
            return ConvertedModel(path.parent, self.model.digests[target], path)
        if target not in self.built and (found := self._cached(self._cache_entry(target))):
            self.built[target] = found
        return self.built.get(target)

    def _convert_by_path(self, target: str, memo: Path) -> ConvertedModel:
        step = find_conversion_path(set(self.model.files) - {target}, target)[-1]
        made = self._convert(step, self.build(step.source))
        self.store.write_file(memo, made.digest.encode())
        return made

    def _must_reconvert(self, target: str) -> bool:
        """Tell whether a format that the model ships is to be made again, with options."""
        if not self.options or len(self.model.files) == 1:
            return False
        specs = (spec for spec in registry.converters() if spec.name in self.options)
        reached = (target for spec in specs for _, target in spec.conversions)
        return target in reached

    def _cached(self, memo: Path) -> ConvertedModel | None:
        """Return what was made under the same circumstances, without importing a converter."""
        try:
            digest = self.store.read_file(memo, MAX_SMALL).decode("ascii")
        except (OSError, ValueError, StoreError):
            return None
        return self._kept(self.store.folder / "artifacts" / digest) if is_digest(digest) else None

    def _kept(self, folder: Path) -> ConvertedModel | None:
        """Return an artifact of the store, None where it is to be made anew."""
        if not os.path.lexists(folder):
            return None
        made = _read_converted(folder)
        fault = file_fault(folder)
        if not fault:
            return made
        self.log(f"{fault}; the artifact is made again")
        discard(folder)
        return None

    def _cache_entry(self, target: str) -> Path:
        """Return the file that remembers which artifact these circumstances gave."""
        key = {
            "model": self.model.digests,
            "target": target,
            "options": {name: dict(options) for name, options in self.options.items()},
            "inputs": self.inputs_digest,
            "installed": registry.converters_digest(),
        }
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.store.folder / "artifacts" / "made" / digest

    def hub(self) -> ConvertedModel | None:
        """Return the model's ONNX graph, None where no installed converter leads to it.

        What TensorFlow Lite runs without one runs under its own names where it cannot become one.
        """
        if self.no_hub:
            return None
        try:
            return self.build(HUB)
        except MissingPackages:
            return None
        except (ConversionError, ModelError) as error:
            if not WITHOUT_HUB & self.model.files.keys() or HUB_FILE in self.model.files:
                raise
            self.no_hub.append(str(error))
            self.log(f"{self.model.name} runs without an ONNX graph, under its own names: {error}")
            return None

    def _convert(self, step: ConversionStep, source: ConvertedModel) -> ConvertedModel:
        hub = self.hub() if step.converter.takes_hub else None
        key = self._key(step, source, hub)
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        folder = self.store.folder / "artifacts" / digest
        kept = self._kept(folder)
        if kept is not None:
            return kept
        self._run(step, source, hub, key, folder)
        return _read_converted(folder)

    def _key(
        self, step: ConversionStep, source: ConvertedModel, hub: ConvertedModel | None
    ) -> dict[str, Any]:
        """Return all that decides what the step gives."""
        converter = step.converter
        return {
            "converter": converter.name,
            "revision": converter.revision,
            "from": step.source,
            "to": step.target,
            "source": source.digest,
            "packages": {name: version(name) for name in converter.distributions},
            "options": self._options(step),
            "inputs": self.inputs_digest if converter.takes_inputs else None,
            "hub": hub.digest if hub else None,
        }

    def _options(self, step: ConversionStep) -> dict[str, Any]:
        concerned = step.converter.options_for
        if concerned and step.target not in concerned:
            return {}
        return dict(self.options.get(step.converter.name, {}))

    def resolved_model(self) -> Model:
        """Return the model, or for a `module:callable` the ONNX file that it makes now.

        What a function makes depends on more than its source: other modules, files of weights, a
        seed. So it is called each time, and what comes out is what identifies the model.
        """
        if CALLABLE not in self.model.files:
            return self.model
        (step,) = find_conversion_path({CALLABLE}, "onnx")
        source = self.build(CALLABLE)
        made = _read_converted(self._run(step, source, None, self._key(step, source, None), None))
        digest, steps = onnx_digest(made.model), read_artifact(made.folder).manifest["steps"]
        return replace(
            self.model,
            digest=digest,
            files={**self.model.files, "onnx": made.model},
            digests={CALLABLE: code_and_state_digest(steps, source.digest), "onnx": digest},
        )

    def _run(
        self,
        step: ConversionStep,
        source: ConvertedModel,
        hub: ConvertedModel | None,
        key: dict[str, Any],
        folder: Path | None,
    ) -> Path:
        """Run a converter in a process of its own and move what it wrote into place.

        Without a folder it is named by what came out, too. Returns the folder.
        """
        import shutil

        from xbackend.plugins.converter import ConversionRequest
        from xbackend.preparation.conversion.launch import run_converter

        self.log(f"converting {step.source} to {step.target} ({self.model.name})")
        artifacts = self.store.folder / "artifacts"
        scratch = _scratch(artifacts)
        try:
            request = ConversionRequest(
                source=source.model,
                source_format=step.source,
                target_format=step.target,
                output=scratch,
                inputs=self.sample_inputs() if step.converter.takes_inputs else None,
                hub=hub.folder if hub else None,
                options=key["options"],
            )
            result = run_converter(step.converter, request)
            if folder is None:
                text = json.dumps([key, onnx_digest(scratch / result["model"])], sort_keys=True)
                folder = artifacts / hashlib.sha256(text.encode()).hexdigest()
            manifest = self._manifest(step, source, key, folder.name, result)
            manifest["files"] = file_rows(scratch)
            (scratch / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
            _publish(scratch, folder)
        except OSError as error:
            raise _cannot_write(folder or artifacts, error) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return folder

    def _manifest(
        self,
        step: ConversionStep,
        source: ConvertedModel,
        key: dict[str, Any],
        digest: str,
        result: dict[str, Any],
    ) -> dict[str, Any]:
        """Return `artifact.json`: the interface, and every step from the source to here."""
        before: list[dict[str, Any]] = []
        if (source.folder / MANIFEST).is_file():
            text = (source.folder / MANIFEST).read_text(encoding="utf-8")
            before = json.loads(text).get("steps", [])
        this = {**key, "weights": result["weights"], "notes": result["notes"]}
        this["sandbox"] = result.get("sandbox")
        return {
            "schema_version": 1,
            "format": step.target,
            "digest": digest,
            "model": result["model"],
            "source": {"name": self.model.name, "digest": self.model.digest},
            "inputs": result["inputs"],
            "outputs": result["outputs"],
            "layers": result["layers"],
            "steps": [*before, this],
        }


def onnx_digest(path: Path) -> str:
    """Return the SHA-256 of an ONNX file without its comments, in which exporters name places."""
    import onnx

    model = onnx.load(path)
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    model.ClearField("metadata_props")
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def _scratch(artifacts: Path) -> Path:
    """Make a folder beside the artifacts that no other process or thread writes to."""
    import tempfile

    try:
        return Path(tempfile.mkdtemp(suffix=".tmp", prefix=".", dir=artifacts))
    except OSError as error:
        raise _cannot_write(artifacts, error) from error


def _cannot_write(folder: Path, error: OSError) -> StoreError:
    return StoreError(
        f"Cannot write {folder}: {error.strerror or error}. Free space or permissions there, or "
        "name another store with --store."
    )


def _read_converted(folder: Path) -> ConvertedModel:
    """Return what an artifact's folder holds. Raises StoreError where that is damaged."""
    try:
        open_plain(folder / MANIFEST, folder.parent).close()
        artifact = read_artifact(folder)
        main = artifact.manifest["model"]
        if Path(main).name != main or artifact.digest != folder.name:
            raise ValueError
        return ConvertedModel(folder, folder.name, folder / main)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(
            f"{folder / MANIFEST} is damaged. Remove the folder {folder}, and it is made again."
        ) from error


def _publish(scratch: Path, folder: Path) -> None:
    """Rename a finished folder into place; another process may have been faster."""
    try:
        scratch.chmod(0o755)
        sync_artifact(scratch)
        scratch.rename(folder)
        sync_file(str(folder.parent))
    except OSError:
        if not os.path.lexists(folder):
            raise
        if file_fault(folder):
            discard(folder)
            scratch.rename(folder)
            sync_file(str(folder.parent))


def find_conversion_path(sources: set[str], target: str) -> list[ConversionStep]:
    """Return the shortest way of installed converters from any of the formats to the target.

    Raises MissingPackages, which names what to install, where a way exists but is not installed;
    ConversionError where no converter leads there.
    """
    specs = registry.converters()
    usable = [spec for spec in specs if all(importable(module) for module in spec.modules)]
    way = _search(sources, target, usable)
    if way is not None:
        return way
    known = ", ".join(sorted(sources))
    complete = _search(sources, target, specs)
    if complete is None:
        raise ConversionError(f"No converter leads from {known} to {target}.")
    step = next(step for step in complete if step.converter not in usable)
    missing = [module for module in step.converter.modules if not importable(module)]
    raise MissingPackages(
        f"Converting {step.source} to {step.target} needs {' and '.join(missing)}. "
        f"Install it with: pip install 'xbackend[{step.converter.extra}]'"
    )


def _search(
    sources: set[str], target: str, specs: list[ConverterSpec]
) -> list[ConversionStep] | None:
    """Search breadth first, in the order of the sources' names."""
    ways: dict[str, list[ConversionStep]] = {source: [] for source in sorted(sources)}
    queue = deque(ways)
    while queue:
        here = queue.popleft()
        if here == target:
            return ways[here]
        for spec in specs:
            for source, reached in spec.conversions:
                if source == here and reached not in ways:
                    ways[reached] = [*ways[here], ConversionStep(spec, source, reached)]
                    queue.append(reached)
    return None

"""What `xbackend run`, `compare` and `convert` do."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbackend.errors import UsageError
from xbackend.store.store import Store, open_store
from xbackend.worker.contract import GRAPH, SOURCE

if TYPE_CHECKING:
    from xbackend.comparison.comparison import Comparison
    from xbackend.execution.execute import ExecutionContext
    from xbackend.execution.progress import ProgressLines
    from xbackend.execution.request import RunRequest
    from xbackend.preparation.conversion import ArtifactBuilder, ConvertedModel

Record = dict[str, Any]


def run(options: argparse.Namespace) -> int:
    """Run a model; exit status 3 if a run failed."""
    from xbackend.execution.execute import execute
    from xbackend.execution.progress import progress

    request, store = _run_request(options), open_store(options.store)
    with progress(sys.stderr) as display:
        records = execute(request, execution_context(options, store, display))
    print(json.dumps(records) if options.json else run_summary(records, store))
    if not options.json and (sentences := export_text(records, store)):
        print(sentences)
    return 3 if any(record["status"] == "failed" for record in records) else 0


def flags(options: argparse.Namespace) -> int:
    """Print which properties of platforms go with the classes, or which of them make them."""
    from xbackend.commands import blame, causes
    from xbackend.execution.progress import progress
    from xbackend.execution.request import RunRequest

    store = open_store(options.store)
    if not options.ablate:
        _refuse_without_ablation(options)
        return blame.correlate(options, store)
    with progress(sys.stderr) as display:
        request = RunRequest(
            model=options.model or RunRequest.model,
            backends=comma_separated(options.backends),
            platforms=(options.start,),
            precisions=(options.precision,) if options.precision else (),
            threads=(positive_integer("--threads", options.threads),),
            settings=tuple(options.set or ()),
        )
        return causes.run_ablation(options, request, execution_context(options, store, display))


def _refuse_without_ablation(options: argparse.Namespace) -> None:
    """Raise UsageError for an option that would have no effect on a table of what is there."""
    for name in ("only", "precision", "backends", "set"):
        if getattr(options, name):
            raise UsageError(
                f"'--{name}' is for --ablate. Choose among the runs of a store with --where, such "
                "as --where backend=ort."
            )


def execution_context(
    options: argparse.Namespace, store: Store, display: ProgressLines
) -> ExecutionContext:
    """Return what `add_execution_options` read. Raises UsageError for what cannot be."""
    from xbackend.execution.execute import ExecutionContext

    if not options.timeout > 0:
        raise UsageError(f"'--timeout {options.timeout:g}' must be more than 0 seconds.")
    cores = len(os.sched_getaffinity(0))
    jobs = positive_integer("--jobs", cores if options.jobs is None else options.jobs)
    return ExecutionContext(store, jobs, options.timeout, display)


def request_from_options(options: argparse.Namespace) -> RunRequest:
    """Return what every command orders that runs a model: which, by whom, where, and how."""
    from xbackend.execution.request import RunRequest

    return RunRequest(
        model=RunRequest.model if options.model is None else options.model,
        backends=comma_separated(options.backends),
        platforms=tuple(options.platform or RunRequest.platforms),
        inputs=Path(options.inputs) if options.inputs else None,
        threads=tuple(
            positive_integer("--threads", word)
            for word in comma_separated(options.threads) or ("",)
        ),
        settings=tuple(options.set or ()),
    )


def _run_request(options: argparse.Namespace) -> RunRequest:
    return dataclasses.replace(
        request_from_options(options),
        precisions=comma_separated(options.precision),
        taps=options.taps,
        options=tuple(options.option or ()),
        repeats=positive_integer("--repeats", options.repeats),
        fresh=options.fresh,
        sources=True,
        allow_nonfinite=options.allow_nonfinite,
    )


def comma_separated(text: str | None) -> tuple[str, ...]:
    """Return the words of a list with commas, each once."""
    return tuple(dict.fromkeys(word.strip() for word in (text or "").split(",") if word.strip()))


def positive_integer(option: str, value: int | str) -> int:
    """Return the number that an option takes. Raises UsageError for any below 1."""
    try:
        number = int(value)
    except ValueError:
        number = 0
    if number < 1:
        raise UsageError(f"'{option} {value}' must be a whole number from 1 on.")
    return number


def run_summary(records: Sequence[Record], store: Store) -> str:
    """Return one line for each run: what ran where, how it ended, which bits came out.

    The bits are the first eight digits of the SHA-256 of each sample's first output.
    """
    rows = [
        (
            record["backend"],
            record["precision"],
            record["platform"],
            f"{record['settings']['threads']} thread{'s'[: record['settings']['threads'] > 1]}",
            record["status"],
            _outcome(record),
        )
        for record in records
    ]
    widths = [max(len(str(row[column])) for row in rows) for column in range(5)] if rows else []
    lines = [
        "  ".join(
            [*(str(cell).ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]]
        )
        for row in rows
    ]
    done = sum(record["status"] == "ok" for record in records)
    lines.append(f"{done} of {len(records)} runs are in {store.folder}; next: xbackend compare")
    return "\n".join(lines)


def export_text(records: Sequence[Record], store: Store) -> str:
    """Return what these runs tell of a model's export, nothing where its source was not run."""
    if not any(record["settings"].get(GRAPH) == SOURCE for record in records):
        return ""
    from xbackend.comparison.comparison import compare_runs
    from xbackend.plugins import registry
    from xbackend.store.records import read_run

    return registry.report("export")(compare_runs(store, [read_run(each) for each in records]))


def _outcome(record: Record) -> str:
    if record["status"] != "ok":
        return str(record["error"]["message"])
    shown = [row["outputs"][0]["digest"][:8] for row in record["results"][:3] if row["outputs"]]
    more = len(record["results"]) - 3
    note = f"  ({record['error']['message']})" if record["error"] else ""
    return " ".join(shown) + (f" and {more} more" if more > 0 else "") + note


def compare(options: argparse.Namespace) -> int:
    """Compare the runs of a store; exit status 1 if a threshold is missed."""
    from xbackend.comparison import comparison

    write_result = report_writer(options.format, options.output)
    store = open_store(options.store)
    result = comparison.compare(
        store,
        model=options.model,
        where=options.where or (),
        group_by=comma_separated(options.group_by),
    )
    write_result(_with_diagnosis(result, options, store))
    failures = comparison.threshold_failures(result, options.fail_under, options.max_eqcs)
    for sentence in failures:
        print(f"xbackend: {sentence}", file=sys.stderr)
    return 1 if failures else 0


def _with_diagnosis(result: Comparison, options: argparse.Namespace, store: Store) -> Comparison:
    """Add to a comparison what workers have to be started for, if that is asked for."""
    if options.reference is None and options.isolate is None:
        return result
    from xbackend.diagnosis.isolation_pairs import isolate_all
    from xbackend.diagnosis.reference import parse_reference
    from xbackend.diagnosis.reference_comparison import compare_with_reference
    from xbackend.execution.progress import progress

    truth = options.reference is not None
    backends = parse_reference(options.reference) if truth else ()
    with progress(sys.stderr) as display:
        given = execution_context(options, store, display)
        result = compare_with_reference(result, given, backends) if truth else result
        if options.isolate is None:
            return result
        return isolate_all(result, options.isolate, given, truth, backends)


def report_writer(name: str, output: str | None) -> Callable[[Comparison], None]:
    """Return what writes a report, or draws it where the file's suffix is a plot's."""
    from xbackend.commands.cores import SUFFIXES
    from xbackend.plugins import registry

    render = registry.report(name)
    if output is None or not output.lower().endswith(SUFFIXES):
        return lambda result: write_report(output, render(result))
    drawn = sorted(set(registry.report_formats()) & set(registry.plots()))
    if name not in drawn:
        raise UsageError(
            f"The report '{name}' cannot be drawn into {output}. Reports that can: "
            f"{', '.join(drawn)}."
        )
    draw, path = registry.plot(name), Path(output)
    return lambda result: draw(result, path)


def write_report(output: str | None, text: str) -> None:
    """Write a report to a file, or to standard output. Raises UsageError."""
    text = text if text.endswith("\n") else text + "\n"
    if output is None:
        sys.stdout.write(text)
        return
    try:
        Path(output).write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"Cannot write {output}: {error.strerror or error}.") from error


def convert(options: argparse.Namespace) -> int:
    """Convert a model into files, and print which weights kept their bits."""
    from xbackend.execution.progress import progress
    from xbackend.execution.request import RunRequest
    from xbackend.execution.source import conversion_builder
    from xbackend.preparation.converter_options import parse_options, reject_unused_options

    targets = comma_separated(options.to)
    if not targets:
        raise UsageError("'--to' needs a format, such as --to onnx,tflite.")
    _check_formats(targets)
    store = open_store(options.store)
    folder = Path(options.output)
    with progress(sys.stderr) as display:
        request = RunRequest(options.model, inputs=Path(options.inputs) if options.inputs else None)
        chosen = parse_options(options.option or ())
        builder: ArtifactBuilder = conversion_builder(request, store, display.log, chosen)
        made = [(target, builder.build(target)) for target in targets]
        reject_unused_options(chosen, _steps(each for _, each in made))
        for target in targets:
            _warn_of_saturation(builder, target, display.log)
    for target, artifact in made:
        name = _file_name(builder.model.name, target, artifact.model)
        path = _copy(artifact.model, folder / name, options.force)
        print(f"{path}: {_weights_text(artifact.folder)}")
    return 0


def _steps(made: Iterable[ConvertedModel]) -> list[Record]:
    """Return everything that was converted."""
    folders = [each.folder for each in made if (each.folder / "artifact.json").is_file()]
    return [step for folder in folders for step in read_conversion_steps(folder)]


def read_conversion_steps(folder: Path) -> list[Record]:
    """Read what an artifact went through from the source to its format."""
    manifest = json.loads((folder / "artifact.json").read_text(encoding="utf-8"))
    steps: list[Record] = manifest["steps"]
    return steps


def _warn_of_saturation(builder: ArtifactBuilder, target: str, log: Callable[[str], None]) -> None:
    """Say which layers of an ONNX file in int8 saturating kernels overflow in."""
    from xbackend.plugins import registry
    from xbackend.preparation.saturation import artifact_saturation_risks, saturation_warning

    spec = next((s for s in registry.backends() if s.saturation_warning), None)
    if target != "onnx-int8" or spec is None:
        return
    exposed = artifact_saturation_risks(builder.build(spec.formats["int8"]).folder)
    if exposed:
        log(saturation_warning(builder.model.name, spec.saturation_warning, exposed))


def _check_formats(targets: Sequence[str]) -> None:
    """Refuse a format that no converter writes; the prepared ones are no files of the user's."""
    from xbackend.plugins import registry

    reached = {target for spec in registry.converters() for _, target in spec.conversions}
    known = sorted(
        name for name in reached if name.partition("-")[0] not in ("graph", "flat", "source")
    )
    for target in targets:
        if target not in known:
            raise UsageError(
                f"No converter writes the format '{target}'. Formats: {', '.join(known)}."
            )


def _file_name(model: str, target: str, source: Path) -> str:
    """Return a name such as `model.int8.onnx`: what distinguishes the target, then its suffix."""
    kind, _, precision = target.partition("-")
    return ".".join([model, *([precision] if precision else []), source.suffix.lstrip(".") or kind])


def _copy(source: Path, target: Path, force: bool) -> Path:
    """Copy a converted file, and the weights beside it. Raises UsageError where one is there."""
    if target.exists() and not force:
        raise UsageError(f"{target} is there already. Pass --force to overwrite it.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        for data in source.parent.glob(f"{source.stem}.data"):
            shutil.copyfile(data, target.parent / data.name)
    except OSError as error:
        raise UsageError(f"Cannot write {target}: {error.strerror or error}.") from error
    return target


def _weights_text(folder: Path) -> str:
    """Return a sentence on the weights that kept their bits in all steps."""
    manifest = folder / "artifact.json"
    if not manifest.is_file():
        return "shipped with the model, or the source itself"
    parts = []
    for step in read_conversion_steps(folder):
        same, changed = step["weights"]["identical"], step["weights"]["changed"]
        text = f"{step['converter']} kept the bits of {len(same)} of {len(same) + len(changed)}"
        shown = ", ".join(changed[:3]) + (", …" if len(changed) > 3 else "")
        parts.append(f"{text} weights" + (f" (changed: {shown})" if changed else ""))
    return "; ".join(parts)

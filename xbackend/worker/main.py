"""The worker: reads a job on standard input, runs it, answers in JSON lines on standard output.

Lines are `{"stage": …}` when a stage begins, `{"partial": {…}}` with what is known so far, and
last `{"result": {…}}`. What a framework prints goes to standard error instead.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import select
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional, TextIO

from xbackend.worker.contract import GRAPH, SOURCE, Unsupported, load_adapter
from xbackend.worker.job import Job, Sample, read_job, wanted_taps
from xbackend.worker.machine import fingerprint
from xbackend.worker.sandbox import confine
from xbackend.worker.scratch import Scratch, make_scratch, variables

if TYPE_CHECKING:
    from xbackend.worker.artifact import Artifact
    from xbackend.worker.contract import Backend, Session
    from xbackend.worker.tensor import Tensor

Record = Dict[str, Any]


class ReplyStream:
    """The way back to the coordinator, which remembers the stage that the worker is in."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.stage = "start"

    def send(self, **message: Any) -> None:
        """Write one line."""
        self.stream.write(json.dumps(message) + "\n")
        self.stream.flush()

    def enter(self, stage: str) -> None:
        """Say that a stage begins, so that a crash can be told by where it happened."""
        self.stage = stage
        self.send(stage=stage)


DRAWING = frozenset(
    "Bernoulli Dropout Multinomial RandomNormal RandomNormalLike RandomUniform "
    "RandomUniformLike".split()
)
"""Operators that draw random numbers; Dropout does in training mode."""

ABANDONED = 70
"""The exit status of a worker that nobody listens to any more."""


def exit_on_hangup(descriptor: int) -> None:
    """End this process as soon as nobody reads what it says, whatever it is doing.

    A worker on another machine learns of Ctrl-C, a time limit or a lost connection by that alone.
    The thread that waits for it sleeps in the kernel.
    """

    def wait() -> None:
        poll = select.poll()
        poll.register(descriptor, 0)  # that it was closed is told whether or not it is asked for
        poll.poll()
        os._exit(ABANDONED)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Run the job on standard input and leave at once, without the frameworks' slow farewell."""
    channel = ReplyStream(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    faulthandler.enable()
    job = read_job(sys.stdin.read())
    for name, value in job.environment.items():
        os.environ[name] = value
    scratch = make_scratch(os.path.join(job.store, "scratch")) if job.sandbox else None
    sandbox = _enter_sandbox(job, scratch) if job.sandbox else None
    exit_on_hangup(channel.stream.fileno())  # a thread, which a sandbox would not hold
    hardware, software = fingerprint.hardware(), fingerprint.software()
    software["sandbox"] = sandbox
    channel.send(partial={"hardware": hardware, "software": software})
    result = _mislabelled(job, hardware) or execute(job, channel)
    channel.send(result={**result, **_loaded_components(result, hardware, software)})
    if scratch:
        scratch.remove()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _enter_sandbox(job: Job, scratch: Optional[Scratch]) -> Record:
    """Keep this process to the store's objects and its scratch folder, before a model is read."""
    objects = os.path.join(job.store, "objects")
    try:
        os.makedirs(objects, exist_ok=True)
    except OSError:
        pass  # saving tells it at its stage
    if scratch is None:
        return confine([objects], job.memory)
    os.environ.update(variables(scratch.path))
    return confine([objects, scratch.path], job.memory, os.path.dirname(scratch.path))


def _loaded_components(result: Record, hardware: Record, software: Record) -> Record:
    """Return what is known of libraries and GPUs once a job is done."""
    if result["status"] != "ok":
        return {}
    found = fingerprint.loaded_components()
    return {
        "hardware": {**hardware, **found["gpu"]},
        "software": {**software, "libraries": found["libraries"]},
        "versions": {
            **result["versions"],
            **_library_versions(found["versions"], result["versions"]),
        },
    }


def _library_versions(found: Dict[str, str], told: Dict[str, str]) -> Dict[str, str]:
    """Return the versions that the framework itself did not tell."""
    return {name: version for name, version in found.items() if name not in told}


def _mislabelled(job: Job, hardware: Record) -> Record | None:
    """Return a failure if the platform's label says emulated and this process is not, or None.

    A program that an emulated one starts runs on the real processor, silently.
    """
    emulated = not job.emulator or hardware["hypervisor"] == job.emulator
    if emulated and (not job.machine or hardware["machine"] == job.machine):
        return None
    message = (
        f"The platform is an emulated processor, but this worker runs on {hardware['device']}. "
        "Give Python itself, not a script or launcher that starts it."
    )
    return _failure("failed", "start", "not-emulated", message)


def execute(job: Job, channel: ReplyStream) -> Record:
    """Run a job and return its part of the run's record; failures are told, never raised."""
    try:
        return {"status": "ok", "error": None, **_run(job, channel)}
    except Unsupported as error:
        return _failure("skipped", channel.stage, "unsupported", str(error))
    except ImportError as error:
        return _failure("failed", channel.stage, "not-installed", f"{job.missing} ({error})")
    except Exception as error:  # whatever a framework raises is a symptom to record
        import traceback

        traceback.print_exc()
        return _failure("failed", channel.stage, type(error).__name__, _sentence(error))


def _run(job: Job, channel: ReplyStream) -> Record:
    channel.enter("import")
    backend = load_adapter(job.adapter, importlib.import_module)
    from xbackend.worker.artifact import read_artifact

    channel.send(partial=_versions(job, backend))
    channel.enter("prepare")
    artifact = read_artifact(Path(job.artifact))
    with backend.prepare(artifact, job.settings) as session:
        channel.send(partial=_versions(job, backend))  # a setting may have chosen another package
        rows = [_infer(sample, artifact, session, job, channel) for sample in job.samples]
        channel.send(partial={"results": rows})
        outcome = _tap_all(rows, artifact, session, job, channel)
        facts = session.facts()  # of what is recorded, not of what is repeated
        facts = {**facts, **_repeat(rows, artifact, session, job, channel)}
        return {**outcome, "results": rows, "facts": facts, **_versions(job, backend)}


def _versions(job: Job, backend: Backend) -> Record:
    import numpy

    versions = backend.versions()
    return {
        "backend_version": versions.get(job.backend, "unknown"),
        "versions": {**versions, "numpy": numpy.__version__},
    }


def _infer(
    sample: Sample, artifact: Artifact, session: Session, job: Job, channel: ReplyStream
) -> Record:
    """Run one sample with nothing watching; its outputs are the run's."""
    from xbackend.worker.objects import write_tensor

    channel.enter("inference")
    inputs = read_inputs(sample, artifact)
    started = time.perf_counter()
    outputs = session.run(inputs)
    seconds = time.perf_counter() - started
    channel.enter("save")
    return {
        "input": sample.name,
        "seconds": seconds,
        "inputs": [{"name": n, **write_tensor(job.store, t)} for n, t in inputs.items()],
        "outputs": [{"name": n, **write_tensor(job.store, t)} for n, t in outputs.items()],
        "taps": [],
        "taps_neutral": None,
    }


def read_inputs(sample: Sample, artifact: Artifact) -> Dict[str, Tensor]:
    """Read a sample's tensors and round them to the formats that the artifact takes."""
    import numpy

    from xbackend.worker.tensor import cast, from_numpy

    tensors = {}
    for value in artifact.inputs:
        where = sample.inputs[value.name]
        rows = numpy.load(where.file, mmap_mode="r", allow_pickle=False)[where.start : where.stop]
        array = numpy.array(rows[0] if where.drop_axis else rows)
        tensors[value.name] = cast(from_numpy(array), value.dtype)
    return tensors


def _tap_all(
    rows: List[Record], artifact: Artifact, session: Session, job: Job, channel: ReplyStream
) -> Record:
    """Run every sample again with taps, and say whether that changed the outputs' bits."""
    wanted = wanted_taps(job.taps, session.taps)
    if not wanted:
        return {"taps_neutral": None}
    try:
        for sample, row in zip(job.samples, rows):
            _tap(sample, row, wanted, artifact, session, job, channel)
    except Exception as error:  # the outputs stand, whatever became of the taps
        message = f"The outputs were computed, the taps were not: {_sentence(error)}"
        failure = {"stage": channel.stage, "symptom": type(error).__name__, "message": message}
        return {"taps_neutral": None, "error": failure}
    return {"taps_neutral": all(row["taps_neutral"] is not False for row in rows)}


def _tap(
    sample: Sample,
    row: Record,
    wanted: List[str],
    artifact: Artifact,
    session: Session,
    job: Job,
    channel: ReplyStream,
) -> None:
    """Fill in one sample's taps; an output's is the untapped one, compared with the tapped."""
    from xbackend.worker.objects import write_tensor
    from xbackend.worker.subgraphs import is_wanted

    channel.enter("taps")
    outputs = {output["name"]: output for output in row["outputs"]}
    asked = set(wanted)
    neutral = True
    for name, tensor in session.tap(read_inputs(sample, artifact), [*wanted, *outputs]):
        if name in outputs:
            neutral = neutral and tensor.record() == _bits(outputs[name])
        if is_wanted(name, asked):
            row["taps"].append(
                outputs.get(name) or {"name": name, **write_tensor(job.store, tensor)}
            )
    row["taps_neutral"] = neutral


def _repeat(
    rows: List[Record], artifact: Artifact, session: Session, job: Job, channel: ReplyStream
) -> Record:
    """Infer samples once more with nothing watching, where the session may draw random numbers.

    These are samples whose outputs are others with taps, which the taps may have done or not; and
    the first one of a model that has operators which draw, or may, as its source has.
    """
    asked = [place for place, row in enumerate(rows) if row["taps_neutral"] is False]
    if not asked and (job.settings.get(GRAPH) == SOURCE or _may_draw(artifact)):
        asked = [*range(len(rows))][:1]
    if not asked:
        return {}
    channel.enter("repeat")
    try:
        other = sum(_gives_other_bits(rows[n], job.samples[n], artifact, session) for n in asked)
    except Exception:  # the outputs stand, whatever became of their repeat
        return {}
    return {"repeated": {"samples": len(asked), "other_bits": other}}


def _may_draw(artifact: Artifact) -> bool:
    """Tell whether a graph has an operator that draws random numbers, or does in training."""
    return any(layer.operator in DRAWING for layer in artifact.layers)


def _gives_other_bits(row: Record, sample: Sample, artifact: Artifact, session: Session) -> bool:
    """Tell whether inferring a sample again gives other outputs."""
    before = {output["name"]: _bits(output) for output in row["outputs"]}
    again = session.run(read_inputs(sample, artifact))
    return {name: tensor.record() for name, tensor in again.items()} != before


def _bits(record: Record) -> Record:
    return {key: record[key] for key in ("dtype", "shape", "digest")}


def _failure(status: str, stage: str, symptom: str, message: str) -> Record:
    error = {"stage": stage, "symptom": symptom, "message": message}
    return {"status": status, "error": error}


def _sentence(error: BaseException) -> str:
    """Return the first line of what an exception says, or its kind where it says nothing.

    A line that ends in a colon says nothing without the next.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    count = next((place for place, line in enumerate(lines, 1) if not line.endswith(":")), 1)
    return " ".join(lines[:count])[:500] if lines else type(error).__name__

"""Runs a model that was made from a run's, just as that run was: backend, settings, platform."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbackend.diagnosis.cut_graph import TensorType
from xbackend.errors import UsageError
from xbackend.execution.execute import ExecutionContext
from xbackend.execution.plan import BackendConfig, Plan, Planner
from xbackend.execution.request import RunRequest
from xbackend.execution.workers.launcher import run_workers
from xbackend.platforms.trust import followed_platform
from xbackend.plugins import registry
from xbackend.preparation.conversion.convert import ArtifactBuilder
from xbackend.preparation.inputs import stacked_inputs
from xbackend.preparation.model import Model, file_digest
from xbackend.store.artifact_files import artifact_folder
from xbackend.store.records import Record, Run, read_run
from xbackend.store.store import Store
from xbackend.worker.artifact import ValueInfo, read_artifact
from xbackend.worker.tensor import Tensor, cast

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Array = np.ndarray[Any, Any]

RERUN_FOLDER = "annex"
"""Folder of a store for runs of models that were made from its runs; it shares their objects."""
FLAT = ("flat", "tflite")
SOURCE = "source"
InputRecords = Mapping[str, Record]
"""Tensors of a store by the name of the model's input: dtype, shape and digest."""


@dataclass(frozen=True)
class RerunRequest:
    """A model to run the way a run was."""

    template: Run
    model: onnx.ModelProto
    """In the precision of that run's own artifact."""
    samples: Sequence[InputRecords]
    taps: str = "outputs"


def rerun_store(store: Store) -> Store:
    """Return the store for such runs, made if it is not there.

    What is compared are runs of the user's own models only, so these lie apart.
    """
    other = Store(store.folder / RERUN_FOLDER)
    other.folder.mkdir(parents=True, exist_ok=True)
    objects = other.folder / "objects"
    if not objects.exists():
        objects.symlink_to(Path("..") / "objects")
    other.create()
    return other


def onnx_path(run: Run, store: Store) -> Path:
    """Return the ONNX file that a run computed. Raises UsageError where there is none."""
    artifact = run.row.get("artifact") or {}
    if str(artifact.get("format")).startswith(FLAT):
        raise UsageError(
            f"Run {run.id} computed a flat graph of TensorFlow Lite, which fuses nodes of the ONNX "
            "graph when it is converted, so its layers cannot be taken apart one by one. Compare "
            "runs of ort, tf or torch."
        )
    if str(artifact.get("format")).startswith(SOURCE):
        raise UsageError(
            f"Run {run.id} computed the model's own source, which has no nodes of ONNX that could "
            "be taken apart. Name the run of its exported graph (graph=onnx)."
        )
    if not artifact:
        raise UsageError(
            f"Run {run.id} was imported, and its graph was not: nothing of it can be computed "
            "again here. Name runs that 'xbackend run' made."
        )
    digest = str(artifact.get("digest"))
    if not (store.folder / "artifacts" / digest / "model.onnx").is_file():
        raise UsageError(
            f"The graph that run {run.id} computed is no longer in {store.folder}. Run the model "
            "again."
        )
    return artifact_folder(store, digest) / "model.onnx"


def recorded_types(run: Run) -> dict[str, TensorType]:
    """Return the dtype and shape of every tensor of a run's first sample, inputs among them."""
    result = run.results[0]
    rows = [*result.get("inputs", ()), *result["taps"], *result["outputs"]]
    return {str(row["name"]): TensorType(row["dtype"], tuple(row["shape"])) for row in rows}


def rerun(replays: Iterable[RerunRequest], context: ExecutionContext) -> list[Run]:
    """Run models, several at once, each the way its run was; return these runs in that order.

    The caller looks at whether they are ok. One that the annex has already is not repeated.
    """
    store = rerun_store(context.store)
    plans = [_plan(one, store, context) for one in replays]
    launches = [launch for plan in plans for launch in plan.launches]
    context.display.start(len(launches), {})
    ended = run_workers(
        launches,
        store,
        context.jobs,
        context.timeout,
        context.display.on_start,
        context.display.on_end,
    )
    records = {str(record["id"]): record for record in ended}
    return [read_run(_record(plan, records)) for plan in plans]


def _record(plan: Plan, ended: Mapping[str, Record]) -> Record:
    """Return the one record of a plan for one run."""
    told = (ended[str(launch.record["id"])] for launch in plan.launches)
    return [*plan.not_started, *plan.cached, *told][0]


def _plan(one: RerunRequest, store: Store, context: ExecutionContext) -> Plan:
    row = one.template.row
    spec = registry.backend(str(row["backend"]))
    if spec.modules and not registry.is_available(spec) and "python:" not in str(row["platform"]):
        raise UsageError(registry.install_hint(spec))
    settings = {key: value for key, value in row["settings"].items() if key != "threads"}
    config = BackendConfig(spec, str(row["precision"]), settings)
    request = RunRequest(
        model=str(row["model"]),
        platforms=(str(row["platform"]),),
        threads=(int(row["settings"]["threads"]),),
        taps=one.taps,
    )
    platforms = [followed_platform(text, context.trust_platforms) for text in request.platforms]
    model = _model(one, store)
    builder = ArtifactBuilder(model, store, lambda: None, "", {}, context.display.log)
    artifact = read_artifact(builder.build(spec.formats[config.precision]).folder)
    inputs = stacked_inputs(_arrays(one, artifact.inputs, store), store)
    builder = dataclasses.replace(builder, inputs_digest=inputs.digest)
    planner = Planner(request, model, store, inputs, builder, platforms)
    planner.add(config)
    return Plan(tuple(planner.launches), tuple(planner.not_started), tuple(planner.cached))


def _model(one: RerunRequest, store: Store) -> Model:
    """Keep the model's file in the annex, as a source in the format of the run's artifact."""
    import hashlib

    data = one.model.SerializeToString(deterministic=True)
    path = store.folder / "models" / f"{hashlib.sha256(data).hexdigest()}.onnx"
    store.write_file(path, data)
    kind = str(one.template.row["artifact"]["format"]).replace("graph", "onnx", 1)
    digest = file_digest(path)
    name = str(one.template.row["model"])
    return Model(name, digest, str(path), {kind: path.resolve()}, digests={kind: digest})


def _arrays(one: RerunRequest, interface: Iterable[ValueInfo], store: Store) -> dict[str, Array]:
    """Return for each input its samples, a new axis 0 counting them; bfloat16 as float32."""
    import numpy as np

    return {
        value.name: np.stack(
            [_held(store.read_tensor(each[value.name])).array for each in one.samples]
        )
        for value in interface
    }


def _held(tensor: Tensor) -> Tensor:
    return cast(tensor, "float32") if tensor.dtype == "bfloat16" else tensor

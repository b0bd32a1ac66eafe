"""Runs a model that was made from a run's, just as that run was: backend, settings, platform."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbackend.diagnosis.cut_graph import TensorType
from xbackend.errors import UsageError
from xbackend.execution.execute import Means
from xbackend.execution.launcher import run_all
from xbackend.execution.plan import Plan, Planner, Variant
from xbackend.execution.request import Order
from xbackend.platforms.parse import parse_platform
from xbackend.plugins import registry
from xbackend.preparation.conversion import Workshop
from xbackend.preparation.inputs import stacked_inputs
from xbackend.preparation.model import Model, file_digest
from xbackend.store.records import Record, Run, read_run
from xbackend.store.store import Store
from xbackend.worker.artifact import ValueInfo, read_artifact
from xbackend.worker.tensor import Tensor, cast

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Array = np.ndarray[Any, Any]

ANNEX = "annex"
"""Folder of a store for runs of models that were made from its runs; it shares their objects."""
FLAT = ("flat", "tflite")
Sample = Mapping[str, Record]
"""Tensors of a store by the name of the model's input: dtype, shape and digest."""


@dataclass(frozen=True)
class Replay:
    """A model to run the way a run was."""

    like: Run
    model: onnx.ModelProto
    """In the precision of that run's own artifact."""
    samples: Sequence[Sample]
    taps: str = "outputs"


def annex(store: Store) -> Store:
    """Return the store for such runs, made if it is not there.

    What is compared are runs of the user's own models only, so these lie apart.
    """
    other = Store(store.folder / ANNEX)
    other.folder.mkdir(parents=True, exist_ok=True)
    objects = other.folder / "objects"
    if not objects.exists():
        objects.symlink_to(Path("..") / "objects")
    other.create()
    return other


def hub(run: Run, store: Store) -> Path:
    """Return the ONNX file that a run computed. Raises UsageError where there is none."""
    artifact = run.row.get("artifact") or {}
    if str(artifact.get("format")).startswith(FLAT):
        raise UsageError(
            f"Run {run.id} computed a flat graph of TensorFlow Lite, which fuses nodes of the ONNX "
            "graph when it is converted, so its layers cannot be taken apart one by one. Compare "
            "runs of ort, tf or torch."
        )
    path = store.folder / "artifacts" / str(artifact.get("digest")) / "model.onnx"
    if not path.is_file():
        raise UsageError(
            f"The graph that run {run.id} computed is no longer in {store.folder}. Run the model "
            "again."
        )
    return path


def known_types(run: Run) -> dict[str, TensorType]:
    """Return the dtype and shape of every tensor of a run's first sample, inputs among them."""
    result = run.results[0]
    rows = [*result.get("inputs", ()), *result["taps"], *result["outputs"]]
    return {str(row["name"]): TensorType(row["dtype"], tuple(row["shape"])) for row in rows}


def replay(replays: Iterable[Replay], means: Means) -> list[Run]:
    """Run models, several at once, each the way its run was; return these runs in that order.

    The caller looks at whether they are ok. One that the annex has already is not repeated.
    """
    store = annex(means.store)
    plans = [_plan(one, store, means.display.tell) for one in replays]
    launches = [launch for plan in plans for launch in plan.launches]
    means.display.start(len(launches), {})
    ended = run_all(
        launches, store, means.jobs, means.timeout, means.display.begun, means.display.ended
    )
    records = {str(record["id"]): record for record in ended}
    return [read_run(_record(plan, records)) for plan in plans]


def _record(plan: Plan, ended: Mapping[str, Record]) -> Record:
    """Return the one record of a plan for one run."""
    told = (ended[str(launch.record["id"])] for launch in plan.launches)
    return [*plan.stillborn, *plan.kept, *told][0]


def _plan(one: Replay, store: Store, tell: Callable[[str], None]) -> Plan:
    row = one.like.row
    spec = registry.backend(str(row["backend"]))
    if spec.modules and not registry.is_available(spec) and "python:" not in str(row["platform"]):
        raise UsageError(registry.install_hint(spec))
    settings = {key: value for key, value in row["settings"].items() if key != "threads"}
    variant = Variant(spec, str(row["precision"]), settings)
    order = Order(
        model=str(row["model"]),
        platforms=(str(row["platform"]),),
        threads=(int(row["settings"]["threads"]),),
        taps=one.taps,
    )
    model = _model(one, store)
    workshop = Workshop(model, store, lambda: None, "", {}, tell)
    artifact = read_artifact(workshop.make(spec.formats[variant.precision]).folder)
    inputs = stacked_inputs(_arrays(one, artifact.inputs, store), store)
    workshop = dataclasses.replace(workshop, inputs_digest=inputs.digest)
    platforms = [parse_platform(text) for text in order.platforms]
    planner = Planner(order, model, store, inputs, workshop, platforms)
    planner.add(variant)
    return Plan(tuple(planner.launches), tuple(planner.stillborn), tuple(planner.kept))


def _model(one: Replay, store: Store) -> Model:
    """Keep the model's file in the annex, as a source in the format of the run's artifact."""
    import hashlib

    data = one.model.SerializeToString(deterministic=True)
    path = store.folder / "models" / f"{hashlib.sha256(data).hexdigest()}.onnx"
    if not path.is_file():
        store.write_file(path, data)
    kind = str(one.like.row["artifact"]["format"]).replace("graph", "onnx", 1)
    digest = file_digest(path)
    name = str(one.like.row["model"])
    return Model(name, digest, str(path), {kind: path.resolve()}, digests={kind: digest})


def _arrays(one: Replay, interface: Iterable[ValueInfo], store: Store) -> dict[str, Array]:
    """Return for each input its samples, a new axis 0 counting them; bfloat16 as float32."""
    import numpy as np

    return {
        value.name: np.stack([_held(store.tensor(each[value.name])).array for each in one.samples])
        for value in interface
    }


def _held(tensor: Tensor) -> Tensor:
    return cast(tensor, "float32") if tensor.dtype == "bfloat16" else tensor

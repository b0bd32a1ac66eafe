"""Runs the models of right values by an ordinary worker, a part at a time, in a store that goes."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xbackend.diagnosis.certification.graph import (
    EvaluationBuilder,
    EvaluationModel,
    GivenTensor,
)
from xbackend.diagnosis.certification.layers import GraphIndex, LayerSubject
from xbackend.diagnosis.cut_graph import TensorType
from xbackend.diagnosis.rerun import RerunRequest, rerun
from xbackend.errors import StoreError, XbackendError
from xbackend.execution.execute import ExecutionContext
from xbackend.numerics.bounds.arithmetic import round_operand
from xbackend.numerics.bounds.bound import COPY, NOTHING, SUM
from xbackend.plugins import registry
from xbackend.store.records import Record, Run
from xbackend.store.store import Store
from xbackend.worker.objects import object_path, write_tensor
from xbackend.worker.tensor import Tensor, cast

if TYPE_CHECKING:
    import onnx

EVALUATORS = ("torch", "tf", "fixed")
"""Backends that compute a graph of mixed formats, the one that is taken by default first."""
PART_BYTES = 1 << 29
"""What the results of one worker take at most, over all samples, unless one layer takes more."""
Rows = Mapping[str, Record]
"""Tensors of a run by name."""
LONGEST_CLAUSE = 100
"""Characters of an error that a reason holds at most."""


@dataclass(frozen=True)
class EvaluationSetting:
    """A graph, what is known of its values, and where its right values are computed."""

    whole: onnx.ModelProto
    index: GraphIndex
    types: Mapping[str, TensorType]
    context: ExecutionContext
    evaluator: str
    """The backend that computes them."""


@dataclass(frozen=True)
class EvaluatedPart:
    """Some layers with their right values, in a store that is gone when the next part comes."""

    subjects: tuple[LayerSubject, ...]
    store: Store
    rows: tuple[Mapping[tuple[str, str], Record], ...]
    """For each sample: by tap or value and what of it, see EvaluationModel."""
    refused: Mapping[str, str]
    """Taps that could not be evaluated, to the reason."""


def evaluator(avoid: str = "") -> str:
    """Return the backend that computes right values, another than one that is to be avoided.

    Raises XbackendError where there is none.
    """
    for word in EVALUATORS:
        if word != avoid and registry.is_available(registry.backend(word)):
            return word
    raise XbackendError(registry.install_hint(registry.backend(EVALUATORS[0])))


def evaluate(
    setting: EvaluationSetting,
    subjects: Sequence[LayerSubject],
    samples: Sequence[Rows],
    forms: Sequence[str] = (),
) -> Iterator[EvaluatedPart]:
    """Yield layers with their right values on each sample, part by part in graph order.

    With forms also those of operands in each of them, by the same worker.
    """
    for part in _parts(setting, subjects, len(samples) * (1 + len(forms))):
        with _scratch(setting.context.store) as store:
            refused: dict[str, str] = {}
            done, rows = _evaluate(setting, part, samples, store, forms, refused)
            yield EvaluatedPart(tuple(done), store, tuple(rows), refused)


def _parts(
    setting: EvaluationSetting, subjects: Sequence[LayerSubject], samples: int
) -> Iterator[list[LayerSubject]]:
    part: list[LayerSubject] = []
    size = 0
    for subject in subjects:
        own = _result_bytes(setting, subject) * samples
        if part and size + own > PART_BYTES:
            yield part
            part, size = [], 0
        part.append(subject)
        size += own
    if part:
        yield part


def _result_bytes(setting: EvaluationSetting, subject: LayerSubject) -> int:
    if subject.local:
        return 0
    elements = math.prod(setting.types[subject.tap].shape)
    wide = {COPY: 4, SUM: 16, NOTHING: 0}
    return elements * wide.get(subject.rule.evaluation, 8)


@contextmanager
def _scratch(store: Store) -> Iterator[Store]:
    """Give a store within the store, which is deleted afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="certify-", dir=store.folder))
    try:
        made = Store(folder)
        made.create()
        yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _evaluate(
    setting: EvaluationSetting,
    subjects: Sequence[LayerSubject],
    samples: Sequence[Rows],
    store: Store,
    forms: Sequence[str],
    refused: dict[str, str],
) -> tuple[list[LayerSubject], list[dict[tuple[str, str], Record]]]:
    """Evaluate layers; those that cannot be are found by halving, and refused with the reason."""
    nothing: list[dict[tuple[str, str], Record]] = [{} for _ in samples]
    builder = EvaluationBuilder(setting.whole, setting.index, setting.types)
    written = []
    for subject in subjects:
        try:
            for form in ("", *(() if subject.local else forms)):
                builder.add(subject, form)
            written.append(subject)
        except LookupError as error:
            refused[subject.tap] = str(error.args[0])
    made = builder.built()
    if not made.outputs:
        return written, nothing
    try:
        return written, _run(made, samples, store, setting)
    except StoreError:
        raise  # nothing that fewer layers would mend
    except XbackendError as error:
        if len(written) == 1:
            refused[written[0].tap] = refusal(setting.evaluator, str(error))
            return [], nothing
    middle = len(written) // 2
    done: list[LayerSubject] = []
    for half in (written[:middle], written[middle:]):
        more, rows = _evaluate(setting, half, samples, store, forms, refused)
        done += more
        for row, new in zip(nothing, rows, strict=True):
            row.update(new)
    return done, nothing


def refusal(backend: str, message: str) -> str:
    """Return in one clause why a layer was not evaluated, without names of files and digests.

    >>> refusal("torch", "torch has no function for Foo: install another. See the docs.")
    'torch cannot compute its right values (torch has no function for Foo)'
    >>> refusal("torch", "/tmp/certify-x/objects/ab/cd is damaged")
    'torch cannot compute its right values'
    """
    clause = re.split(r"[:;\n]|\.(?:\s|$)", message.strip(), maxsplit=1)[0].strip()
    hides = re.search(r"[/\\]|[0-9a-f]{12}", clause) or not 0 < len(clause) <= LONGEST_CLAUSE
    why = "" if hides else f" ({clause})"
    return f"{backend} cannot compute its right values{why}"


def _run(
    made: EvaluationModel, samples: Sequence[Rows], store: Store, setting: EvaluationSetting
) -> list[dict[tuple[str, str], Record]]:
    """Run a model on each sample, on those with the same tensors once."""
    context = setting.context
    given = [_given(made, rows, context.store, store) for rows in samples]
    keys = ["".join(str(row["digest"]) for row in each.values()) for each in given]
    once = dict(zip(keys, given, strict=True))
    inner = dataclasses.replace(context, store=store)
    (run,) = rerun(
        [RerunRequest(_template(setting.evaluator), made.model, list(once.values()))], inner
    )
    if not run.ok:
        raise XbackendError(str((run.row["error"] or {}).get("message", "it gave no output.")))
    names = {shown: key for key, shown in made.outputs.items()}
    found = {
        key: {names[str(row["name"])]: row for row in result["outputs"]}
        for key, result in zip(once, run.results, strict=True)
    }
    return [found[key] for key in keys]


def _template(word: str) -> Run:
    """Return what tells how to run: natively, in one thread, with the backend's own settings."""
    spec = registry.backend(word)
    row = {
        "model": "certificate",
        "backend": word,
        "precision": "float32",
        "settings": {**spec.defaults(), "threads": 1},
        "platform": "native",
        "artifact": {"format": "graph"},
    }
    return Run(row, (), ())


def _given(made: EvaluationModel, rows: Rows, source: Store, store: Store) -> dict[str, Record]:
    return {
        name: _borrowed(rows[each.value], each, source, store) for name, each in made.given.items()
    }


def _borrowed(row: Record, given: GivenTensor, source: Store, store: Store) -> Record:
    """Have a tensor of a run in another store too: the same file, or rounded to fewer bits."""
    if given.bits:
        tensor = source.read_tensor(row)
        values = cast(tensor, "float32").array if tensor.dtype == "bfloat16" else tensor.array
        rounded = round_operand(values, given.bits, given.truncates).astype("float32")
        return write_tensor(str(store.folder), Tensor("float32", rounded))
    path = Path(object_path(str(store.folder), str(row["digest"])))
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _share(source.object_path(str(row["digest"])), path)
    return row


def _share(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system has none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)

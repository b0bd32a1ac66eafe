"""One file of the published study: a prediction, its repeats, and the machine that made it."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from xbackend.numerics.floats import FORMATS
from xbackend.worker.tensor import Tensor, from_bytes, storage_dtype

from .cpuinfo import hardware

Record = dict[str, Any]

MAX_BYTES = 64 << 20
"""The study's largest file has less than one of these 64 MiB."""
MAX_REPEATS = 1000
"""The study has twenty at most."""

GENERATIONS = (
    ("9", "Hopper"), ("8.9", "Ada"), ("8", "Ampere"), ("7.5", "Turing"), ("7", "Volta"),
    ("6", "Pascal"), ("5", "Maxwell"), ("3", "Kepler"),
)  # fmt: skip
"""The beginning of NVIDIA's compute capability, and the microarchitecture (CUDA C++ Programming
Guide, table of compute capabilities)."""


class InvalidResult(Exception):
    """A file that cannot be taken; the text says why."""


@dataclass(frozen=True)
class ResultFile:
    """What a file holds."""

    prediction: Tensor
    repeats: tuple[Tensor, ...]
    """Further inferences of the same input, without the prediction itself."""
    model: str | None
    kind: str
    """`cpu` or `gpu`."""
    hardware: Record
    python: str | None
    batched: bool | None
    """What the file calls `batch_dissemination`."""
    remarks: tuple[str, ...]
    """What is missing or odd, though it takes nothing from the bits."""


def read(path: Path) -> ResultFile:
    """Read a file, trusting nothing in it. Raises InvalidResult."""
    document = _document(path)
    prediction = _tensor(_part(document, "prediction"), "prediction")
    repeats, remark = _repeats(document, prediction)
    cpu = document.get("cpu_info")
    info = cpu if isinstance(cpu, dict) else {}
    kind, device = _device(document.get("device"))
    memory = _memory(document)
    told = {**hardware(info), **({"memory_bytes": memory} if memory else {})}
    missing = _missing(document, info, memory)
    batched, model = document.get("batch_dissemination"), document.get("model_type")
    python = info.get("python_version")
    return ResultFile(
        prediction=prediction,
        repeats=repeats,
        model=model if isinstance(model, str) and model else None,
        kind=kind,
        hardware={**device, "host": told} if kind == "gpu" else told,
        python=python.partition(".final")[0] if isinstance(python, str) else None,
        batched=batched if isinstance(batched, bool) else None,
        remarks=(*remark, *(f"without '{word}'" for word in missing)),
    )


def _missing(document: Record, info: Record, memory: int) -> list[str]:
    """Return the names of the fields that are not there, though the run is whole without them."""
    parts = ("vendor_id_raw", "brand_raw", "count", "flags") if info else ()
    fields = {
        "model_type": document.get("model_type"),
        "cpu_info": info,
        **{f"cpu_info.{part}": info.get(part) for part in parts},
        "memory": memory,
    }
    return [name for name, value in fields.items() if not value]


def _document(path: Path) -> Record:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidResult(f"it is larger than {MAX_BYTES >> 20} MiB")
        document: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise InvalidResult(f"it cannot be read: {error.strerror or error}") from error
    except RecursionError:
        raise InvalidResult("it is not sound JSON: it is nested too deeply") from None
    except ValueError as error:
        raise InvalidResult(f"it is not sound JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidResult("it is not a JSON object")
    return document


def _part(document: Mapping[str, Any], key: str) -> Record:
    value = document.get(key)
    if not isinstance(value, dict):
        raise InvalidResult(f"it has no '{key}' with bytes, dtype and shape")
    return value


def _tensor(row: Record, where: str) -> Tensor:
    """Return an output, with an axis for the batch if it has none."""
    dtype, shape, data = _format(row, where), _shape(row, where), _bytes(row, where)
    needs = prod(shape) * storage_dtype(dtype).itemsize
    if len(data) != needs:
        raise InvalidResult(f"'{where}' has {len(data)} bytes; {dtype} {list(shape)} has {needs}")
    return from_bytes(dtype, (1, *shape) if len(shape) == 1 else shape, data)


def _format(row: Record, where: str) -> str:
    dtype = row.get("dtype")
    if not isinstance(dtype, str) or dtype not in FORMATS:
        raise InvalidResult(
            f"'{where}' has dtype {dtype!r:.60}, which is none of {', '.join(FORMATS)}"
        )
    return dtype


def _shape(row: Record, where: str) -> tuple[int, ...]:
    shape = row.get("shape")
    if not isinstance(shape, list) or not 1 <= len(shape) <= 16:
        raise InvalidResult(f"'{where}' has no shape")
    if not all(isinstance(extent, int) and extent is not True and extent > 0 for extent in shape):
        raise InvalidResult(
            f"'{where}' has shape {str(shape)[:60]}, which is not made of whole numbers"
        )
    return tuple(shape)


def _bytes(row: Record, where: str) -> bytes:
    text = row.get("bytes")
    if not isinstance(text, str):
        raise InvalidResult(f"'{where}' has no bytes")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidResult(f"the bytes of '{where}' are not base64: {error}") from error


def _repeats(document: Record, prediction: Tensor) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Return the inferences besides the prediction, and what is odd about them.

    The prediction is one of them, and the study's `count` says how many are like it.
    """
    if document.get("all_predictions") is None:
        return (), ()
    every = _every(document["all_predictions"], prediction)
    wanted = prediction.data()
    same = [place for place, each in enumerate(every) if each.data() == wanted]
    count = document.get("count")
    if not same:
        return tuple(every), ("with a prediction that is none of all_predictions",)
    rest = tuple(each for place, each in enumerate(every) if place != same[0])
    if count is not None and count != len(same):
        odd = f"with {str(count)[:20]} equal predictions counted, where {len(same)} are"
        return rest, (odd,)
    return rest, ()


def _every(given: Any, prediction: Tensor) -> list[Tensor]:
    """Return all inferences: one array with an axis for them in front, or a list of arrays."""
    where = "all_predictions"
    if isinstance(given, list) and given and all(isinstance(each, dict) for each in given):
        _check_number(len(given))
        tensors = [_tensor(each, where) for each in given]
    elif isinstance(given, dict):
        tensors = _split(given, where)
    else:
        raise InvalidResult("'all_predictions' is neither an array nor a list of them")
    for tensor in tensors:
        if (tensor.dtype, tensor.shape) != (prediction.dtype, prediction.shape):
            raise InvalidResult(
                f"'all_predictions' has {tensor.dtype} {list(tensor.shape)}, 'prediction' "
                f"{prediction.dtype} {list(prediction.shape)}"
            )
    return tensors


def _split(row: Record, where: str) -> list[Tensor]:
    shape = _shape(row, where)
    if len(shape) < 2:
        raise InvalidResult(f"'{where}' has shape {list(shape)}, without an axis for the repeats")
    _check_number(shape[0])
    whole = _tensor(row, where)
    inner = (1, *shape[1:]) if len(shape) == 2 else shape[1:]
    return [Tensor(whole.dtype, part.reshape(inner)) for part in whole.array]


def _check_number(count: int) -> None:
    if count > MAX_REPEATS:
        raise InvalidResult(f"'all_predictions' has {count} repeats, more than {MAX_REPEATS}")


def _device(device: Any) -> tuple[str, Record]:
    """Return what computed: `cpu`, or `gpu` and what is told of it."""
    row = device if isinstance(device, dict) else {}
    if row.get("device_type") != "GPU":
        return "cpu", {}
    described = row.get("physical_description")
    told = described if isinstance(described, dict) else {}
    capability = str(told.get("compute capability") or "")
    name = next((name for start, name in GENERATIONS if capability.startswith(start)), "unknown")
    limit = row.get("memory_limit")
    return "gpu", {
        "vendor": "NVIDIA",
        "device": str(told.get("name") or "unknown").removeprefix("NVIDIA "),
        "microarchitecture": name,
        "memory_bytes": limit if isinstance(limit, int) else None,
        "flags": [],
    }


def _memory(document: Record) -> int:
    memory = document.get("memory")
    total = memory.get("total") if isinstance(memory, dict) else None
    return total if isinstance(total, int) and total > 0 else 0

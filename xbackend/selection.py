"""Which runs of a store are compared: reading them, filters, and the keys to group them by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from xbackend.errors import StoreError, UsageError
from xbackend.packing import Packed
from xbackend.store import Store

Record = dict[str, Any]

HARDWARE: Record = {
    "vendor": None,
    "device": None,
    "microarchitecture": None,
    "cores": None,
    "memory_bytes": None,
    "flags": [],
}
"""What is told of the hardware of a run whose worker never said any."""

EXTRAS = (
    "created", "xbackend", "software", "versions", "artifact", "worker", "inputs_digest", "facts",
    "conversion", "saturation", "emulation_unsafe", "emulation_reasons",
)  # fmt: skip
"""Keys of a record that are told as they are, if it has them."""


@dataclass(frozen=True)
class Run:
    """One run: what a comparison tells of it, and the digests that it is compared by."""

    row: Record
    """The keys of the contract and more, JSON values only."""
    layers: tuple[Record, ...]
    """`tap`, `layer`, `operator` and `inputs` of every ONNX value, in graph order."""
    results: Sequence[Record]
    """One for each sample: `input`, `outputs`, `taps`, `taps_neutral`."""

    @property
    def id(self) -> str:
        """The name of its record."""
        return str(self.row["id"])

    @property
    def ok(self) -> bool:
        """Whether it gave outputs that can be compared."""
        return bool(self.row["status"] == "ok" and self.results)

    @property
    def samples(self) -> tuple[str, ...]:
        """The names of its samples."""
        if isinstance(self.results, Packed):
            return self.results.template.names
        return tuple(str(result["input"]) for result in self.results)

    @cached_property
    def unsafe(self) -> frozenset[str]:
        """Names of the tensors whose bits are an emulator's, perhaps not a real processor's."""
        return frozenset(self.row.get("emulation_unsafe") or ())

    @property
    def conversion(self) -> Record:
        """What converters were told, as a key of a group; nothing where they were told nothing."""
        told = self.row.get("conversion")
        return {"conversion": told} if told else {}

    @property
    def inputs_digest(self) -> str:
        """What tells sets of inputs apart; by the tensors where the record does not say."""
        digest = self.row.get("inputs_digest")
        if digest is not None:
            return str(digest)
        tensors = (tensor for result in self.results for tensor in result.get("inputs", ()))
        return " ".join(str(tensor["digest"]) for tensor in tensors)


@dataclass(frozen=True)
class Query:
    """What `xbackend compare` is asked for."""

    model: str | None = None
    """Name, source or beginning of the digest of the model; None for every model."""
    where: tuple[str, ...] = ()
    """Texts `KEY=VALUE`: one of the values for each key that is named, all of the keys."""
    group_by: tuple[str, ...] = ()
    """Keys in which the runs of a group must agree, besides model and precision."""


def select(store: Store, query: Query) -> list[Run]:
    """Return the runs that a query asks for, in the store's order.

    Raises UsageError where the store is empty, a key is unknown or nothing is left.
    """
    from xbackend.index import read_runs

    runs = read_runs(store)
    if not runs:
        raise UsageError(
            f"The store at {store.folder} holds no runs. Make some with 'xbackend run', or name "
            "another store with --store."
        )
    wanted = _parse_where(query.where)
    check_keys([*wanted, *query.group_by], runs)
    chosen = [run for run in runs if _is_of_model(run, query.model) and _matches(run, wanted)]
    if not chosen:
        raise UsageError(_nothing_left(query, runs))
    return chosen


def read_run(record: Record) -> Run:
    """Take what a comparison needs from a record. Raises StoreError for one that lacks a key."""
    try:
        row = {
            "id": record["id"],
            "model": record["model"]["name"],
            "model_digest": record["model"]["digest"],
            "model_source": record["model"].get("source"),
            **{key: record[key] for key in ("backend", "backend_version", "precision")},
            **{key: record[key] for key in ("settings", "platform", "repeat")},
            "hardware": {**HARDWARE, **record["hardware"]},
            **{key: record[key] for key in ("status", "error", "seconds", "taps_neutral")},
            **{key: record[key] for key in EXTRAS if key in record},
        }
        layers, results = tuple(record["layers"]), tuple(record["results"])
        _check_rows(layers, results)
        return Run(_finite(row), layers, results)
    except KeyError as error:
        raise _unsound(record, f"lacks {error}") from error
    except (TypeError, AttributeError) as error:
        raise _unsound(record, f"is damaged ({error})") from error


def _unsound(record: Record, what: str) -> StoreError:
    return StoreError(
        f"The record of run {record.get('id', 'without id')} {what}: "
        "delete it from the store's runs/ and run again."
    )


def _check_rows(layers: Sequence[Record], results: Sequence[Record]) -> None:
    """Raise KeyError or TypeError where a row lacks what a comparison looks up in it."""
    for layer in layers:
        _ = layer["tap"], layer["layer"], layer["operator"]
    for result in results:
        _ = result["input"]
        for tensor in (*result["outputs"], *result["taps"]):
            _ = tensor["name"], tensor["dtype"], tensor["shape"], tensor["digest"]


def _finite(value: Any) -> Any:
    """Return JSON values with null for the numbers that JSON cannot write."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def value_of(run: Run, key: str) -> Any:
    """Return what a run has under a dotted key such as `settings.threads`, None if nothing.

    >>> value_of(Run({"settings": {"threads": 1}}, (), ()), "settings.threads")
    1
    """
    return _dig(run.row, key)


def _dig(row: Mapping[str, Any], key: str) -> Any:
    """Return the leaf under a dotted key, whose parts may hold dots themselves."""
    if key in row:
        return None if isinstance(row[key], Mapping) else row[key]
    heads = (head for head in row if key.startswith(f"{head}."))
    inner = [(row[head], key[len(head) + 1 :]) for head in heads if isinstance(row[head], Mapping)]
    return next((found for each, rest in inner if (found := _dig(each, rest)) is not None), None)


def leaves(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every dotted key and its value; a list is a value.

    >>> list(leaves({"a": {"b": 1, "c": [2]}}))
    [('a.b', 1), ('a.c', [2])]
    """
    for key, value in row.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def check_keys(keys: Iterable[str], runs: Sequence[Run]) -> None:
    """Raise UsageError, which names the known ones, for a key that no run has."""
    asked = list(keys)
    known = {key for run in runs for key, _ in leaves(run.row)} if asked else set()
    for key in asked:
        if key not in known:
            shown = sorted(each for each in known if not each.startswith("facts."))
            raise UsageError(f"No run has the key '{key}'. Known keys: {', '.join(shown)}.")


def _parse_where(texts: Sequence[str]) -> dict[str, set[str]]:
    wanted: dict[str, set[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"'--where {text}' is not of the form KEY=VALUE.")
        wanted.setdefault(key, set()).add(value.lower())
    return wanted


def _is_of_model(run: Run, model: str | None) -> bool:
    if model is None or model in (run.row["model"], run.row["model_source"]):
        return True
    return len(model) >= 6 and str(run.row["model_digest"]).startswith(model)


def _matches(run: Run, wanted: Mapping[str, set[str]]) -> bool:
    return all(values & _texts(value_of(run, key)) for key, values in wanted.items())


def _texts(value: Any) -> set[str]:
    """Return how a value may be written: `true` or `True`, a flag of a list, `null`."""
    if isinstance(value, list):
        return {str(item).lower() for item in value}
    return {"null", "none"} if value is None else {str(value).lower()}


def _nothing_left(query: Query, runs: Sequence[Run]) -> str:
    asked = [f"--model {query.model}"] if query.model is not None else []
    asked += [f"--where {text}" for text in query.where]
    models = ", ".join(dict.fromkeys(str(run.row["model"]) for run in runs))
    return (
        f"None of the store's {len(runs)} runs matches {' '.join(asked)}. "
        f"Models in the store: {models}; leave a filter out to see more."
    )

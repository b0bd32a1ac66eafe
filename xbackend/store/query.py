"""Which runs of a store are compared: reading them, filters, and the keys to group them by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xbackend.errors import StoreError, UsageError, did_you_mean
from xbackend.store.index import read_runs
from xbackend.store.records import Run
from xbackend.store.store import Store


@dataclass(frozen=True)
class Query:
    """What `xbackend compare` is asked for."""

    model: str | None = None
    """Name, source or beginning of the digest of the model; None for every model."""
    where: tuple[str, ...] = ()
    """Texts `KEY=VALUE`: one of the values for each key that is named, all of the keys."""
    group_by: tuple[str, ...] = ()
    """Keys in which the runs of a group must agree, besides model and precision."""
    helpers: bool = False
    """Whether runs that commands made for their own questions are among them, see `Run.purpose`;
    they are, too, where `where` names the key `purpose`."""


FEW_VALUES = 12
"""So many values of a key are listed where a filter names none of them."""


def select(store: Store, query: Query, damaged: list[StoreError] | None = None) -> list[Run]:
    """Return the runs that a query asks for, in the store's order.

    Records that are not sound are left out, and what is wrong with them is added to `damaged`;
    without such a list the first is raised. Raises UsageError where the store is empty, a key is
    unknown or nothing is left.
    """
    runs = read_runs(store, damaged)
    if damaged and not runs:
        raise damaged[0]
    if not runs:
        raise UsageError(
            f"The store at {store.folder} holds no runs. Make some with 'xbackend run', or name "
            "another store with --store."
        )
    return filter_runs(runs, query)


def filter_runs(runs: Sequence[Run], query: Query) -> list[Run]:
    """Return those of some runs that a query asks for.

    Raises UsageError where a key is unknown or nothing is left.
    """
    wanted = _parse_where(query.where)
    check_keys([*wanted, *query.group_by], runs)
    found = [run for run in runs if _is_of_model(run, query.model) and _matches(run, wanted)]
    own = [run for run in found if not run.purpose]
    chosen = found if query.helpers or "purpose" in wanted else own
    if not chosen:
        raise UsageError(_nothing_left(query, runs, len(found)))
    return chosen


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
            near = did_you_mean(key, shown, {_last(each): each for each in shown})
            listed = near or f" Known keys: {', '.join(shown)}."
            raise UsageError(f"No run has the key '{key}'.{listed}")


def _last(key: str) -> str:
    """Return the last part of a key, by which it is meant where people leave out the others.

    >>> _last("settings.threads")
    'threads'
    """
    return key.rpartition(".")[2]


def _parse_where(texts: Iterable[str]) -> dict[str, set[str]]:
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


def _nothing_left(query: Query, runs: Sequence[Run], helpers: int) -> str:
    asked = [f"--model {query.model}"] if query.model is not None else []
    asked += [f"--where {text}" for text in query.where]
    if helpers:
        return (
            f"All {helpers} runs that match were made by commands such as mitigate for their own "
            "questions. Compare them with --helpers."
        )
    names = list(dict.fromkeys(str(run.row["model"]) for run in runs))
    near = "" if query.model is None else did_you_mean(query.model, names)
    return (
        f"None of the store's {len(runs)} run{'s'[: len(runs) != 1]} matches {' '.join(asked)}. "
        f"Models in the store: {', '.join(names)}; leave a filter out to see more."
        f"{near or _nearest_value(query.where, runs)}"
    )


def _nearest_value(where: Iterable[str], runs: Sequence[Run]) -> str:
    """Return what the first filter may mean that no run keeps, or the few values that there are."""
    for key, asked in _parse_where(where).items():
        values = sorted({text for run in runs for text in _texts(value_of(run, key))})
        if not asked & set(values):
            return did_you_mean(next(iter(asked)), values) or (
                f" Values of {key}: {', '.join(values)}." if len(values) <= FEW_VALUES else ""
            )
    return ""

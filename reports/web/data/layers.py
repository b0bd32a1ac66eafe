"""What the page's charts and its panel on a layer are drawn from: numbers of the JSON report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from xbackend.numerics.floats import FORMATS

from ...wording.formatting import printable
from .kernels import kernels
from .river import river

Record = dict[str, Any]
NUMBERS = (
    "eqc_count", "remaining_precision", "max_ulp", "max_abs", "deviating_fraction", "not_finite",
    "classes_born", "classes_collapsed", "born_by_emulation",
)  # fmt: skip
"""Keys of an entry of `comparisons` that are told of each layer, in this order."""
MOST_LAYERS = 2000
"""With more layers than these only such as differ, and the outputs, are in the page."""


def cohorts_data(document: Record, names: Sequence[str]) -> list[Record]:
    """Return for each section of the JSON report what the page's scripts need of it.

    `names` are what the report's runs are called.
    """
    place = {run["id"]: at for at, run in enumerate(document["runs"])}
    found: dict[str, list[Record]] = {_key(each): [] for each in document["sections"]}
    for entry in document["comparisons"]:
        found[_key(entry)].append(entry)
    cohorts = []
    for section in document["sections"]:
        cohort = _cohort(section, found[_key(section)], place)
        runs = [document["runs"][at] for at in cohort["runs"]]
        taps = [tap["name"] for tap in cohort["taps"]]
        told = kernels(runs, [names[at] for at in cohort["runs"]], taps)
        cohorts.append({**cohort, "kernels": told})
    return cohorts


def _key(entry: Record) -> str:
    return json.dumps([entry["group"], entry["model"], entry["inputs_digest"]], sort_keys=True)


def _cohort(section: Record, entries: Sequence[Record], place: Mapping[str, int]) -> Record:
    names = [str(name) for name in section["inputs"]]
    taps: dict[str, Record] = {}
    for entry in entries:
        taps.setdefault(entry["tap"], entry)
    chosen, left_out = _chosen(taps, entries)
    by_input: dict[str, dict[str, Record]] = {name: {} for name in names}
    for entry in entries:
        by_input[entry["input"]][entry["tap"]] = entry
    runs = section["runs"]
    end = {name: at for at, ids in enumerate(section["eqcs"]) for name in ids}
    homes = [end[name] for name in runs]
    formats = [FORMATS.get(taps[name]["dtype"]) for name in chosen]
    bits = [layout.mantissa_bits for layout in formats if layout is not None]
    return {
        "runs": [place[name] for name in runs],
        "homes": homes,
        "leaders": [runs.index(ids[0]) for ids in section["eqcs"]],
        "bits": bits[-1] if bits else None,
        "inputs": [printable(name) for name in names],
        "taps": [_tap(taps[name]) for name in chosen],
        "left_out": left_out,
        "samples": [_sample(by_input[name], chosen, runs, homes) for name in names],
    }


def _chosen(taps: Mapping[str, Record], entries: Sequence[Record]) -> tuple[list[str], int]:
    """Return the tensors that are shown, in graph order, and how many are not."""
    if len(taps) <= MOST_LAYERS:
        return list(taps), 0
    wanted = {each["tap"] for each in entries if each["is_output"] or each["eqc_count"] > 1}
    kept = [name for name in taps if name in wanted][:MOST_LAYERS]
    return kept, len(taps) - len(kept)


def _tap(entry: Record) -> Record:
    return {
        "name": printable(entry["tap"]),
        "layer": entry["layer"],
        "operator": printable(entry["operator"] or "–"),
        "dtype": entry["dtype"],
        "shape": entry["shape"],
        "output": entry["is_output"],
    }


def _sample(
    entries: Mapping[str, Record], taps: Sequence[str], runs: Sequence[str], homes: Sequence[int]
) -> Record:
    """Return of a sample the numbers of each layer, and the class of each run there."""
    labels = [_labels(entries.get(name), runs) for name in taps]
    return {
        "numbers": [_numbers(entries.get(name)) for name in taps],
        "classes": labels,
        "unsafe": [bool((entries.get(name) or {}).get("emulation_unsafe")) for name in taps],
        "changed": [bool((entries.get(name) or {}).get("taps_not_neutral")) for name in taps],
        "river": river(labels, homes).to_dict(),
    }


def _numbers(entry: Record | None) -> list[Any] | None:
    return None if entry is None else [entry[key] for key in NUMBERS]


def _labels(entry: Record | None, runs: Sequence[str]) -> list[int]:
    """Return each run's class at a layer, 0 where it recorded nothing."""
    classes = [] if entry is None else entry["eqcs"]
    number = {name: at for at, ids in enumerate(classes, 1) for name in ids}
    return [number.get(name, 0) for name in runs]

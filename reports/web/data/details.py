"""What the page tells of one layer beyond its classes: pairs, certificates, isolation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...wording.formatting import printable

Record = dict[str, Any]
PAIR_NUMBERS = ("deviating", "elements", "relative", "snr_db", "mean_abs")
"""Keys of an entry of `pairs` that are told of every pair, in this order; then the largest ULP."""
LARGEST = 2_500_000
"""Characters of details: with more, only those of the first inputs are in the page."""


def details_data(document: Record, cohorts: Sequence[Record]) -> tuple[list[Record], int]:
    """Return for each cohort the details of its tensors, by sample and place of the tap.

    With them how many tensors had to be left out. Of each tensor every pair of classes has its
    numbers, the one that is farthest apart by norm its histogram, places and worst elements too.
    """
    found: list[Record] = [{} for _ in cohorts]
    left_out = 0
    size = 0
    by_section = _by_section(document)
    samples = max((len(cohort["inputs"]) for cohort in cohorts), default=0)
    for sample in range(samples):
        for at, section in enumerate(document["sections"]):
            if sample >= len(section["inputs"]):
                continue
            entries = by_section.get(_key(section), {}).get(section["inputs"][sample], {})
            told = _sample(entries, cohorts[at])
            size += len(json.dumps(told))
            if size > LARGEST and sample:
                left_out += len(told)
            else:
                found[at][str(sample)] = told
    return found, left_out


def _key(entry: Record) -> str:
    return json.dumps([entry["group"], entry["model"], entry["inputs_digest"]], sort_keys=True)


def _by_section(document: Record) -> dict[str, dict[str, dict[str, list[Record]]]]:
    found: dict[str, dict[str, dict[str, list[Record]]]] = {}
    for pair in document.get("pairs", ()):
        of_input = found.setdefault(_key(pair), {}).setdefault(str(pair["input"]), {})
        of_input.setdefault(printable(pair["tap"]), []).append(pair)
    return found


def _sample(entries: Mapping[str, Sequence[Record]], cohort: Record) -> Record:
    return {
        str(at): _tensor(entries[tap["name"]])
        for at, tap in enumerate(cohort["taps"])
        if tap["name"] in entries
    }


def _tensor(pairs: Sequence[Record]) -> Record:
    known = [pair for pair in pairs if pair["comparable"]]
    far = max(known, key=_apart, default=None)
    return {
        "pairs": [_pair(pair) for pair in pairs],
        "far": None if far is None else _far(far),
    }


def _apart(pair: Record) -> float:
    return float("inf") if pair["relative"] is None else float(pair["relative"])


def _pair(pair: Record) -> list[Any]:
    one, other = pair["classes"]
    if not pair["comparable"]:
        return [one, other]
    return [one, other, *(pair[key] for key in PAIR_NUMBERS), pair["ulp_quantiles"]["1"]]


def _far(pair: Record) -> Record:
    places = pair["places"]
    return {
        "classes": pair["classes"],
        "quantiles": pair["ulp_quantiles"],
        "histogram": pair["ulp_histogram"],
        "worst": [
            [each["index"], *each["text"], each["ulp"], each["abs"]] for each in pair["worst_abs"]
        ],
        "places": places and {key: places[key] for key in ("channels", "positions", "rows",
                                                         "columns", "counts", "totals")},
    }  # fmt: skip


def computed_data(document: Record, cohorts: Sequence[Record]) -> list[Record]:
    """Return for each cohort what running models again has shown of its layers."""
    return [
        {
            "certificates": list(_certificates(document, cohort)),
            "isolations": list(_isolations(document, cohort)),
            "accuracy": list(_accuracy(document, section, cohort)),
        }
        for section, cohort in zip(document["sections"], cohorts, strict=True)
    ]


def _places(document: Record, cohort: Record) -> tuple[dict[str, int], dict[str, int]]:
    """Return the place of each run and of each tap in a cohort."""
    ids = [document["runs"][at]["id"] for at in cohort["runs"]]
    return (
        {name: at for at, name in enumerate(ids)},
        {tap["name"]: at for at, tap in enumerate(cohort["taps"])},
    )


def _certificates(document: Record, cohort: Record) -> Iterable[Record]:
    runs, taps = _places(document, cohort)
    for found in document.get("certificates", ()):
        if found["run"] in runs:
            yield {
                "run": runs[found["run"]],
                "layers": {
                    str(taps[printable(layer["tap"])]): _certificate(layer)
                    for layer in found["layers"]
                    if printable(layer["tap"]) in taps
                },
            }


def _certificate(layer: Record) -> list[Any]:
    told = [layer.get(key) for key in ("error", "limit", "usual", "arithmetic")]
    return [layer["verdict"], *told, printable(layer["reason"])]


def _isolations(document: Record, cohort: Record) -> Iterable[Record]:
    runs, taps = _places(document, cohort)
    for found in document.get("isolations", ()):
        if found["run"] in runs:
            yield {
                "run": runs[found["run"]],
                "reference": runs.get(found["reference"]),
                "layers": {
                    str(taps[printable(layer["tap"])]): [
                        layer["verdict"],
                        printable(layer["reason"]),
                        *(_distance(layer[kind]) for kind in ("own", "inherited", "total")),
                    ]
                    for layer in found["layers"]
                    if printable(layer["tap"]) in taps
                },
            }


def _distance(metrics: Record | None) -> list[Any] | None:
    if metrics is None:
        return None
    return [metrics[key] for key in ("remaining_precision", "max_ulp", "max_abs")]


def _accuracy(document: Record, section: Record, cohort: Record) -> Iterable[Record]:
    runs, _ = _places(document, cohort)
    for found in document.get("accuracy", ()):
        if _key(found) != _key(section):
            continue
        for row in found["runs"]:
            errors = {printable(name): of["relative"] for name, of in row["taps"].items()}
            yield {
                "runs": [runs[name] for name in row["ids"] if name in runs],
                "relative": [errors.get(tap["name"]) for tap in cohort["taps"]],
            }

"""Certifying all layers of a ResNet-50 against its float64 run and its bare inference."""

from __future__ import annotations

import io
from functools import partial

from xbackend.diagnosis.certificate import certify
from xbackend.execution.execute import ExecutionContext
from xbackend.execution.progress import ProgressLines
from xbackend.store.records import read_run
from xbackend.store.store import Store

from .commands import AT_ONCE, Scratch, scratch
from .timing import Ratio, ratio, time_interleaved

MODEL = "deepweeds-r50v2"
AT_MOST = 3.0
TIMEOUT = 600.0


def compare_certificates(rounds: int) -> list[Ratio]:
    """Measure a certificate of a float32 run, all layers of all samples, against float64 runs."""
    with scratch() as place:
        place.ours(["ort"], "certified", model=MODEL)
        store = Store(place.folder / "certified")
        seconds = time_interleaved(
            {"float64": partial(_float64, place), "certify": partial(_certify, store)}, rounds
        )
        wide = next(Store(place.folder / "float64").runs())
        samples = len(wide["results"])
        bare = max(result["seconds"] for result in wide["results"])
    what = f"certificate of all layers, {MODEL}"
    each = [one / samples for one in seconds["certify"]]
    return [
        ratio(what, "its float64 run", seconds["certify"], seconds["float64"], AT_MOST),
        ratio(f"{what}, one sample", "bare float64 inference", each, [bare] * rounds),
    ]


def _float64(place: Scratch) -> None:
    place.ours(["torch"], "float64", "--precision", "float64", model=MODEL)


def _certify(store: Store) -> None:
    runs = [read_run(record) for record in store.runs()]
    certify(runs, ExecutionContext(store, AT_ONCE, TIMEOUT, ProgressLines(io.StringIO())))

"""Lays out the layers of an int8 model that can overflow, and what inputs reach in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xbackend.diagnosis.saturation_run import SaturationReport
from xbackend.preparation.saturation import SaturationRisk, saturation_reach

from ..wording.sentences import saturation_sentence


def render(report: SaturationReport) -> str:
    """Return the exposed layers with what the inputs reach, and a sentence."""
    from tabulate import tabulate

    found, record = report.layers, report.record
    name = f"{record['model']['name']}, int8"
    name += f", {record['conversion']}" if record["conversion"] else ""
    if not found:
        return f"{name}: no two neighbouring products can be too much for 16 bits."
    head = ["layer", "operator", "farthest for any input", "reached", "elements that overflow"]
    rows = [[e.tap, e.operator, e.possible, *_seen(e)] for e in found]
    table = tabulate(rows, head, disable_numparse=True, colalign=("left", "left", *["right"] * 3))
    return f"{name}: 16 bits hold -32768 to 32767.\n\n{table}\n\n{_verdict(found, record)}"


def _seen(exposure: SaturationRisk) -> tuple[str, str]:
    if exposure.reached is None or exposure.share is None:
        return "?", "?"
    return str(exposure.reached), f"{exposure.share:.3%}" if exposure.share else "none"


def _verdict(found: Sequence[SaturationRisk], record: Mapping[str, Any]) -> str:
    if record["status"] != "ok":
        return f"What the inputs reach is not known: {record['error']['message']}"
    return saturation_sentence(saturation_reach(found))

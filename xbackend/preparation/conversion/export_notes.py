"""What an exporter told when it turned a model into its ONNX graph, and the sentences about it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

Record = dict[str, Any]

TRACE = "trace"
"""The exporter that follows one inference, for which a module is put into eval mode."""


def export_notes(steps: Iterable[Mapping[str, Any]]) -> Record:
    """Return exporter, warnings and mode of the first step that is an export; empty if none is.

    >>> export_notes([{"notes": {"exporter": "trace", "warnings": ["W"], "train_mode": True}}])
    {'exporter': 'trace', 'warnings': ['W'], 'train_mode': True}
    """
    for step in steps:
        notes = step.get("notes", {})
        if "exporter" in notes:
            return {
                "exporter": notes["exporter"],
                "warnings": list(notes.get("warnings", ())),
                "train_mode": bool(notes.get("train_mode", False)),
            }
    return {}


def code_and_state_digest(steps: Iterable[Mapping[str, Any]], otherwise: str) -> str:
    """Return what tells the code and weights that a function gave from all others it may give."""
    told = [[step["notes"].get(key) for key in ("code", "state")] for step in steps]
    return hashlib.sha256(json.dumps([otherwise, *told]).encode()).hexdigest()


def export_sentences(name: str, notes: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each thing that a reader must know of an export."""
    found = [f"the exporter warned of {name}: {text}" for text in notes.get("warnings", ())]
    if not notes.get("train_mode"):
        return found
    if notes["exporter"] == TRACE:
        sentence = f"{name} was handed over in train mode; what runs here is its eval mode"
    else:
        sentence = (
            f"{name} was exported in train mode, so its dropout draws random numbers and its "
            "normalisation takes each batch's own statistics; call eval() before exporting it"
        )
    return [*found, sentence]

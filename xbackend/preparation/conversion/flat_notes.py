"""How far a flat graph's outputs are those of its ONNX graph, where that is not verified."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Record = dict[str, Any]


def flat_doubts(steps: Iterable[Mapping[str, Any]]) -> Record:
    """Return the outputs that are not verified, with their distances, and why; empty for none.

    >>> flat_doubts([{"notes": {"outputs": {"y": {"distance": 0.2, "verified": False}}}}])
    {'unverified': {'y': 0.2}}
    """
    for step in steps:
        notes = step.get("notes", {})
        outputs = notes.get("outputs")
        if not isinstance(outputs, Mapping):
            continue
        far = {name: row["distance"] for name, row in outputs.items() if not row["verified"]}
        if far:
            why = {"problem": notes["problem"]} if notes.get("problem") else {}
            return {"unverified": far, **why}
    return {}


def flat_sentences(name: str, doubts: Mapping[str, Any]) -> list[str]:
    """Return a sentence for a reader of a model's runs.

    >>> flat_sentences("net", {"unverified": {"y": 0.2}})
    ["the TensorFlow Lite file of net is not verified: 'y' is 0.2 from the ONNX graph's"]
    """
    if not doubts:
        return []
    head = f"the TensorFlow Lite file of {name} is not verified:"
    if "problem" in doubts:
        return [f"{head} nothing here computes its ONNX graph ({doubts['problem']})"]
    far = [
        f"'{output}' is {distance:.3g} from the ONNX graph's"
        for output, distance in doubts["unverified"].items()
        if distance is not None
    ]
    return [f"{head} {', '.join(far) or 'its outputs have no numbers to compare'}"]

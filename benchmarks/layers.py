"""All layers of a ResNet18 on ten platforms: comparing them against one inference."""

from __future__ import annotations

from functools import partial

from xbackend.comparison.compare import compare
from xbackend.store.store import Store

from .commands import Scratch, scratch
from .timing import Ratio, ratio, time_interleaved

MODEL = "cifar10-r18"
EMULATED = ("qemu:SandyBridge", "qemu:Haswell", "qemu:EPYC")


def compare_layers(rounds: int) -> list[Ratio]:
    """Measure the comparison of one sample's layers, against the slowest backend's inference.

    The inferences are those of the runs that are compared: each on its own platform, and the
    emulated ones are slow.
    """
    with scratch() as place:
        store = _fill(place)
        samples = len(compare(store).samples)
        seconds = time_interleaved({"compare": partial(compare, store)}, rounds)["compare"]
        ours = [each / samples for each in seconds]
        runs = list(store.runs())
    what = f"comparison of all layers, {MODEL}, {len(runs)} platforms, one sample"
    found = []
    for title, where, limit in (("", "", 1.0), ("native ", "native", None)):
        took = {
            f"{run['backend']} on {run['platform']}": max(r["seconds"] for r in run["results"])
            for run in runs
            if where in run["platform"]
        }
        slowest = max(took, key=lambda name: took[name])
        peer = f"slowest {title}inference ({slowest})"
        found.append(ratio(what, peer, ours, [took[slowest]] * rounds, limit))
    return found


def _fill(place: Scratch) -> Store:
    """Run four backends natively, and two of them on three emulated processors."""
    place.ours(["ort", "tf", "torch", "tflite"], "layers", model=MODEL)
    platforms = [word for name in EMULATED for word in ("--platform", name)]
    place.ours(["ort", "tflite"], "layers", *platforms, model=MODEL)
    return Store(place.folder / "layers")

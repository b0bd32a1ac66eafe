"""Which classes may count as findings, and why some cannot: what all studies judge by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xbackend.comparison.comparison import Classes, TapComparison
from xbackend.numerics.metrics import equivalence_classes
from xbackend.platforms.emulation_doubt import (
    has_unsafe_output,
    join_names,
    proven_classes,
    unsafe_operators,
)
from xbackend.store.records import Run
from xbackend.studies.verdict import INCONCLUSIVE, Verdict

TOO_FEW = "it takes two platforms whose bits can be trusted"


def trusted_classes(tap: TapComparison) -> Classes:
    """Return the classes of a tensor without the runs of which an emulator may be the cause."""
    doubtful = set(tap.emulation_unsafe)
    left = (tuple(run for run in ids if run not in doubtful) for ids in tap.eqcs)
    return tuple(ids for ids in left if ids)


def proven_output_classes(runs: Sequence[Run]) -> list[tuple[int, ...]]:
    """Return the places of runs by class of their outputs.

    Where an emulator may be the cause of a difference only what is proved counts as one.
    """
    if any(has_unsafe_output(run) for run in runs):
        return proven_classes(runs)
    return [tuple(members) for members in equivalence_classes(output_digests(run) for run in runs)]


def output_digests(run: Run) -> tuple[str, ...]:
    """Return the digests of a run's outputs in all samples."""
    return tuple(str(row["digest"]) for result in run.results for row in result["outputs"])


def trusted_platforms(runs: Iterable[Run], taps: Iterable[TapComparison]) -> set[str]:
    """Return the platforms with a tensor among some whose bits can be trusted."""
    known = {run for tap in taps for ids in trusted_classes(tap) for run in ids}
    return {str(run.row["platform"]) for run in runs if run.id in known}


def no_outputs(backend: str) -> Verdict:
    """Return the verdict on a backend none of whose runs gave outputs."""
    return Verdict(backend, INCONCLUSIVE, "none of its runs gave outputs")


def untrusted_run_notes(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return a sentence on the runs that do not count, and one on those that stopped."""
    unsafe = [run for run in runs if run.ok and has_unsafe_output(run)]
    said = []
    if unsafe:
        where = list(
            dict.fromkeys(f"{run.row['backend']} on {run.row['platform']}" for run in unsafe)
        )
        said.append(
            f"What emulated {join_names(unsafe_operators(unsafe))} may compute unlike a real "
            f"processor does not count: {', '.join(where)}."
        )
    stopped = [run for run in runs if not run.ok]
    said += [_stopped(run) for run in stopped]
    return tuple(dict.fromkeys(said))


def tap_notes(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return a sentence on the backends whose outputs changed as layers were recorded."""
    changed = list(
        dict.fromkeys(run.row["backend"] for run in runs if run.row["taps_neutral"] is False)
    )
    sentence = (
        f"Recording layers changed the bits of the outputs of {', '.join(changed)}, so the layers "
        "may not be those of what runs unwatched."
    )
    return (sentence,) if changed else ()


def _stopped(run: Run) -> str:
    error = run.row["error"] or {}
    message = str(error.get("message") or "it gave no outputs").rstrip(".")
    return f"{run.row['backend']} on {run.row['platform']} {run.row['status']}: {message}."

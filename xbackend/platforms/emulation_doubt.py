"""Which classes rest on what an emulator computes unlike real processors, and are no findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xbackend.store.records import Run

Record = dict[str, Any]
Digests = Mapping[str, str]


@dataclass(frozen=True)
class EmulationDoubt:
    """What of the classes of outputs rests on emulated operators."""

    unsafe: tuple[str, ...] = ()
    """Ids of runs with an output that comes from such an operator."""
    operators: tuple[str, ...] = ()
    """These operators."""
    classes: tuple[int, ...] = ()
    """Numbers, from 1, of the classes that nothing but such operators tells from another one."""


NO_DOUBT = EmulationDoubt()


def assess_emulation(
    eqcs: Sequence[Sequence[str]], runs: Sequence[Run], samples: Sequence[str] | None = None
) -> EmulationDoubt:
    """Return what of the classes of the outputs of some samples, or of all, rests on emulation.

    A class does if all its runs are unsafe and no evidence sets it apart from a class before it,
    or from one with a run that is safe. For what is evidence see `first_proven_difference`.
    """
    unsafe = [run for run in runs if has_unsafe_output(run)]
    if not unsafe:
        return NO_DOUBT
    traces = {run.id: _Trace(run) for run in runs}
    doubtful = {run.id for run in unsafe}
    found: list[int] = []
    for number, ids in enumerate(eqcs, 1):
        others = (
            other
            for place, other in enumerate(eqcs, 1)
            if (place < number and place not in found) or not doubtful.issuperset(other)
        )
        if doubtful.issuperset(ids) and not all(_apart(ids, o, traces, samples) for o in others):
            found.append(number)
    return EmulationDoubt(
        unsafe=tuple(run.id for run in unsafe),
        operators=unsafe_operators(unsafe),
        classes=tuple(found),
    )


def proven_classes(
    runs: Sequence[Run], samples: Sequence[str] | None = None
) -> list[tuple[int, ...]]:
    """Return the places of runs by class, where only a proof sets two runs apart.

    A run joins the first class from no member of which it is proved to differ, see
    `first_proven_difference`.
    """
    traces = [_Trace(run) for run in runs]
    found: list[list[int]] = []
    for place, trace in enumerate(traces):
        for members in found:
            if all(
                _first_proven_difference(traces[other], trace, samples) is None for other in members
            ):
                members.append(place)
                break
        else:
            found.append([place])
    return [tuple(members) for members in found]


def has_unsafe_output(run: Run) -> bool:
    """Tell whether an output of a run comes from an emulated operator that is not faithful."""
    names = run.emulation_unsafe
    return bool(names) and any(
        row["name"] in names for result in run.results for row in result["outputs"]
    )


def unsafe_operators(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return the operators that make runs unsafe, as they are first met."""
    return tuple(dict.fromkeys(name for run in runs for name in _reasons(run)))


def doubtful_run_ids(
    eqcs: Sequence[Sequence[str]], emulation_doubt: EmulationDoubt
) -> frozenset[str]:
    """Return the ids of the runs whose class rests on emulated operators alone."""
    return frozenset(name for number in emulation_doubt.classes for name in eqcs[number - 1])


def join_names(names: Sequence[str]) -> str:
    """Return names as a sentence has them.

    >>> join_names(["Gelu", "Softmax", "Sqrt"]), join_names(["Softmax"])
    ('Gelu, Softmax and Sqrt', 'Softmax')
    """
    *rest, last = names
    return f"{', '.join(rest)} and {last}" if rest else last


def first_proven_difference(
    one: Run, other: Run, samples: Sequence[str] | None = None
) -> str | None:
    """Return the first tensor in graph order that proves a difference of two runs, None without.

    It has other bits in the two runs on some sample, and either it comes from no unfaithful
    operator in any of them; or a faithful operator computed it from tensors that have the same
    bits in both, so that what went before cannot be the cause.
    """
    return _first_proven_difference(_Trace(one), _Trace(other), samples)


class _Trace:
    """What a run recorded, by sample and name."""

    def __init__(self, run: Run) -> None:
        self.unsafe = run.emulation_unsafe
        self.unfaithful = frozenset(_reasons(run))
        self.layers = {str(row["tap"]): row for row in run.layers}
        self.samples = {str(result["input"]): _digests(result) for result in run.results}

    def names(self) -> Iterator[str]:
        """Yield the names of tensors in graph order, those that no layer computes last."""
        yield from self.layers
        recorded = dict.fromkeys(name for row in self.samples.values() for name in row)
        yield from (name for name in recorded if name not in self.layers)


def _digests(result: Record) -> Digests:
    """Return the digests of a sample's tensors; an output's is that of the untapped inference."""
    return {str(row["name"]): row["digest"] for row in [*result["taps"], *result["outputs"]]}


def _reasons(run: Run) -> Record:
    return run.row.get("emulation_reasons") or {}


def _apart(
    ids: Sequence[str],
    others: Sequence[str],
    traces: Mapping[str, _Trace],
    samples: Sequence[str] | None,
) -> bool:
    """Tell whether any run of one class is proved to differ from any of another."""
    return any(
        _first_proven_difference(traces[one], traces[other], samples) is not None
        for one in ids
        for other in others
    )


def _first_proven_difference(
    one: _Trace, other: _Trace, samples: Sequence[str] | None
) -> str | None:
    shared = [name for name in one.samples if name in other.samples]
    pairs = [
        (one.samples[name], other.samples[name])
        for name in shared
        if samples is None or name in samples
    ]
    for tap in one.names():
        for here, there in pairs:
            differs = tap in here and tap in there and here[tap] != there[tap]
            if differs and _is_proof(tap, one, other, here, there):
                return tap
    return None


def _is_proof(tap: str, one: _Trace, other: _Trace, here: Digests, there: Digests) -> bool:
    if tap not in one.unsafe and tap not in other.unsafe:
        return True
    layer, twin = one.layers.get(tap), other.layers.get(tap)
    if layer is None or twin is None or layer["operator"] in one.unfaithful | other.unfaithful:
        return False
    reads = layer.get("inputs")
    if reads is None or reads != twin.get("inputs") or layer["operator"] != twin["operator"]:
        return False
    computed = [name for name in reads if name in one.layers]
    return all(name in here and here[name] == there.get(name) for name in computed)

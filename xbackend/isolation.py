"""Inherited or own: what a layer's arithmetic adds to the error that its inputs bring along.

Every layer of a run is computed once with the inputs it had and once with those that the same layer
of a reference had, all in one inference of a model whose edges are cut (`xbackend.cut`), on the
run's own backend, settings and platform. What makes it trustworthy is a check of both sides: fed
with its own recorded inputs, a layer must give its own recorded bits. Where it does not, a
framework computed it together with others, and nothing is said of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from xbackend import registry
from xbackend.cut import Cut, cut, load_model
from xbackend.differ import Metrics
from xbackend.errors import UsageError, XbackendError
from xbackend.execution import Means
from xbackend.layers import worst
from xbackend.measurement import Measurer
from xbackend.reference import tensors_by_sample
from xbackend.replay import Replay, Sample, hub, known_types, replay
from xbackend.selection import Record, Run

OWN, INHERITED, BOTH, NONE, UNKNOWN = "own", "inherited", "own + inherited", "none", "not isolable"
"""Verdicts on a layer."""
OTHER_BITS = "alone, with its own inputs, it gives other bits than the {who} recorded"
Tensors = Mapping[str, Mapping[str, Record]]
"""What was recorded, by sample and name."""


@dataclass(frozen=True)
class LayerVerdict:
    """One tensor: where its deviation from the reference comes from."""

    tap: str
    layer: int
    operator: str
    verdict: str
    """One of those of this module."""
    reason: str
    """Why it is not isolable; empty for the others."""
    total: Metrics
    """As it was recorded in the two runs; the worst over the samples, as the other two."""
    own: Metrics | None
    """The run's layer on the reference's inputs, against the reference's."""
    inherited: Metrics | None
    """The run's layer on its own inputs, against the same on the reference's inputs."""
    by_emulation: bool
    """Whether its operator is one that an emulator computes unlike a real processor."""

    @property
    def has_own(self) -> bool:
        """Whether its own arithmetic differs."""
        return self.verdict in (OWN, BOTH)

    def document(self) -> Record:
        """Return JSON values."""
        kinds = {"total": self.total, "own": self.own, "inherited": self.inherited}
        metrics = {kind: None if of is None else vars(of) for kind, of in kinds.items()}
        rest = ("tap", "layer", "operator", "verdict", "reason", "by_emulation")
        return {**{key: getattr(self, key) for key in rest}, **metrics}


@dataclass(frozen=True)
class Isolation:
    """A run against a reference, layer by layer."""

    reference: Run
    run: Run
    inputs: tuple[str, ...]
    """Names of the samples that both have."""
    layers: tuple[LayerVerdict, ...]
    """Every tensor that both recorded, in graph order."""
    notes: tuple[str, ...]
    """What must be known to trust it."""

    @property
    def own(self) -> tuple[LayerVerdict, ...]:
        """The layers whose own arithmetic differs, but for what an emulator may have made."""
        return tuple(each for each in self.layers if each.has_own and not each.by_emulation)

    @property
    def unknown(self) -> tuple[LayerVerdict, ...]:
        """The layers that cannot be isolated."""
        return tuple(each for each in self.layers if each.verdict == UNKNOWN)

    @property
    def cure(self) -> str:
        """Return the settings that keep both frameworks from fusing nodes, as options."""
        wanted = {}
        for run in (self.reference, self.run):
            spec = registry.backend(str(run.row["backend"]))
            held = run.row["settings"]
            missing = {k: v for k, v in spec.unfused.items() if held.get(k) != v}
            wanted.update({f"{spec.word}.{key}": value for key, value in missing.items()})
        return " ".join(f"--set {key}={value}" for key, value in wanted.items())

    def document(self) -> Record:
        """Return the entry of `isolations` in the JSON report."""
        first = self.own[0] if self.own else None
        return {
            "reference": self.reference.id,
            "run": self.run.id,
            "inputs": list(self.inputs),
            "first_own_tap": None if first is None else first.tap,
            "first_own_layer": None if first is None else first.layer,
            "own_taps": [each.tap for each in self.own],
            "not_isolable": [each.tap for each in self.unknown],
            "notes": list(self.notes),
            "layers": [each.document() for each in self.layers],
        }


def isolate(reference: Run, run: Run, means: Means, exact: bool = False) -> Isolation:
    """Isolate every layer of a run against a reference of the same structure.

    `exact` says that the reference is rounded from another precision, so there is nothing to check
    it by. Raises UsageError where the two cannot be compared layer by layer, XbackendError where a
    side does not run any more.
    """
    _check(reference, run)
    here, there = _in_common(run, reference)
    samples = list(there)
    sides = [_side(run, reference, [there, here], samples, means)]
    if not exact:
        sides.append(_side(reference, reference, [there], samples, means))
    replayed = replay([side for side, _ in sides], means)
    for found in replayed:
        _refuse_failure(found)
    judged = _Judgement(there, here, Measurer(means.store), sides[0][1], replayed)
    layers = [one for row in run.layers if (one := judged.layer(row)) is not None]
    notes = _notes([run, reference], replayed)
    return Isolation(reference, run, tuple(samples), tuple(layers), tuple(notes))


def _check(reference: Run, run: Run) -> None:
    for each in (reference, run):
        if not each.ok or not all(result["taps"] for result in each.results):
            raise UsageError(f"Run {each.id} has no layers to isolate. Run it with --taps layers.")
    if reference.row["precision"] != run.row["precision"]:
        raise UsageError(
            f"Runs {reference.id} and {run.id} are in {reference.row['precision']} and "
            f"{run.row['precision']}. Name two of one precision, or one and --reference float64."
        )


def tensors_with_inputs(run: Run) -> dict[str, dict[str, Record]]:
    """Return all that a run read and recorded, by sample and name."""
    found = tensors_by_sample(run)
    for result in run.results:
        inputs = {str(row["name"]): row for row in result.get("inputs", ())}
        found[str(result["input"])] = {**inputs, **found[str(result["input"])]}
    return found


def _in_common(run: Run, reference: Run) -> tuple[Tensors, Tensors]:
    """Return what two runs have of the samples that both read, by the reference's names of these.

    A sample is the same where its inputs have the same bits, whatever it is called.
    """
    names = {_inputs(result): str(result["input"]) for result in run.results}
    here, there = tensors_with_inputs(run), tensors_with_inputs(reference)
    pairs = {str(r["input"]): names[_inputs(r)] for r in reference.results if _inputs(r) in names}
    if not pairs:
        raise UsageError(
            f"Runs {reference.id} and {run.id} have no sample in common. Run both on the same "
            "inputs."
        )
    return {one: here[two] for one, two in pairs.items()}, {one: there[one] for one in pairs}


def _inputs(result: Record) -> str:
    return " ".join(sorted(f"{row['name']} {row['digest']}" for row in result.get("inputs", ())))


def _side(
    run: Run, other: Run, sources: Sequence[Tensors], samples: Sequence[str], means: Means
) -> tuple[Replay, Cut]:
    """Cut the graph of a run, to be fed with what each of the sources recorded."""
    theirs = known_types(other)
    known = {name: of for name, of in known_types(run).items() if theirs.get(name) == of}
    made = cut(load_model(hub(run, means.store)), known)
    if not made.taps:
        raise UsageError(f"Runs {other.id} and {run.id} have no layer in common to isolate.")
    given = [_given(made, source[name]) for source in sources for name in samples]
    return Replay(run, made.model, given), made


def _given(made: Cut, recorded: Mapping[str, Record]) -> Sample:
    return {name: recorded[value] for name, value in made.given.items()}


def _refuse_failure(found: Run) -> None:
    if not found.ok:
        error = found.row["error"] or {}
        raise XbackendError(
            f"The layers of {found.row['backend']} on {found.row['platform']} cannot be computed "
            f"one by one: {error.get('message', 'it gave no output.')}"
        )


class _Judgement:
    """What two runs recorded, by the names of their samples, and what their layers gave alone."""

    def __init__(
        self, theirs: Tensors, ours: Tensors, measurer: Measurer, made: Cut, replayed: Sequence[Run]
    ) -> None:
        self.theirs, self.ours, self.measurer, self.made = theirs, ours, measurer, made
        self.replayed = replayed
        rows = _alone(replayed[0])
        self.on_theirs = dict(zip(theirs, rows[: len(theirs)], strict=True))
        self.on_ours = dict(zip(theirs, rows[len(theirs) :], strict=True))
        again = _alone(replayed[1]) if len(replayed) > 1 else []
        self.check: Tensors = dict(zip(theirs, again, strict=True)) if again else {}

    def layer(self, layer: Record) -> LayerVerdict | None:
        """Judge one tensor; None where not both recorded it, or it hangs on extents alone."""
        tap = str(layer["tap"])
        if not all(tap in self.theirs[name] and tap in self.ours[name] for name in self.theirs):
            return None
        if tap not in self.made.taps and tap not in self.made.left_out:
            return None
        reason = self._why_not(tap)
        own = None if reason else self._metrics(tap, self.theirs, self.on_theirs)
        inherited = None if reason else self._metrics(tap, self.on_theirs, self.ours)
        return LayerVerdict(
            tap=tap,
            layer=int(layer["layer"]),
            operator=str(layer["operator"]),
            verdict=UNKNOWN if reason else _verdict(own, inherited),
            reason=reason,
            total=self._metrics(tap, self.theirs, self.ours),
            own=own,
            inherited=inherited,
            by_emulation=any(tap in run.unsafe for run in self.replayed),
        )

    def _why_not(self, tap: str) -> str:
        if tap in self.made.left_out:
            return self.made.left_out[tap]
        if not self._same(tap, self.on_ours, self.ours):
            return OTHER_BITS.format(who="run")
        if self.check and not self._same(tap, self.check, self.theirs):
            return OTHER_BITS.format(who="reference")
        return ""

    def _same(self, tap: str, one: Tensors, other: Tensors) -> bool:
        pairs = ((one[name].get(tap), other[name][tap]) for name in self.theirs)
        return all(a is not None and a["digest"] == b["digest"] for a, b in pairs)

    def _metrics(self, tap: str, one: Tensors, other: Tensors) -> Metrics:
        return worst([self._distance(one[name][tap], other[name][tap]) for name in self.theirs])

    def _distance(self, one: Record, other: Record) -> Metrics:
        rows = [one] if one["digest"] == other["digest"] else [one, other]
        return self.measurer.tap(rows).metrics


def _alone(run: Run) -> list[dict[str, Record]]:
    """Return what each layer gave alone, sample by sample."""
    return [{str(row["name"]): row for row in result["outputs"]} for result in run.results]


def _verdict(own: Metrics | None, inherited: Metrics | None) -> str:
    verdicts = {(True, True): BOTH, (True, False): OWN, (False, True): INHERITED}
    one, other = (bool(of and of.deviating_fraction != 0) for of in (own, inherited))
    return verdicts.get((one, other), NONE)


def _notes(runs: Iterable[Run], replayed: Iterable[Run]) -> Iterator[str]:
    """Yield what keeps a reader from trusting the verdicts."""
    for was, now in zip(runs, replayed, strict=False):
        versions = was.row["backend_version"], now.row["backend_version"]
        if versions[0] != versions[1]:
            yield (
                f"Run {was.id} was computed by {was.row['backend']} {versions[0]}, its layers now "
                f"by {versions[1]}: run it again."
            )
        if was.row["taps_neutral"] is False:
            yield (
                f"Recording the layers of run {was.id} changed the bits of its outputs: what is "
                "isolated are the layers as they were recorded."
            )

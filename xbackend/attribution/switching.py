"""Switches what an emulated processor has, and runs backends on it to see which bits change."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from xbackend.attribution.ablation import AblationOutcome, AblationResult, AblationTrial, ablate
from xbackend.errors import UsageError, XbackendError
from xbackend.execution.execute import ExecutionContext, execute
from xbackend.execution.request import RunRequest
from xbackend.platforms.cpu_switches import (
    Switches,
    cpu_properties,
    hardware_differences,
    qemu_suffix,
    select_switches,
    switchable,
)
from xbackend.platforms.emulated import probe
from xbackend.platforms.emulation_doubt import (
    first_proven_difference,
    has_unsafe_output,
    unsafe_operators,
)
from xbackend.platforms.parse import parse_platform, processor_of, with_processor
from xbackend.platforms.platform import find_command
from xbackend.plugins import registry
from xbackend.store.records import read_run

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class SwitchCandidates:
    """What can be switched on an emulated processor."""

    had: tuple[str, ...]
    """Flags that it has and properties that change what CPUID tells."""
    refused: dict[str, str]
    """Properties that the emulator does not take for it, with the reason."""


@dataclasses.dataclass(frozen=True)
class AblationReport:
    """What of an emulated processor makes the bits of several backends."""

    start: str
    """The platform whose processor was switched."""
    results: Mapping[str, AblationResult]
    """A backend's word to what was found."""
    errors: Mapping[str, str]
    """The words of those that do not run on the platform as it is, to the reason."""

    def to_dict(self) -> Record:
        """Return JSON values: what `xbackend flags --ablate --json` prints."""
        found = {word: result.to_dict() for word, result in self.results.items()}
        refused = {word: {"error": reason} for word, reason in self.errors.items()}
        return {"schema_version": 1, "from": self.start, "backends": {**found, **refused}}

    def __str__(self) -> str:
        """Return the text for a terminal."""
        render = registry.renderer("ablation")
        found = [render(result, word, self.start) for word, result in self.results.items()]
        return "\n".join([*found, *(f"{word}: {why}" for word, why in self.errors.items())])


OnResult = Callable[[str, "AblationResult | XbackendError"], None]
"""Told of each backend, as soon as it is done, what was found or why it does not run."""


def ablate_backends(
    request: RunRequest, words: Sequence[str], context: ExecutionContext, on_result: OnResult
) -> AblationReport:
    """Find what changes the bits of each of the request's backends on its one platform.

    `words` choose what is switched; without any it is all that can be. Raises UsageError for a
    platform that is no emulated x86 processor and for a word that names no switch.
    """
    start = request.platforms[0]
    found = switch_candidates(start)
    known = (*found.had, *found.refused)
    only = select_switches(words, known) if words else known
    results: dict[str, AblationResult] = {}
    errors: dict[str, str] = {}
    for backend in request.backends or registry.float_backends():
        one = dataclasses.replace(request, backends=(backend,))
        try:
            results[backend] = search_switches(found, only, _attempts(one, start, context))
            on_result(backend, results[backend])
        except XbackendError as error:
            errors[backend] = str(error)
            on_result(backend, error)
    return AblationReport(start, results, errors)


def search_switches(
    found: SwitchCandidates,
    only: Sequence[str],
    attempt: Callable[[Sequence[Switches]], Sequence[AblationOutcome]],
) -> AblationResult:
    """Return what the search finds, after the properties that the emulator refuses."""
    refused = [
        AblationTrial((switch,), AblationOutcome("illegal", reason=why))
        for switch, why in found.refused.items()
        if switch in only
    ]
    verdict = ablate(found.had, attempt, [switch for switch in found.had if switch in only])
    return dataclasses.replace(verdict, trials=(*refused, *verdict.trials))


def switch_candidates(start: str) -> SwitchCandidates:
    """Return what can be switched on a platform. Raises UsageError if it is no emulated x86.

    A property is tried on the processor alone: what CPUID does not show is no difference.
    """
    cpu = processor_of(start)
    if not cpu:
        raise UsageError(
            f"Nothing can be switched on '{start}'. Start from an emulated processor, such as "
            "--from qemu:Haswell."
        )
    parse_platform(start)
    emulator = find_command("qemu-x86_64", start, "qemu-user")
    seen = probe(emulator, cpu)
    had, refused = list(switchable(seen["flags"])), {}
    for switch in cpu_properties(seen["vendor"]):
        try:
            other = probe(emulator, cpu + qemu_suffix([switch]))
            if hardware_differences(seen, other) or seen["flags"] != other["flags"]:
                had.append(switch)
        except UsageError as error:
            refused[switch] = str(error)
    return SwitchCandidates(tuple(had), refused)


def _attempts(
    request: RunRequest, start: str, context: ExecutionContext
) -> Callable[[Sequence[Switches]], list[AblationOutcome]]:
    """Return what runs a backend with switches, compared with a run on the whole processor."""
    (whole,) = execute(dataclasses.replace(request, platforms=(start,)), context)
    if whole["status"] != "ok":
        raise XbackendError(f"On '{start}' itself the run failed: {whole['error']['message']}")
    cpu = processor_of(start)

    def attempt(sets: Sequence[Switches]) -> list[AblationOutcome]:
        specs = [with_processor(start, cpu + qemu_suffix(switches)) for switches in sets]
        refused = {spec: why for spec in specs if (why := _refusal(spec))}
        legal = tuple(spec for spec in specs if spec not in refused)
        asked = dataclasses.replace(request, platforms=legal, purpose="ablation")
        records = execute(asked, context) if legal else []
        by_spec = {record["platform"]: record for record in records}
        return [
            AblationOutcome("illegal", reason=refused[spec])
            if spec in refused
            else outcome(whole, by_spec[spec])
            for spec in specs
        ]

    return attempt


def _refusal(spec: str) -> str:
    """Return why an emulator does not take a processor; empty if it does."""
    try:
        parse_platform(spec)
    except UsageError as error:
        return str(error)
    return ""


def outcome(whole: Record, changed: Record) -> AblationOutcome:
    """Return how a run differs from that on the whole processor.

    Where outputs come from emulated operators that are not faithful, only other tensors count.
    """
    seen = hardware_differences(whole["hardware"], changed["hardware"])
    if changed["status"] != "ok":
        reason = str(changed["error"]["message"])
        return AblationOutcome("illegal", reason=reason, differences=seen)
    runs = read_run(whole), read_run(changed)
    if any(map(has_unsafe_output, runs)):
        found = _by_tap(whole, first_proven_difference(*runs), unsafe_operators(runs))
    elif _digests(whole, "outputs") == _digests(changed, "outputs"):
        found = AblationOutcome("same")
    elif whole["taps_neutral"] is False or changed["taps_neutral"] is False:
        found = AblationOutcome("changed", neutral=False)
    else:
        found = AblationOutcome("changed", first_layer=_first_layer(whole, changed))
    return dataclasses.replace(found, differences=seen)


def _by_tap(whole: Record, tap: str | None, emulated: tuple[str, ...]) -> AblationOutcome:
    """Return a change at a tensor, none without one."""
    if tap is None:
        return AblationOutcome("same", emulated=emulated)
    return AblationOutcome("changed", first_layer=_first_layer_of(whole, {tap}), emulated=emulated)


def _digests(record: Record, kind: str) -> list[tuple[str, str]]:
    return [(row["name"], row["digest"]) for result in record["results"] for row in result[kind]]


def _first_layer(whole: Record, changed: Record) -> Record | None:
    """Return the first tensor in graph order that has other bits in any sample."""
    pairs = zip(whole["results"], changed["results"], strict=True)
    differing = set()
    for one, other in pairs:
        here = {row["name"]: row["digest"] for row in [*one["taps"], *one["outputs"]]}
        there = {row["name"]: row["digest"] for row in [*other["taps"], *other["outputs"]]}
        differing |= {name for name in here.keys() & there.keys() if here[name] != there[name]}
    return _first_layer_of(whole, differing)


def _first_layer_of(whole: Record, taps: Container[str]) -> Record | None:
    """Return the first of some tensors in graph order: `tap`, `layer`, `operator`."""
    keys = ("tap", "layer", "operator")
    layers = ({key: row[key] for key in keys} for row in whole["layers"] if row["tap"] in taps)
    return next(layers, None)

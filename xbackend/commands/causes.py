"""What `xbackend flags --ablate` does: which flags and properties of a processor make the bits."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Container, Sequence
from typing import Any

from xbackend.attribution.ablation import AblationOutcome, AblationResult, AblationTrial, ablate
from xbackend.commands.blame import emulation_note
from xbackend.errors import UsageError, XbackendError
from xbackend.execution.execute import ExecutionContext, execute
from xbackend.execution.request import RunRequest
from xbackend.platforms.cpu_switches import (
    Switches,
    cpu_properties,
    hardware_differences,
    is_flag,
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
from xbackend.plugins.registry import float_backends
from xbackend.store.records import read_run

Record = dict[str, Any]
UNKNOWN = "layer unknown*"
"""Where a change begins if recording the layers changed the bits."""


@dataclasses.dataclass(frozen=True)
class SwitchCandidates:
    """What can be switched on an emulated processor."""

    had: tuple[str, ...]
    """Flags that it has and properties that change what CPUID tells."""
    refused: dict[str, str]
    """Properties that the emulator does not take for it, with the reason."""


def run_ablation(
    options: argparse.Namespace, request: RunRequest, context: ExecutionContext
) -> int:
    """Switch what an emulated processor has and print what of it changes the bits.

    Exit status 3 if a backend does not run on the processor as it is.
    """
    start = request.platforms[0]
    found = switch_candidates(start)
    known = (*found.had, *found.refused)
    only = known if not options.only else select_switches(options.only.split(","), known)
    documents: dict[str, Record] = {}
    for backend in request.backends or float_backends():
        one = dataclasses.replace(request, backends=(backend,))
        try:
            verdict = search_switches(found, only, _attempts(one, start, context))
        except XbackendError as error:
            print(f"xbackend: {backend}: {error}", file=sys.stderr)
            documents[backend] = {"error": str(error)}
            continue
        documents[backend] = verdict.to_dict()
        if not options.json:
            print(verdict_text(backend, start, verdict), flush=True)
    if options.json:
        print(json.dumps({"schema_version": 1, "from": start, "backends": documents}))
    return 3 if any("error" in each for each in documents.values()) else 0


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
        records = execute(dataclasses.replace(request, platforms=legal), context) if legal else []
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


def verdict_text(backend: str, start: str, verdict: AblationResult) -> str:
    """Return a table of what was switched, and a sentence that names the causes."""
    from tabulate import tabulate

    rows = [
        [switched(trial.switches), trial.outcome.status, _detail(trial.outcome)]
        for trial in verdict.trials
    ]
    headers = [f"{backend} on {start}", "bits", "first at, or why not"]
    table = tabulate(rows, headers, maxcolwidths=[44, None, 64])
    notes = [emulation_note(verdict.emulated)] if verdict.emulated else []
    if not all(trial.outcome.neutral for trial in verdict.trials):
        table += "\n* recording the layers changed the bits of the outputs, so theirs tell nothing"
    return "\n".join([*notes, table, "", _sentence(backend, start, verdict), ""])


def switched(switches: Sequence[str]) -> str:
    """Return a set of switches in words.

    >>> switched(["avx2", "fma", "legacy-cache=on"])
    'without avx2, fma, with legacy-cache=on'
    """
    flags = ", ".join(switch for switch in switches if is_flag(switch))
    others = ", ".join(switch for switch in switches if not is_flag(switch))
    return ", ".join(
        [*([f"without {flags}"] if flags else []), *([f"with {others}"] * bool(others))]
    )


def _detail(outcome: AblationOutcome) -> str:
    place = _place(outcome)
    return "; ".join([*([place] if place else []), *outcome.differences]) or outcome.reason


def _place(outcome: AblationOutcome) -> str:
    layer = outcome.first_layer
    if layer is None:
        return "" if outcome.neutral else UNKNOWN
    return f"layer {layer['layer']} ({layer['operator']}, {layer['tap']})"


def _sentence(backend: str, start: str, verdict: AblationResult) -> str:
    """Name the smallest sets that change the bits, and where each begins to."""
    if not verdict.causes:
        ran = [trial for trial in verdict.trials if trial.outcome.status != "illegal"]
        what = "nothing that was switched" if ran else "nothing could be switched that"
        return f"{backend}: {what} on {start} changes a bit."
    causes = [_cause(cause) for cause in verdict.causes]
    if len(causes) == 1:
        return f"{backend}: the bits of {start} change {causes[0]}."
    listed = ";\n".join(f"  {cause}" for cause in causes)
    return f"{backend}: the bits of {start} change with each of these alone:\n{listed}."


def _cause(cause: AblationTrial) -> str:
    seen = "; ".join(cause.outcome.differences)
    place = _place(cause.outcome) if cause.outcome.neutral else ""
    return (
        switched(cause.switches)
        + (f" ({seen})" if seen else "")
        + (f", first at {place}" if place else "")
    )

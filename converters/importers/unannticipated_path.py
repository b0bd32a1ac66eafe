"""Where a result lies in the published study, and what only its path tells of it.

equivalence_classes/aws/cpu/t2.large-Intel_Xeon__E5-2686_v4_-cifar10_small-i0.json
precision/cifar10_small_float16/amd-rome-2.json
race_conditions/amd-rome-2.json
input_distribution/cifar10_medium-conv2d_11/random/amd_rome.json
parameter_distribution/cifar10_medium-conv2d_11/fitted_distribution-samples_original/amd_rome.json
parameter_distribution/cifar10_medium-conv2d_21/default_distribution/amd_rome-random.json
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

FIRST = "0"
"""The sample of the experiments that have only one and do not say which: the data set's first."""
CLOUD = "gcloud"
"""Where all experiments ran but equivalence_classes, which names its places."""

MEASURED = re.compile(
    r"(?P<machine>[^-]+)-(?P<device>.+)-(?P<model>[^-]+)-i(?P<sample>\d+)", re.DOTALL
)
TYPED = re.compile(r"(?P<model>.+)_(?P<precision>b?float(16|32|64))", re.DOTALL)


@dataclass(frozen=True)
class ResultPath:
    """What a path tells."""

    path: str
    """From the experiment's folder on: the same wherever the study lies."""
    experiment: str
    platform: str
    sample: str
    model: str | None
    """None where only the file says it."""
    named: str | None
    """What the file must say its model is, None where anything goes."""
    precision: str | None = None
    """None where the outputs' format is the model's."""


class UnknownPath(Exception):
    """A path that is not of the study's form; the text says what is wrong."""


def inner(path: PurePath) -> tuple[str, ...]:
    """Return a path's parts from the experiment's folder on, empty if it lies in none."""
    parts = path.parts
    at = next((at for at in reversed(range(len(parts) - 1)) if parts[at] in FORMS), len(parts))
    return parts[at:]


def parse_path(parts: tuple[str, ...]) -> ResultPath:
    """Read a path from the experiment's folder on. Raises UnknownPath."""
    return FORMS[parts[0]](parts, PurePath(parts[-1]).stem)


def _measured(parts: tuple[str, ...], stem: str) -> ResultPath:
    _check(len(parts) == 4, "CLOUD/cpu|gpu/MACHINE-DEVICE-MODEL-iSAMPLE.json", parts)
    found = MEASURED.fullmatch(stem)
    if found is None:
        raise UnknownPath("its name is not of the form MACHINE-DEVICE-MODEL-iSAMPLE.json")
    machine, cloud = found["machine"], parts[1]
    name = _dashed(machine) if cloud == CLOUD else machine
    return _place(parts, f"{cloud}:{name}", str(int(found["sample"])), found["model"])


def _typed(parts: tuple[str, ...], stem: str) -> ResultPath:
    _check(len(parts) == 3, "MODEL_DTYPE/MACHINE.json", parts)
    found = TYPED.fullmatch(parts[1])
    if found is None:
        raise UnknownPath(f"the name of its folder '{parts[1]}' does not end with a format")
    machine = stem.removeprefix(f"{parts[1]}-")
    return ResultPath(
        path="/".join(parts),
        experiment=parts[0],
        platform=f"{CLOUD}:{_dashed(machine)}",
        sample=FIRST,
        model=found["model"],
        named=parts[1],
        precision=found["precision"],
    )


def _raced(parts: tuple[str, ...], stem: str) -> ResultPath:
    _check(len(parts) == 2, "MACHINE.json", parts)
    return _place(parts, f"{CLOUD}:{_dashed(stem)}", FIRST, None)


def _other_inputs(parts: tuple[str, ...], stem: str) -> ResultPath:
    _check(len(parts) == 4, "LAYER/INPUT/MACHINE.json", parts)
    return _place(parts, f"{CLOUD}:{_dashed(stem)}", parts[2], parts[1])


def _other_parameters(parts: tuple[str, ...], stem: str) -> ResultPath:
    _check(len(parts) == 4, "LAYER/WEIGHTS-INPUT/MACHINE.json", parts)
    weights, _, sample = parts[2].partition("-")
    machine = stem
    if not sample:
        machine, _, sample = stem.rpartition("-")
    if not (machine and sample):
        raise UnknownPath("neither its folder nor its name tells the input")
    return ResultPath(
        path="/".join(parts),
        experiment=parts[0],
        platform=f"{CLOUD}:{_dashed(machine)}",
        sample=sample,
        model=f"{parts[1]}-{weights}",
        named=weights,
    )


FORMS: dict[str, Callable[[tuple[str, ...], str], ResultPath]] = {
    "equivalence_classes": _measured,
    "precision": _typed,
    "race_conditions": _raced,
    "input_distribution": _other_inputs,
    "parameter_distribution": _other_parameters,
}
"""The folder of an experiment, and what reads the paths in it."""


def _place(parts: tuple[str, ...], platform: str, sample: str, model: str | None) -> ResultPath:
    return ResultPath("/".join(parts), parts[0], platform, sample, model, model)


def _check(sound: bool, form: str, parts: tuple[str, ...]) -> None:
    if not sound:
        raise UnknownPath(f"it is not at {parts[0]}/{form}")


def _dashed(machine: str) -> str:
    """Return a machine's name as its cloud spells it: files write `amd_rome_4` for `amd-rome-4`."""
    return machine.replace("_", "-")

"""What a user asks for, before anything of it is checked."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xbackend.errors import UsageError, did_you_mean
from xbackend.preparation.model import DEFAULT_MODEL
from xbackend.preparation.rewrite import NO_REWRITE, Rewrite
from xbackend.preparation.samples.choice import NO_CHOICE, SampleChoice
from xbackend.worker.contract import PRECISIONS

OTHER_PRECISIONS = {
    "fp32": "float32", "f32": "float32", "single": "float32", "float": "float32",
    "fp64": "float64", "f64": "float64", "double": "float64",
    "fp16": "float16", "f16": "float16", "half": "float16",
    "bf16": "bfloat16", "i8": "int8", "s8": "int8", "u8": "int8", "uint8": "int8", "qint8": "int8",
}  # fmt: skip
"""What other people call the precisions."""


@dataclass(frozen=True)
class RunRequest:
    """What `xbackend run` is asked for."""

    model: str = DEFAULT_MODEL
    backends: tuple[str, ...] = ()
    """Words; empty for every installed backend."""
    platforms: tuple[str, ...] = ("native",)
    inputs: Path | None = None
    """A file, a folder or `module:callable`; None for the model's own samples, or random ones."""
    choice: SampleChoice = NO_CHOICE
    """What is said of the inputs: extents of free axes, how pictures become arrays, labels."""
    precisions: tuple[str, ...] = ()
    """Empty for each backend's own."""
    threads: tuple[int, ...] = (1,)
    taps: str = "layers"
    settings: tuple[str, ...] = ()
    """Texts such as `ort.optimization=basic`."""
    options: tuple[str, ...] = ()
    """Texts such as `onnx_to_int8.weight=uint8`, for the converters."""
    repeats: int = 1
    fresh: bool = False
    """Whether runs that the store has already are repeated."""
    allow_nonfinite: bool = False
    sources: bool = False
    """Whether a backend that knows the model's own source runs that, too, where the setting `graph`
    is `auto`; without it that is the exported graph alone."""
    model_digest: str = ""
    """What the model's digest must be, where it is that of a run before."""
    inputs_digest: str = ""
    """Digest of inputs that a run had before, to take instead of a file."""
    emulated_samples: int = 0
    """How many samples run on emulated platforms, the first ones; 0 for all."""
    rewrite: Rewrite = NO_REWRITE
    purpose: str = ""
    """What a command makes the runs for, such as `mitigation`: they stay out of comparisons that do
    not ask for them. Empty for runs of the user's own."""
    faithful_taps_for: tuple[str, ...] = ()
    """Words of backends for whose outputs, where emulation may spoil them, other tensors vouch:
    all runs record the last safe ones, instead of `taps`."""


def skipped_by_name(
    records: Iterable[Mapping[str, Any]],
    backends: Container[str],
    precisions: Container[str],
    platforms: Container[str],
) -> list[str]:
    """Return which runs were skipped although a user named something of them, with the reason.

    What only a default chose is not named.
    """
    found = [
        f"{record['backend']} {record['precision']} on {record['platform']} was skipped: "
        f"{record['error']['message']}"
        for record in records
        if record["status"] == "skipped"
        and (
            record["backend"] in backends
            or record["precision"] in precisions
            or record["platform"] in platforms
        )
    ]
    return list(dict.fromkeys(found))


def check_precisions(precisions: Iterable[str]) -> None:
    """Raise UsageError for a precision that no backend could have."""
    for precision in precisions:
        if precision not in PRECISIONS:
            raise UsageError(
                f"There is no precision '{precision}'. Known: {', '.join(PRECISIONS)}."
                f"{did_you_mean(precision, PRECISIONS, OTHER_PRECISIONS)}"
            )

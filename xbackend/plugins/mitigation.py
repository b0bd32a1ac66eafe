"""The contract of a mitigation: what it changes for each backend, and what a user would paste.

A mitigation is found by an entry point `xbackend.mitigations`, which names a `Mitigation`, several
of them, or a function that makes them out of the `MitigationContext`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xbackend.worker.contract import SettingValue

EVERY = "*"
"""Stands for every backend where a mitigation says whom it is not for."""


@dataclass(frozen=True)
class MitigationContext:
    """What a mitigation may depend on."""

    backends: tuple[str, ...]
    """Words of those that run."""
    platforms: tuple[str, ...]
    """As the user wrote them."""
    flags: frozenset[str]
    """Flags that all x86 platforms have, by Linux's names; empty where none was asked."""
    threads: tuple[int, ...]
    formats: frozenset[str] = frozenset()
    """File formats that the user's model is in, which decide who converts it."""


@dataclass(frozen=True)
class BackendChange:
    """What a mitigation changes for one backend."""

    settings: Mapping[str, SettingValue] = field(default_factory=dict)
    """The backend's settings, over those of the user."""
    precision: str = ""
    """The precision instead of the backend's own."""
    threads: int = 0
    """The number of threads instead of the user's."""
    replacement_backend: str = ""
    """The word of a backend that runs in place of this one."""
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Converter's name to its options."""
    rewrite: str = ""
    """The file format in which the model is written first, such as `onnx-zeroed`."""
    zero_inputs: int = 0
    """How many low mantissa bits of the inputs are zeroed."""
    rounding: str = "nearest"
    """How the inputs are."""
    expected_zero_bits: int = 0
    """Low mantissa bits that float32 outputs must then have zero: a run that has not is an error,
    as something has simplified the change away."""
    required_settings: Mapping[str, SettingValue] = field(default_factory=dict)
    """Settings that the user must have chosen for this to have a meaning: `device=cuda`."""
    user_code: tuple[str, ...] = ()
    """Lines for the user's own program: environment variables, session options, code."""


@dataclass(frozen=True)
class Mitigation:
    """One thing that may remove the deviation."""

    name: str
    """What `--mitigations` takes."""
    what: str
    """One line."""
    changes: Mapping[str, BackendChange]
    """Backend's word to what changes."""
    unavailable: Mapping[str, str] = field(default_factory=dict)
    """Backend's word, or `*`, to the sentence that says why it cannot be."""
    family: str = ""
    """A word for several; `--mitigations` takes it too."""
    rank: int = 0
    """How much it takes away, from 0: the search leaves the highest out first."""
    default: bool = True
    """Whether it is tried where `--mitigations` is not given."""

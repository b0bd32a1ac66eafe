"""What is known of each backend, whether it is installed, its precisions and settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xbackend.plugins import registry
from xbackend.plugins.installed import version
from xbackend.worker.contract import BackendSpec, Setting

Record = dict[str, Any]


@dataclass(frozen=True)
class BackendInfo:
    """One backend, and what of it is here."""

    word: str
    """What `backends=` and `--backends` take."""
    title: str
    available: bool
    """Whether its framework is installed in this Python."""
    install: str | None
    """What to do where it is not."""
    versions: Mapping[str, str]
    """Distribution to version, of those that are installed."""
    precisions: tuple[str, ...]
    default_precision: str
    lacks: Mapping[str, str]
    """A precision that it does not have, to the reason."""
    settings: tuple[Setting, ...]
    """What `settings=` and `--set` take, with the defaults."""

    def to_dict(self) -> Record:
        """Return JSON values: an entry of `xbackend backends --json`."""
        return {
            **vars(self),
            "versions": dict(self.versions),
            "precisions": list(self.precisions),
            "lacks": dict(self.lacks),
            "settings": [vars(setting) for setting in self.settings],
        }


def list_backends() -> tuple[BackendInfo, ...]:
    """Return every known backend, installed or not."""
    return tuple(map(_info, registry.backends()))


def _info(spec: BackendSpec) -> BackendInfo:
    versions = {name: version(name) for name in spec.distributions}
    available = registry.is_available(spec)
    return BackendInfo(
        word=spec.word,
        title=spec.title,
        available=available,
        install=None if available else registry.install_hint(spec),
        versions={name: found for name, found in versions.items() if found},
        precisions=tuple(spec.formats),
        default_precision=spec.default_precision,
        lacks=dict(spec.unsupported_precisions),
        settings=spec.settings,
    )

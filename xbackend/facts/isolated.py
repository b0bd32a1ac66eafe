"""What isolating a run's layers came to: which have an error of their own, which inherit one."""

from __future__ import annotations

from dataclasses import dataclass

from xbackend.comparison.findings import BOTH, INHERITED, OWN, UNKNOWN, Isolation, LayerVerdict


@dataclass(frozen=True)
class IsolationFacts:
    """The layers of one isolation by verdict; each is in one of the tuples but `layers`."""

    layers: int
    """All that both runs recorded."""
    own: tuple[LayerVerdict, ...]
    """Those with an error of their own, inherited ones beside it or not."""
    by_emulation: tuple[LayerVerdict, ...]
    """Likewise, but of operators that an emulator computes unlike a real processor."""
    inherited: tuple[LayerVerdict, ...]
    """Those that only inherit."""
    unknown: tuple[LayerVerdict, ...]
    """Those that cannot be isolated."""

    @property
    def deviates(self) -> bool:
        """Whether any layer has other bits, or may."""
        return bool(self.own or self.by_emulation or self.inherited or self.unknown)


def isolation_facts(found: Isolation) -> IsolationFacts:
    """Return the layers of an isolation by verdict."""
    having_own = [each for each in found.layers if each.verdict in (OWN, BOTH)]
    return IsolationFacts(
        layers=len(found.layers),
        own=tuple(each for each in having_own if not each.by_emulation),
        by_emulation=tuple(each for each in having_own if each.by_emulation),
        inherited=tuple(each for each in found.layers if each.verdict == INHERITED),
        unknown=tuple(each for each in found.layers if each.verdict == UNKNOWN),
    )

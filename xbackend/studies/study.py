"""What a study is, what it is carried out with, and what comes out of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbackend.comparison.threads import ThreadTable
from xbackend.execution.execute import ExecutionContext, execute
from xbackend.execution.request import RunRequest
from xbackend.store.records import Run, read_run
from xbackend.studies.configuration import COMMON, ConfigKey, Configuration
from xbackend.studies.table import Table
from xbackend.studies.verdict import Verdict, sentence

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, np.ndarray[Any, Any]]

Record = dict[str, Any]


@dataclass
class StudyContext:
    """A study that is being carried out: runs what it orders and remembers the runs."""

    configuration: Configuration
    context: ExecutionContext
    runs: list[Run] = field(default_factory=list)

    def request(self, model: str | Path, **more: Any) -> RunRequest:
        """Return a request with the configuration's backends, platforms, threads and settings."""
        chosen = self.configuration
        request = RunRequest(
            model=str(model),
            backends=tuple(chosen["backends"]),
            platforms=tuple(chosen["platforms"]),
            threads=tuple(chosen["threads"]),
            precisions=(chosen["precision"],),
            taps="outputs",
        )
        request = replace(request, **more)
        said = [text for text in chosen["settings"] if text.partition(".")[0] in request.backends]
        return replace(request, settings=(*said, *request.settings))

    def run(self, request: RunRequest) -> list[Run]:
        """Carry out a request; runs that the store has already are not repeated."""
        found = [read_run(record) for record in execute(request, self.context)]
        self.runs += found
        return found

    def run_on(self, arrays: Arrays, request: RunRequest) -> list[Run]:
        """Carry out a request with some inputs, samples along axis 0, which the store keeps."""
        import numpy as np

        with tempfile.TemporaryDirectory(prefix="xbackend-") as folder:
            path = Path(folder) / "inputs.npz"
            np.savez(path, **arrays)
            return self.run(replace(request, inputs=path))


@dataclass(frozen=True)
class StudyResult:
    """What came out of a study."""

    records: tuple[Record, ...]
    """What was measured, one record for each row of a CSV file."""
    tables: tuple[Table | ThreadTable, ...]
    """The same for a reader."""
    verdicts: tuple[Verdict, ...]
    plot: str
    """The name of the plot that draws `plot_data`."""
    plot_data: Sequence[Any]
    notes: tuple[str, ...] = ()
    """What must be known beside: what is in doubt, what is not here."""


@dataclass(frozen=True)
class Study:
    """A study of the paper."""

    name: str
    text: str
    """What it does, in one line."""
    source: str
    """Where the paper has it: `Figure 4`."""
    claim: str
    """What the paper found, as a clause after "that"."""
    criterion: str
    """When that holds, and when it cannot be told, in a sentence."""
    own_keys: tuple[ConfigKey, ...]
    run: Callable[[StudyContext], StudyResult]

    @property
    def keys(self) -> tuple[ConfigKey, ...]:
        """All keys of its configuration."""
        return (*COMMON, *self.own_keys)

    def to_dict(self) -> Record:
        """Return JSON values: an entry of `xbackend study --json`."""
        return {
            "name": self.name,
            "text": self.text,
            "source": self.source,
            "claim": self.claim,
            "criterion": self.criterion,
            "keys": {key.name: key.help for key in self.keys},
        }

    def sentence(self, outcome: StudyResult) -> str:
        """Return whether the finding holds here."""
        return sentence(self.claim, self.source, outcome.verdicts)


def by_backend(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Return the runs of each backend that gave outputs; a backend without any has none.

    Backends are in the order of their first runs.
    """
    found: dict[str, list[Run]] = {}
    for run in runs:
        members = found.setdefault(run.row["backend"], [])
        if run.ok:
            members.append(run)
    return found


def platform_labels(runs: Iterable[Run]) -> list[str]:
    """Return the names of the platforms of some runs, with the threads where these differ."""
    listed = list(runs)
    several = len({run.row["settings"].get("threads") for run in listed}) > 1
    return list(dict.fromkeys(platform_label(run, several) for run in listed))


def platform_label(run: Run, threads: bool) -> str:
    """Return the name of a run's platform, and its number of threads if that matters."""
    platform = str(run.row["platform"])
    return f"{platform}, {run.row['settings'].get('threads')} threads" if threads else platform

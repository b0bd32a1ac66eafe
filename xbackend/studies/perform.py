"""Carries out a study by its name: its configuration, its runs, and what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xbackend.errors import UsageError
from xbackend.execution.execute import ExecutionContext
from xbackend.plugins import registry
from xbackend.store.records import Run
from xbackend.studies.configuration import Configuration, check, read, shipped
from xbackend.studies.study import Study, StudyContext, StudyResult

Record = dict[str, Any]


@dataclass(frozen=True)
class StudyReport:
    """What a study found here."""

    study: Study
    configuration: Configuration
    result: StudyResult
    runs: tuple[Run, ...]
    """All runs that it made or found in the store."""

    @property
    def sentence(self) -> str:
        """Whether the finding of the paper holds here."""
        return self.study.sentence(self.result)

    @property
    def failed(self) -> bool:
        """Whether a run failed."""
        return any(run.row["status"] == "failed" for run in self.runs)

    def to_dict(self) -> Record:
        """Return JSON values: what `xbackend study NAME --json` prints."""
        return {
            "schema_version": 1,
            "study": self.study.name,
            "source": self.study.source,
            "claim": self.study.claim,
            "criterion": self.study.criterion,
            "configuration": self.configuration,
            "records": list(self.result.records),
            "notes": list(self.result.notes),
            "verdicts": [
                {"backend": each.subject, "verdict": each.word, "reason": each.reason}
                for each in self.result.verdicts
            ],
            "sentence": self.sentence,
            "runs": [run.id for run in self.runs],
        }

    def __str__(self) -> str:
        """Return the text for a terminal."""
        return registry.renderer("study")(self)


def perform(study: Study, configuration: Configuration, context: ExecutionContext) -> StudyReport:
    """Carry out a study; runs that the store has already are not repeated."""
    context.store.create()
    task = StudyContext(configuration, context)
    result = study.run(task)
    return StudyReport(study, configuration, result, tuple(task.runs))


def configure(
    study: Study,
    size: str,
    config: Path | Mapping[str, Any] | None,
    changes: Mapping[str, Any],
) -> Configuration:
    """Return the shipped configuration, changed by the user's own, then by `changes`.

    What is empty in `changes` changes nothing. Raises UsageError for what no configuration may be.
    """
    configuration = shipped(study.name, size, study.keys)
    if isinstance(config, Path):
        configuration.update(read(config, study.keys))
    elif config is not None:
        configuration.update(check(dict(config), study.keys, "The configuration"))
    configuration.update({key: value for key, value in changes.items() if value})
    for text in configuration["settings"]:
        if text.partition(".")[0] not in configuration["backends"]:
            raise UsageError(
                f"'--set {text}' is of no backend that the study runs: "
                f"{', '.join(configuration['backends'])}. Name its backend with --backends."
            )
    return configuration

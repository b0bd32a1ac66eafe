"""The files that runs of one section computed, and what is known of how they belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from xbackend.comparison.across.weights import WeightComparison
from xbackend.store.records import Record, Run

SHORT = 8
"""Digits of a digest that tell files of one name apart."""


@dataclass(frozen=True)
class ModelFile:
    """One of the models of a section."""

    name: str
    """The file's name, with the beginning of its digest where another has the same."""
    digest: str
    source: str | None
    """What the user called it."""
    runs: tuple[str, ...]
    """Ids of its runs."""


@dataclass(frozen=True)
class FileLayers:
    """How the layers of a file were matched with those of the first."""

    file: ModelFile
    by_name: int
    by_values: int
    by_part: int
    """Matched by a part of the name, where no values agreed."""
    left_out: tuple[str, ...]
    """Layers that were recorded and are none of the first file's."""
    turned: int
    """Layers whose axes were brought into another order."""
    integers: int
    """Layers whose integers were taken as the reals that they stand for."""

    @property
    def matched(self) -> int:
        """How many layers are compared."""
        return self.by_name + self.by_values + self.by_part


@dataclass(frozen=True)
class AcrossSection:
    """A section whose runs computed different files."""

    key: str
    """That of its cohort."""
    files: tuple[ModelFile, ...]
    """In the order of their first runs; the first one's names count."""
    layers: tuple[FileLayers, ...]
    """One for each file but the first."""
    weights: tuple[WeightComparison | None, ...]
    """Likewise; None where the store holds no graph of one of the two."""

    def to_dict(self) -> Record:
        """Return the entry of `across` in the JSON report."""
        return {
            "files": [{**vars(each), "runs": list(each.runs)} for each in self.files],
            "layers": [
                {**vars(each), "file": each.file.digest, "left_out": list(each.left_out)}
                for each in self.layers
            ],
            "weights": [None if each is None else each.to_dict() for each in self.weights],
        }


def model_files(runs: Sequence[Run]) -> tuple[ModelFile, ...]:
    """Return the files of some runs, as they are first met."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(str(run.row["model_digest"]), []).append(run)
    names = {digest: file_name(of[0]) for digest, of in found.items()}
    return tuple(
        ModelFile(
            name=name_apart(names[digest], digest, list(names.values())),
            digest=digest,
            source=of[0].row["model_source"],
            runs=tuple(run.id for run in of),
        )
        for digest, of in found.items()
    )


def file_name(run: Run) -> str:
    """Return what a run's model is called: the last part of what the user named."""
    source = run.row["model_source"]
    return PurePath(str(source)).name or str(source) if source else str(run.row["model"])


def name_apart(name: str, digest: str, names: Sequence[str]) -> str:
    """Return a name, with the beginning of a digest where several have that name.

    >>> name_apart("a.onnx", "0123456789", ["a.onnx", "b.onnx", "a.onnx"])
    'a.onnx (01234567)'
    """
    return f"{name} ({digest[:SHORT]})" if names.count(name) > 1 else name

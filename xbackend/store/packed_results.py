"""What runs recorded, packed: names once for all runs that share them, digests as raw bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

Record = dict[str, Any]

KINDS = ("inputs", "outputs", "taps")
"""The lists of tensors that a run has for each sample."""
SIZE = 32
"""Bytes of a digest."""


@dataclass(frozen=True)
class ResultsTemplate:
    """What runs that recorded alike share: all that they say of tensors but the digests."""

    text: str
    """JSON, the same for the same samples and tensors."""

    @cached_property
    def samples(self) -> tuple[Record, ...]:
        """One for each sample: `input`, and under each kind the tensors without digests."""
        return tuple(json.loads(self.text))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The samples' names, which need not be different."""
        return tuple(str(sample["input"]) for sample in self.samples)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """For each sample, how many digests stand before its first."""
        found = [0]
        for sample in self.samples:
            found.append(found[-1] + sum(len(sample.get(kind, ())) for kind in KINDS))
        return tuple(found)

    def places(self, sample: str, kind: str) -> Mapping[str, int]:
        """Return where the digests of a sample's tensors of a kind stand, by name."""
        return self._places.get((sample, kind), {})

    @cached_property
    def rows(self) -> tuple[Record, ...]:
        """All tensors in the order of their digests."""
        return tuple(
            row for sample in self.samples for kind in KINDS for row in sample.get(kind, ())
        )

    @cached_property
    def _places(self) -> dict[tuple[str, str], dict[str, int]]:
        found: dict[tuple[str, str], dict[str, int]] = {}
        for name, start, sample in zip(self.names, self.starts, self.samples, strict=False):
            if (name, KINDS[0]) in found:
                continue  # of two samples of one name the first is compared
            for kind in KINDS:
                rows = sample.get(kind, ())
                found[name, kind] = {str(row["name"]): start + n for n, row in enumerate(rows)}
                start += len(rows)
        return found


@dataclass(frozen=True)
class PackedResults(Sequence[Record]):
    """The results of a run, made into records only where one is looked at."""

    template: ResultsTemplate
    digests: bytes
    """One digest after the other, in the template's order."""
    extras: tuple[Record, ...]
    """For each sample, what else the run says: seconds, whether taps were neutral."""

    def __len__(self) -> int:
        return len(self.template.samples)

    @overload
    def __getitem__(self, place: int) -> Record: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Record, ...]: ...
    def __getitem__(self, place: int | slice) -> Record | tuple[Record, ...]:
        if isinstance(place, slice):
            return tuple(self._record(each) for each in range(len(self))[place])
        return self._record(range(len(self))[place])

    def __iter__(self) -> Iterator[Record]:
        return map(self._record, range(len(self)))

    def tensor(self, place: int) -> Record:
        """Return a tensor by where its digest stands."""
        return {**self.template.rows[place], "digest": self._digest(place)}

    def _record(self, place: int) -> Record:
        sample, at = self.template.samples[place], self.template.starts[place]
        record: Record = {**sample, **self.extras[place]}
        for kind in KINDS:
            if kind in sample:
                rows = sample[kind]
                record[kind] = [
                    {**row, "digest": self._digest(n)} for n, row in enumerate(rows, at)
                ]
                at += len(rows)
        return record

    def _digest(self, place: int) -> str:
        return self.digests[place * SIZE : (place + 1) * SIZE].hex()


def pack_results(results: Sequence[Record]) -> PackedResults:
    """Take results apart into what runs share and what is each run's own.

    Raises ValueError where a digest is not 64 hexadecimal digits.
    """
    digests = [str(row["digest"]) for row in _tensors(results)]
    data = bytes.fromhex("".join(digests))
    if any(len(digest) != 2 * SIZE for digest in digests) or data.hex() != "".join(digests):
        raise ValueError("A digest is not a SHA-256.")
    return PackedResults(_template(results), data, tuple(map(_extra, results)))


def results_key(results: Sequence[Record]) -> tuple[ResultsTemplate, bytes]:
    """Return what tells results apart by their bits; a digest that is none stands for itself."""
    if isinstance(results, PackedResults):
        return results.template, results.digests
    try:
        packed = pack_results(results)
    except ValueError:
        found = (hashlib.sha256(str(row["digest"]).encode()) for row in _tensors(results))
        return _template(results), b"".join(each.digest() for each in found)
    return packed.template, packed.digests


def digests_of(results: Sequence[Record]) -> Iterator[str]:
    """Yield the digests of all tensors of a run."""
    if isinstance(results, PackedResults):
        text = results.digests.hex()
        yield from (text[n : n + 2 * SIZE] for n in range(0, len(text), 2 * SIZE))
    else:
        yield from (str(row["digest"]) for row in _tensors(results))


def extra_of_sample(results: Sequence[Record], sample: str) -> Mapping[str, Any]:
    """Return what a run says of one sample besides its tensors."""
    if isinstance(results, PackedResults):
        return results.extras[results.template.names.index(sample)]
    return next(result for result in results if str(result["input"]) == sample)


def _tensors(results: Sequence[Record]) -> Iterator[Record]:
    for result in results:
        for kind in KINDS:
            yield from result.get(kind, ())


def _template(results: Sequence[Record]) -> ResultsTemplate:
    return ResultsTemplate(
        json.dumps([_shell(result) for result in results], separators=(",", ":"))
    )


def _shell(result: Record) -> Record:
    """Return a sample's tensors without digests."""
    tensors = {
        kind: [{key: row[key] for key in row if key != "digest"} for row in result[kind]]
        for kind in KINDS
        if kind in result
    }
    return {"input": result["input"], **tensors}


def _extra(result: Record) -> Record:
    return {key: value for key, value in result.items() if key not in (*KINDS, "input")}

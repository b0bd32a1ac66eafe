"""Values that several functions return: listings, with what turns them into tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

from xbackend.errors import UsageError
from xbackend.plugins import registry

if TYPE_CHECKING:
    from xbackend.comparison.comparison import Classes, TapComparison
    from xbackend.comparison.layers import TapSummary
    from xbackend.comparison.summary import Summary

Record = dict[str, Any]


class Row(Protocol):
    """What can be written as JSON values."""

    def to_dict(self) -> Record:
        """Return JSON values."""
        ...


T = TypeVar("T", bound=Row)


class Listing(Sequence[T], Generic[T]):
    """Several values of one kind: a sequence that shows itself as the command's table."""

    def __init__(
        self, items: Sequence[T], renderer: str, key: str, left_out: Sequence[object] = ()
    ) -> None:
        self.items = tuple(items)
        self.renderer = renderer
        self.key = key
        self.left_out = tuple(map(str, left_out))
        """A sentence for each record of the store that is not sound, and so was not looked at."""

    @overload
    def __getitem__(self, place: int) -> T: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[T, ...]: ...

    def __getitem__(self, place: int | slice) -> T | tuple[T, ...]:
        """Return one value, or several."""
        return self.items[place]

    def __len__(self) -> int:
        """Return how many values there are."""
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        """Go through the values."""
        return iter(self.items)

    def __eq__(self, other: object) -> bool:
        """Tell whether the values are the same."""
        return isinstance(other, Listing) and self.items == other.items

    def __hash__(self) -> int:
        """Return a hash of the values."""
        return hash(self.items)

    def __repr__(self) -> str:
        """Return the values as Python writes them."""
        return repr(self.items)

    def __str__(self) -> str:
        """Return the table for a terminal."""
        return registry.renderer(self.renderer)(self.items)

    def _repr_html_(self) -> str:
        """Return the same table for a notebook."""
        return registry.renderer("preformatted")(str(self))

    def to_dict(self) -> Record:
        """Return JSON values: what the command prints with `--json`."""
        return {"schema_version": 1, self.key: [each.to_dict() for each in self.items]}

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame, a row for each value. Raises UsageError without pandas."""
        return data_frame([each.to_dict() for each in self.items])


@dataclass(frozen=True, repr=False)
class Section:
    """What can be compared at all: the runs of one model, one precision, one set of inputs.

    `print` shows the table of its layers.
    """

    summary: Summary

    @property
    def model(self) -> str:
        """The model's name."""
        return self.summary.cohort.model

    @property
    def precision(self) -> str:
        """The precision of all its runs."""
        return str(self.summary.cohort.group["precision"])

    @property
    def classes(self) -> Classes:
        """The equivalence classes (EQCs): ids of runs with the same bits in all outputs."""
        return self.summary.eqcs

    @property
    def first_divergence(self) -> TapComparison | None:
        """The first tensor in graph order that differs on any sample; None where none does."""
        return self.summary.first_divergence

    @property
    def layers(self) -> Listing[TapSummary]:
        """Every recorded tensor in graph order, outputs among them, over all samples."""
        return Listing(self.summary.taps, "layers", "layers")

    @property
    def label_flips(self) -> tuple[str, ...]:
        """Ids of the runs of which a label is not the first run's, on any sample."""
        return self.summary.flipped

    @property
    def remaining_precision(self) -> int | None:
        """Leading mantissa bits that all runs share in every element of every output."""
        return self.summary.metrics.remaining_precision

    def __repr__(self) -> str:
        """Return what it is about, in one line."""
        counts = f"runs: {self.summary.run_count}, classes: {len(self.classes)}"
        return f"<Section {self.model} in {self.precision}; {counts}>"

    def __str__(self) -> str:
        """Return the table of its layers below what it is about."""
        return f"{self!r}\n{self.layers}"

    def _repr_html_(self) -> str:
        """Return the same for a notebook."""
        return registry.renderer("preformatted")(str(self))

    def to_dict(self) -> Record:
        """Return JSON values: an entry of `sections` in the JSON report."""
        return self.summary.to_dict()


def data_frame(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return a pandas DataFrame of rows. Raises UsageError where pandas is not installed."""
    try:
        import pandas
    except ImportError as error:
        raise UsageError("A DataFrame needs pandas. Install it with: pip install pandas") from error
    return pandas.DataFrame([dict(row) for row in rows])

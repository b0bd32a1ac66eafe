"""Takes what a baseline holds from runs: their classes, and which kinds of machines gave them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from xbackend.errors import MissingObjectError
from xbackend.facts.baseline.entries import (
    Baseline,
    BaselineSection,
    KnownClass,
    MachineKind,
    Sighting,
    canonical,
)
from xbackend.numerics.blocks import TensorBlocks, blocks_of_file, blocks_of_tensor
from xbackend.numerics.label_flips import has_label, row_labels
from xbackend.store.records import Run
from xbackend.store.schema.record import byte_count
from xbackend.store.store import Store
from xbackend.worker.machine.environment import TCG
from xbackend.worker.tensor import from_bytes

Record = dict[str, Any]

KEPT_BYTES = 4096
"""An output of at most so many bytes is kept whole: a thousand scores in float32."""
KEPT_LABELS = 1024
"""Of a larger one the labels are, of at most so many rows."""
ARITHMETIC = re.compile(
    r"ssse3|sse4\w*|avx\w*|f16c|fma4?|xop|amx_\w+"
    r"|asimd\w*|neon|fphp|bf16|i8mm|sve\w*|sme\w*|vfpv\w*"
)
"""Flags that libraries choose kernels by, in Linux's names, of x86 and of ARM."""


@dataclass(frozen=True)
class Observation:
    """One tensor that a run gave for a sample."""

    run: Run
    section: BaselineSection
    kind: MachineKind
    sample: str
    is_output: bool
    row: Record
    """Its name, dtype, shape and digest."""

    @property
    def place(self) -> tuple[str, str, str]:
        """Section, tensor and sample."""
        return (self.section.id, str(self.row["name"]), self.sample)

    @property
    def sighting(self) -> Sighting:
        """Who gave its class."""
        hardware = self.run.row["hardware"]
        unsafe = str(self.row["name"]) in self.run.emulation_unsafe
        return Sighting(self.known().id, self.kind.id, hardware.get("hypervisor") == TCG, unsafe)

    def known(self, data: bytes | None = None, labels: tuple[int, ...] | None = None) -> KnownClass:
        """Return its class, with what is kept of it."""
        row = self.row
        return KnownClass(
            section=self.section.id,
            tensor=str(row["name"]),
            sample=self.sample,
            is_output=self.is_output,
            dtype=str(row["dtype"]),
            shape=tuple(row["shape"]),
            digest=str(row["digest"]),
            data=data,
            labels=labels,
        )


def section_of(run: Run) -> BaselineSection:
    """Return what a run can be compared in."""
    row = run.row
    return BaselineSection(
        model=str(row["model"]),
        model_digest=str(row["model_digest"]),
        precision=str(row["precision"]),
        inputs=run.inputs_digest,
        conversion=row.get("conversion") or None,
        quantizer=row.get("quantizer") or None,
    )


def kind_of(run: Run) -> MachineKind:
    """Return the kind of machine that a run computed on, and with what."""
    row, hardware = run.row, run.row["hardware"]
    flags = (flag for flag in hardware.get("flags") or () if ARITHMETIC.fullmatch(flag))
    return MachineKind(
        vendor=hardware.get("vendor"),
        microarchitecture=hardware.get("microarchitecture"),
        machine=hardware.get("machine"),
        flags=tuple(sorted(flags)),
        backend=str(row["backend"]),
        version=row.get("backend_version"),
        settings=canonical(row["settings"]),
    )


def observations(runs: Iterable[Run], layers: bool = True) -> Iterator[Observation]:
    """Yield every output of the runs that gave any, and their layers if these are wanted.

    A layer whose recording changed a run's bits is none.
    """
    for run in runs:
        if not run.ok:
            continue
        section, kind = section_of(run), kind_of(run)
        for result in run.results:
            sample = str(result["input"])
            for row in result["outputs"]:
                yield Observation(run, section, kind, sample, True, row)
            outputs = {row["name"] for row in result["outputs"]}
            if layers and result.get("taps_neutral") is not False:
                for row in result["taps"]:
                    if row["name"] not in outputs:
                        yield Observation(run, section, kind, sample, False, row)


def collect(runs: Sequence[Run], store: Store, layers: bool = False) -> Baseline:
    """Return the baseline of some runs. Raises StoreError for a damaged output."""
    sections: dict[str, BaselineSection] = {}
    kinds: dict[str, MachineKind] = {}
    classes: dict[str, KnownClass] = {}
    sightings = set()
    for each in observations(runs, layers):
        sections.setdefault(each.section.id, each.section)
        kinds.setdefault(each.kind.id, each.kind)
        sightings.add(each.sighting)
        name = each.known().id
        if name not in classes:
            classes[name] = _kept(each, store)
    return Baseline(sections, kinds, classes, frozenset(sightings))


def _kept(found: Observation, store: Store) -> KnownClass:
    """Return a class with its bytes or labels, as far as they are kept: of outputs."""
    row = found.row
    if not found.is_output:
        return found.known()
    if byte_count(row) <= KEPT_BYTES:
        return found.known(store.read_object(row["digest"], byte_count(row)))
    return found.known(labels=labels_of(stored_blocks(row, store)))


def labels_of(tensor: TensorBlocks | None) -> tuple[int, ...] | None:
    """Return the labels of a tensor's rows; None where it has none, or too many."""
    if tensor is None or not has_label(tensor.dtype, tensor.shape):
        return None
    extents = [extent for extent in tensor.shape if extent != 1]
    rows = extents[0] if len(extents) > 1 else 1
    return row_labels(tensor) if rows <= KEPT_LABELS else None


def stored_blocks(row: Record, store: Store) -> TensorBlocks | None:
    """Return a tensor of a store, None where it is not kept. Raises StoreError if damaged."""
    try:
        path = store.verify_object(row["digest"], byte_count(row))
    except MissingObjectError:
        return None
    return blocks_of_file(path, str(row["dtype"]), tuple(row["shape"]))


def known_blocks(known: KnownClass, store: Store) -> TensorBlocks | None:
    """Return the bytes of a known class: the baseline's own, or a store's that happens to have it.

    None where neither has them.
    """
    if known.data is not None:
        return blocks_of_tensor(from_bytes(known.dtype, known.shape, known.data))
    row = {"dtype": known.dtype, "shape": list(known.shape), "digest": known.digest}
    return stored_blocks(row, store)

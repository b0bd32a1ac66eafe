"""Free axes of a model's inputs: what was chosen for them, and a default for the others."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xbackend.errors import InputError
from xbackend.preparation.samples.choice import SampleChoice, Shape
from xbackend.worker.artifact import ValueInfo

BATCH = 1
SEQUENCE = 16
PICTURE = 224
CHANNELS = 3
AUDIO = 16_000
SIGNAL = 512
"""Of two axes of floats that no name tells more of: a window of speech."""

BY_NAME: tuple[tuple[str, int], ...] = (
    (r"batch|^b$|^bs$|^num_?(imgs|images)$", BATCH),
    (r"height|width|^h$|^w$|^(img|image)_?(size|h|w)$", PICTURE),
    (r"channel|^c$", CHANNELS),
    (r"audio|wave|sample", AUDIO),
    (r"seq|len|token|time|frame|past|step|^t$|^s$|^l$", SEQUENCE),
)
"""Patterns of a symbolic axis's name, to the extent that is taken, the first that fits."""

STATE = r"(^|[_.])(h|c|hn|cn)_?[0-9]*$|state"
"""What the state of a recurrent layer is called: layers, batch, numbers."""


@dataclass(frozen=True)
class FreeAxis:
    """An axis whose extent the model leaves open, and what was taken for it."""

    name: str
    """Its symbolic name; empty where it has none."""
    input: str
    """The first input that has it."""
    axis: int
    extent: int

    def sentence(self, shape: Shape) -> str:
        """Say what was taken and how to change it.

        >>> FreeAxis("seq", "ids", 1, 16).sentence((1, 16))
        'seq: free, 16 taken; change with --dim seq=…'
        """
        if self.name:
            return f"{self.name}: free, {self.extent} taken; change with --dim {self.name}=…"
        shown = ",".join(map(str, shape))
        return (
            f"axis {self.axis} of '{self.input}': free, {self.extent} taken; change with "
            f"--shape {self.input}={shown}"
        )


def narrow_axes(interface: Sequence[ValueInfo], choice: SampleChoice) -> tuple[ValueInfo, ...]:
    """Return the inputs with the extents that were chosen; equal names have equal extents.

    Raises InputError for a name that the model does not have, and for what contradicts it.
    """
    values = {value.name: value for value in interface}
    known: dict[str, int] = {}
    for name, shape in choice.shapes:
        if name not in values:
            raise InputError(
                f"'--shape {name}=…' names no input of the model; its inputs are "
                f"{', '.join(map(repr, values)) or 'none'}."
            )
        _bind(known, values[name], shape)
        values[name] = dataclasses.replace(values[name], shape=shape)
    symbols = _symbols(interface)
    for name, extent in choice.dims:
        if name not in symbols:
            raise InputError(
                f"'--dim {name}={extent}' names no axis of the model's inputs; theirs are "
                f"{', '.join(map(repr, symbols)) or 'without names: give --shape'}."
            )
        if known.setdefault(name, extent) != extent:
            raise InputError(
                f"'--dim {name}={extent}' contradicts --shape, by which it is {known[name]}."
            )
    return tuple(_substituted(value, known) for value in values.values())


def fill_axes(
    interface: Sequence[ValueInfo],
) -> tuple[tuple[ValueInfo, ...], tuple[FreeAxis, ...]]:
    """Return the inputs without free extents, and what was taken for each that was free.

    Raises InputError for an input whose number of axes is not known.
    """
    values, found = list(interface), []
    known: dict[str, int] = {}
    for value in interface:
        if value.shape is None:
            raise InputError(
                f"The model's input '{value.name}' takes any number of axes, so no input can be "
                f"made up. Say its shape with --shape {value.name}=…, or give one with --inputs."
            )
    for sums in (False, True):  # the terms of a sum before it
        for value in interface:
            for axis, extent in enumerate(value.shape or ()):
                name = _name(value, axis)
                if extent is not None or ("+" in name) != sums or _sum(name, known) is not None:
                    continue
                taken = default_extent(value, axis)
                found.append(FreeAxis(name, value.name, axis, taken))
                known |= {name: taken} if name else {}
    filled = tuple(_filled(value, known) for value in values)
    return filled, tuple(found)


def default_extent(value: ValueInfo, axis: int) -> int:
    """Return what is taken for a free axis that nothing else decides.

    >>> default_extent(ValueInfo("x", "float32", (None, 3, None, None)), 2)
    224
    >>> default_extent(ValueInfo("ids", "int64", (None, None), ("batch", "seq")), 1)
    16
    """
    name, shape = _name(value, axis).lower(), value.shape or ()
    is_signal = axis == 1 and len(shape) == 2 and value.dtype.startswith("float")
    if is_signal and re.search(r"audio|wave|speech|pcm", value.name.lower()):
        return AUDIO
    for pattern, extent in BY_NAME if name else ():
        if re.search(pattern, name):
            return SIGNAL if is_signal and extent == SEQUENCE else extent
    if is_signal:
        return SIGNAL
    is_state = axis == 1 and len(shape) == 3 and re.search(STATE, value.name.lower())
    if axis == 0 or is_state:
        return BATCH
    if len(shape) != 4:
        return SEQUENCE
    last = shape[3] in (1, CHANNELS) and shape[1] not in (1, CHANNELS)
    spatial = (1, 2) if last else (2, 3)
    return PICTURE if axis in spatial else CHANNELS


def _bind(known: dict[str, int], value: ValueInfo, shape: Shape) -> None:
    """Remember what a shape says of symbolic axes. Raises InputError where it cannot be."""
    want = value.shape
    fits = want is None or len(want) == len(shape)
    if not fits or any(w not in (None, s) for w, s in zip(want or (), shape, strict=False)):
        shown = ",".join(_name(value, n) or ("?" if e is None else str(e))
                         for n, e in enumerate(want or ()))  # fmt: skip
        raise InputError(
            f"'--shape {value.name}={','.join(map(str, shape))}' is no shape that the model takes "
            f"there: {shown}."
        )
    for axis, extent in enumerate(shape):
        name = _name(value, axis)
        is_free = want is not None and want[axis] is None and bool(name)
        if is_free and known.setdefault(name, extent) != extent:
            raise InputError(
                f"'--shape {value.name}={','.join(map(str, shape))}' makes '{name}' {extent}, "
                f"and another --shape {known[name]}."
            )


def _substituted(value: ValueInfo, known: Mapping[str, int]) -> ValueInfo:
    if value.shape is None:
        return value
    shape = tuple(
        _sum(_name(value, axis), known) if extent is None else extent
        for axis, extent in enumerate(value.shape)
    )
    return dataclasses.replace(value, shape=shape)


def _filled(value: ValueInfo, known: Mapping[str, int]) -> ValueInfo:
    shape = tuple(
        extent if extent is not None else default_extent(value, axis)
        for axis, extent in enumerate(_substituted(value, known).shape or ())
    )
    return dataclasses.replace(value, shape=shape)


def _sum(name: str, known: Mapping[str, int]) -> int | None:
    """Return what a name stands for, which may be a sum of names; None where that is not known.

    >>> _sum("past + 1", {"past": 16}), _sum("past + x", {"past": 16}), _sum("", {})
    (17, None, None)
    """
    terms = [term.strip() for term in name.split("+")]
    found = [int(term) if term.isdecimal() else known.get(term) for term in terms]
    return known.get(name, None if None in found else sum(each or 0 for each in found))


def _name(value: ValueInfo, axis: int) -> str:
    return value.axes[axis] if axis < len(value.axes) else ""


def _symbols(interface: Sequence[ValueInfo]) -> tuple[str, ...]:
    """Return the names of all free axes, each once, sums of others left out."""
    names = [
        _name(value, axis)
        for value in interface
        for axis, extent in enumerate(value.shape or ())
        if extent is None
    ]
    return tuple(dict.fromkeys(name for name in names if name and "+" not in name))

"""The contract of a converter: one arrow between two model formats.

File formats, which `xbackend convert` writes: `keras`, `h5`, `savedmodel`, `pt2`, `callable`,
`onnx`, `onnx-int8`, `onnx-float64`, `onnx-float16`, `onnx-bfloat16`, `tflite`, `tflite-int8`.
Prepared formats, which adapters eat: `graph` and `graph-<precision>` (the ONNX graph, see
`xbackend.worker.graph`), `source-torch` and `source-tf` (the model as its own framework runs it,
see `xbackend.worker.artifact`), `flat` and `flat-<precision>` (a TensorFlow Lite file and which of
its tensors is which ONNX value).

A converter runs in a process of its own. Its module imports no framework at the top, so that the
coordinator can read its `SPEC`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xbackend.worker.artifact import Layer, ValueInfo


@dataclass(frozen=True)
class ConverterSpec:
    """What the coordinator knows of a converter without importing a framework."""

    name: str
    """The file's name, such as `keras_to_onnx`."""
    conversions: tuple[tuple[str, str], ...]
    """Pairs of source and target format."""
    convert: str
    """The function, as `package.module:function`; it takes a Request and returns a Result."""
    modules: tuple[str, ...]
    """Import names of the packages that it needs, all of them."""
    extra: str
    """The extra that installs them, for the message: `tf`."""
    distributions: tuple[str, ...] = ()
    """Names on the package index whose versions decide what comes out: part of the digest."""
    revision: int = 1
    """Raised whenever the converter's output changes: part of the digest."""
    executor: str = ""
    """The backend whose executor walks the graph for it, so that it has the same operators; empty
    where the converter reads the model itself."""
    takes_inputs: bool = False
    """Whether sample inputs decide what comes out (calibration, alignment of names)."""
    takes_hub: bool = False
    """Whether it wants the folder of the model's `graph` artifact, to name tensors after it."""
    options: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    """The values of each `--option`, its default first."""
    texts: tuple[str, ...] = ()
    """Names of options that take any text, such as names of layers; without one, nothing."""
    options_for: tuple[str, ...] = ()
    """The target formats that options concern; empty for all."""


@dataclass(frozen=True)
class ConversionRequest:
    """One conversion to do."""

    source: Path
    """The model's file or folder; for `callable`, the text `module:callable`."""
    source_format: str
    target_format: str
    output: Path
    """An empty folder to write into."""
    inputs: Path | None = None
    """An .npz of sample inputs, one array for each input of the model, samples along axis 0;
    given if the spec takes inputs."""
    hub: Path | None = None
    """Folder of the `graph` artifact of the same model, if the spec takes it and it can be made."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the converter, JSON values; part of the digest."""


@dataclass(frozen=True)
class WeightReport:
    """Which weights of the source came through with all their bits."""

    identical: tuple[str, ...]
    """Names in the source whose bits are in the target, up to a transposition or reshaping."""
    changed: tuple[str, ...]
    """Names in the source whose bits are not: folded into another tensor, rounded or quantized."""


@dataclass(frozen=True)
class ConversionResult:
    """What a conversion gave."""

    model: str
    """Name of the main file within the output folder, which the next arrow takes."""
    weights: WeightReport
    inputs: tuple[ValueInfo, ...] = ()
    """The interface; filled in by arrows to prepared formats."""
    outputs: tuple[ValueInfo, ...] = ()
    layers: tuple[Layer, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Anything worth recording, JSON values: calibration, which folds were switched off."""

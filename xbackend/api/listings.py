"""Tells what there is: backends, platforms, built-in models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xbackend.api.results import Listing
from xbackend.models import catalogue
from xbackend.models.catalogue import BuiltinModel
from xbackend.platforms.inventory import PlatformInventory, describe_sysroot, list_platforms
from xbackend.platforms.setup_arm import set_up
from xbackend.plugins.inventory import BackendInfo, list_backends

Record = dict[str, Any]


@dataclass(frozen=True)
class ModelInfo:
    """One row of the built-in models; nothing is made for it."""

    name: str
    """What `run` takes."""
    parameters: str
    formats: str
    samples: str
    description: str

    def to_dict(self) -> Record:
        """Return JSON values."""
        return vars(self)


def backends() -> Listing[BackendInfo]:
    """Return every known backend: whether it is installed, its precisions and settings.

    Example:
        >>> import xbackend as xb
        >>> [each.word for each in xb.backends()][:5]
        ['tf', 'ort', 'torch', 'tflite', 'fixed']
        >>> fixed = xb.backends()[4]
        >>> fixed.available, fixed.default_precision
        (True, 'int8')
    """
    return Listing(list_backends(), "backends", "backends")


def platforms() -> PlatformInventory:
    """Return this machine, and the platforms that it has and can emulate.

    Example:
        >>> import xbackend as xb
        >>> found = xb.platforms()
        >>> found.platforms[0].form, found.platforms[0].available
        ('native', True)
    """
    return list_platforms()


def models() -> Listing[ModelInfo]:
    """Return the built-in models; nothing is made for it.

    Example:
        >>> import xbackend as xb
        >>> [each.formats for each in xb.models() if each.name == "cifar10-small"]
        ['keras, onnx, tflite, onnx-int8, tflite-int8']
    """
    return Listing([ModelInfo(*row) for row in catalogue.rows()], "models", "models")


def model(name: str) -> BuiltinModel:
    """Return a built-in model: its files, samples and labels; one that is generated is made now.

    Args:
        name: Such as `cifar10-small`.

    Raises:
        UsageError: For an unknown name.

    Example:
        >>> import xbackend as xb
        >>> found = xb.model("cifar10-small")
        >>> len(found.sample_names), len(found.classes)
        (3, 10)
    """
    return catalogue.builtin(name)


def set_up_arm(log: Callable[[str], None]) -> Record:
    """Fetch what emulated ARM needs, once, and return what there is then."""
    return describe_sysroot(set_up(log))


def train(
    name: str,
    output: str | Path,
    *,
    data: str | Path | None = None,
    variant: str | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    seed: int | None = None,
    threads: int | None = None,
    limit: int | None = None,
    fold: int | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Path:
    """Train a built-in network from its official data files; return the folder that `run` takes.

    Args:
        name: `cifar10-small`, `cifar10-r18` or `deepweeds-r50v2`, perhaps with its variant.
        output: A folder that is not there.
        data: The official files; None for scikit-learn's digits.
        variant: `relu` (default), `sigmoid` or `linear`.
        epochs: How often all pictures are shown.
        batch: Pictures in a step.
        seed: Of everything that is drawn.
        threads: Of TensorFlow.
        limit: At most so many pictures.
        fold: Which of DeepWeeds' splits.
        log: Told of each step.

    Raises:
        UsageError: For what cannot be trained, before anything is.
        ConversionError: Where a format could not be made; the network is kept.
    """
    from xbackend.training import train as training
    from xbackend.training.fit import Recipe

    network, kind = training.split_name(name, variant)
    given: dict[str, Any] = {"epochs": epochs, "batch": batch, "seed": seed, "threads": threads}
    recipe = Recipe(network, variant=kind, **{k: v for k, v in given.items() if v is not None})
    source = training.DatasetSource(None if data is None else Path(data), fold, limit)
    return training.train(recipe, source, Path(output), log)

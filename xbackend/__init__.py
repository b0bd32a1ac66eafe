"""xbackend: does a neural network compute the same bits everywhere?

`import xbackend as xb` imports next to nothing; a function's module is imported once it is used.
What there is: docs/api.md.
"""

from __future__ import annotations

import sys
from types import ModuleType

TYPE_CHECKING = False  # as `typing` has it, which takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any

    from xbackend.api.baseline import baseline as baseline
    from xbackend.api.baseline import check_baseline as check_baseline
    from xbackend.api.baseline import update_baseline as update_baseline
    from xbackend.api.comparison import Comparison as Comparison
    from xbackend.api.comparison import certify as certify
    from xbackend.api.comparison import compare as compare
    from xbackend.api.comparison import explain as explain
    from xbackend.api.comparison import isolate as isolate
    from xbackend.api.conversion import convert as convert
    from xbackend.api.conversion import saturation as saturation
    from xbackend.api.listings import backends as backends
    from xbackend.api.listings import model as model
    from xbackend.api.listings import models as models
    from xbackend.api.listings import platforms as platforms
    from xbackend.api.listings import train as train
    from xbackend.api.mitigation import mitigate as mitigate
    from xbackend.api.mitigation import mitigations as mitigations
    from xbackend.api.mixed_precision import mixed_precision as mixed_precision
    from xbackend.api.platform_causes import ablate as ablate
    from xbackend.api.platform_causes import cores as cores
    from xbackend.api.platform_causes import flags as flags
    from xbackend.api.reduction import reduce as reduce
    from xbackend.api.report import report as report
    from xbackend.api.report import verify as verify
    from xbackend.api.results import Section as Section
    from xbackend.api.runs import Runs as Runs
    from xbackend.api.runs import run as run
    from xbackend.api.samples import Samples as Samples
    from xbackend.api.store_check import check_store as check_store
    from xbackend.api.store_upkeep import describe_store as describe_store
    from xbackend.api.store_upkeep import export_runs as export_runs
    from xbackend.api.store_upkeep import import_bundle as import_bundle
    from xbackend.api.store_upkeep import merge_store as merge_store
    from xbackend.api.store_upkeep import prune_store as prune_store
    from xbackend.api.stores import export_arrays as export_arrays
    from xbackend.api.stores import import_arrays as import_arrays
    from xbackend.api.stores import import_runs as import_runs
    from xbackend.api.studies import studies as studies
    from xbackend.api.studies import study as study
    from xbackend.api.studies import study_configuration as study_configuration
    from xbackend.errors import ConversionError as ConversionError
    from xbackend.errors import InputError as InputError
    from xbackend.errors import ModelError as ModelError
    from xbackend.errors import StoreError as StoreError
    from xbackend.errors import UsageError as UsageError
    from xbackend.errors import XbackendError as XbackendError
    from xbackend.execution.progress import ProgressEvent as ProgressEvent

    __version__: str

MODULES = {
    "api.baseline": "baseline check_baseline update_baseline",
    "api.comparison": "Comparison certify compare explain isolate",
    "api.conversion": "convert saturation",
    "api.listings": "backends model models platforms train",
    "api.mitigation": "mitigate mitigations",
    "api.mixed_precision": "mixed_precision",
    "api.platform_causes": "ablate cores flags",
    "api.reduction": "reduce",
    "api.report": "report verify",
    "api.results": "Section",
    "api.runs": "Runs run",
    "api.samples": "Samples",
    "api.store_check": "check_store",
    "api.store_upkeep": "describe_store export_runs import_bundle merge_store prune_store",
    "api.stores": "export_arrays import_arrays import_runs",
    "api.studies": "studies study study_configuration",
    "errors": "ConversionError InputError ModelError StoreError UsageError XbackendError",
    "execution.progress": "ProgressEvent",
}
"""A module to what it offers here."""
OFFERED = {name: module for module, names in MODULES.items() for name in names.split()}
PACKAGES = frozenset({"backends", "models", "platforms", "studies"})
"""Names of functions that are packages, too: `xb.models()`, and `import xbackend.models.catalogue`.
"""


class CallablePackage(ModuleType):
    """A package that stands for the function of its name where it is called."""

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call the function."""
        return _offered(self.__name__.rpartition(".")[2])(*arguments, **keywords)


class Package(ModuleType):
    """This package: makes those of its packages callable that are functions, too."""

    def __setattr__(self, name: str, value: object) -> None:
        """Take what importing binds, a package for instance."""
        if name in PACKAGES and type(value) is ModuleType:
            value.__class__ = CallablePackage
        super().__setattr__(name, value)


if not TYPE_CHECKING:  # which would take any name for one that there is

    def __getattr__(name: str) -> Any:
        """Import what is asked for."""
        if name in PACKAGES:
            from importlib import import_module

            return import_module(f"{__name__}.{name}")
        if name == "__version__":
            from xbackend.worker.version import VERSION

            return VERSION
        if name in OFFERED:
            return _offered(name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _offered(name: str) -> Any:
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{OFFERED[name]}"), name)


def __dir__() -> list[str]:
    """Return what there is, imported or not."""
    return sorted({*globals(), *OFFERED, "__version__"})


sys.modules[__name__].__class__ = Package

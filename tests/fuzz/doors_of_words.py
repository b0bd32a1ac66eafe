"""The doors through which words of a command line come in."""

from __future__ import annotations

from pathlib import Path

from .door import Door, texts
from .mutate import as_text, change_text


def _platform(data: bytes, folder: Path) -> str:
    from xbackend.platforms.parse import expand_platforms, parse_platform

    text = as_text(data)
    for each in expand_platforms((text,))[:4]:
        command = parse_platform(each).command(Path("worker.pyz"))
        assert all(isinstance(word, str) for word in command)
    return "platform"


def _setting(data: bytes, folder: Path) -> str:
    from xbackend.execution.backend_settings import parse_settings
    from xbackend.plugins import registry

    parse_settings([as_text(data)], registry.backends())
    return "setting"


def _option(data: bytes, folder: Path) -> str:
    from xbackend.preparation.conversion.options import parse_options

    parse_options([as_text(data)])
    return "option"


def _report(data: bytes, folder: Path) -> str:
    """Find a report, a plot, an importer and a backend of a name, and a file of that name."""
    from xbackend.api.report_files import report_writer
    from xbackend.errors import UsageError
    from xbackend.plugins import registry

    name = as_text(data)
    for find in (registry.plot, registry.importer, registry.backend, registry.renderer):
        try:
            find(name)
        except UsageError as error:
            _check(error)
    report_writer("table", name)
    return str(callable(registry.report(name)))


def _check(error: Exception) -> None:
    from .door import check_sentence

    check_sentence(str(error))


def _where(data: bytes, folder: Path) -> str:
    """Filter and group the runs of a store by a text."""
    from xbackend.store.query import Query, select
    from xbackend.store.store import Store

    text = as_text(data)
    key = text.partition("=")[0]
    found = select(Store(folder / "store"), Query(where=(text,), group_by=(key,)))
    return f"{len(found)} runs"


def _model(data: bytes, folder: Path) -> str:
    from xbackend.preparation.model import find_model

    text = as_text(data)
    return find_model(text if ":" not in text else text.replace(":", "/")).name[:20]


def _sound_store(folder: Path) -> None:
    from .doors_of_stores import _sound_store

    _sound_store(folder)


PLATFORMS = (
    "native", "cores:2", "qemu:SandyBridge", "qemu:max,-fma", "qemu:Haswell,+fma,-avx2",
    "qemu-arm:cortex-a72", "qemu-arm:max,sve=off", "python:/usr/bin/python3", "ssh:host",
    "docker:image:tag", "fleet:x86", "cores:1+qemu:Nehalem+python:/usr/bin/python3",
)  # fmt: skip
PIECES = ("+", ":", ",", "-", "=off", "cores", "qemu", "native", "ssh:", "fleet:", "1", "max")
SETTINGS = (
    "ort.optimization=all", "torch.threads=2", "tf.graph=source", "fixed.x=1", "tflite.delegate=",
    "ort.threads=1_0", "good.at=run", "bad.depth=3",
)  # fmt: skip
OPTIONS = ("onnx_to_int8.reduce_range=true", "onnx_to_int8.weight=uint8", "torch_to_onnx.fold=off")
REPORTS = ("table", "json", "markdown", "csv", "html", "x.png", "layers", "nowhere/x.svg")
WHERE = (
    "backend=good", "platform=native", "settings.depth=3", "hardware.flags=avx2", "model=net",
    "status=ok", "seconds=0.5", "facts.x=null",
)  # fmt: skip
MODELS = ("cifar10-small", "model.onnx", "folder", "m.pt", "a/b.keras", "x.tflite")

DOORS = (
    Door("platform", "--platform", _platform, texts(*PLATFORMS), change_text(PIECES)),
    Door("setting", "--set", _setting, texts(*SETTINGS), change_text((".", "=", "true", "1e3"))),
    Door("option", "--option", _option, texts(*OPTIONS), change_text((".", "=", "true"))),
    Door("report", "names of reports and plugins", _report, texts(*REPORTS),
         change_text((".", "/", ".png"))),
    Door("where", "--where and --group-by", _where, texts(*WHERE),
         change_text((".", "=", "null", "hardware", "id")), (), _sound_store),
    Door("model", "names of models", _model, texts(*MODELS), change_text((".onnx", "/", "."))),
)  # fmt: skip
"""Each a text of one word."""

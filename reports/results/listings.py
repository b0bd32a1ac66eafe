"""Lays out what there is: backends, platforms, built-in models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from xbackend.models.catalogue import HEADERS, BuiltinModel, details
from xbackend.platforms.inventory import PlatformInventory
from xbackend.plugins.inventory import BackendInfo

Record = dict[str, Any]


def render_backends(backends: Iterable[BackendInfo]) -> str:
    """Return a paragraph for each backend: its versions, precisions and settings."""
    return "\n".join(map(_backend_text, backends))


def render_models(rows: Sequence[Sequence[str]]) -> str:
    """Return the table of the built-in models."""
    from tabulate import tabulate

    return tabulate(rows, headers=HEADERS, tablefmt="plain")


def render_model(model: BuiltinModel) -> str:
    """Return what is known of one model, a line for each word."""
    return "\n".join(f"{word + ':':16}{value}" for word, value in details(model))


def _backend_text(row: BackendInfo) -> str:
    versions = ", ".join(f"{name} {found}" for name, found in row.versions.items())
    state = versions or ("needs nothing" if row.available else "not installed")
    lines = [f"{row.word:8}{row.title} ({state})"]
    if row.install:
        lines.append(f"        {row.install}")
    lines.append(f"        precisions: {', '.join(row.precisions)}")
    lines += [f"        no {name}: {why}" for name, why in row.lacks.items()]
    for setting in row.settings:
        choices = "|".join(str(choice) for choice in setting.choices)
        shown = f" ({choices})" if choices else ""
        default = str(setting.default) if setting.default != "" else "(empty)"
        name = f"{row.word}.{setting.key}={default}"
        lines.append(f"        --set {name}{shown}: {setting.help}")
    return "\n".join(lines) + "\n"


def render_platforms(found: PlatformInventory) -> str:
    """Return this machine, the forms of a platform and the processors that can be emulated."""
    machine, processors = found.machine, found.processors
    width = max(len(row.form) for row in found.platforms) + 2
    lines = [*_machine_lines(machine, found.software), ""]
    for row in found.platforms:
        state = "" if row.available else "  [not available here]"
        lines.append(f"  {row.form:{width}}{row.description}{state}")
    lines.append("")
    for name, members in found.fleets.items():
        lines += _wrapped(f"fleet:{name}", members)
    for kind, form in (("x86", "qemu:"), ("arm", "qemu-arm:")):
        names = [row["name"] + "*" * bool(row["lacks"]) for row in processors[kind]]
        lines += _wrapped(form, names or ["needs qemu-user"])
    lines += ["", *_lacking(processors["x86"]), ""]
    return "\n".join([*lines, render_arm(found.arm)])


SHOWN_FLAGS = (
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
)
"""Flags by which the libraries choose their kernels, of those that are shown."""


def _machine_lines(machine: Record, system: Record) -> list[str]:
    """Return what a worker sees of this machine, as far as it may decide bits."""
    caches = [f"{level} {size >> 10} KiB" for level, size in machine["caches"].items()]
    flags = [flag for flag in SHOWN_FLAGS if flag in machine["flags"]]
    driver = f" (driver {machine['gpu_driver']})" if machine["gpu_driver"] else ""
    about = {
        "This machine": f"{machine['device']}, {machine['microarchitecture']}",
        "cores": f"{machine['cores']}, {machine['memory_bytes'] / 2**30:.1f} GiB of memory",
        "caches": ", ".join(caches) or "not told",
        "flags": " ".join(flags) or "none that libraries are known to choose by",
        "GPUs": ", ".join(machine["gpus"]) + driver if machine["gpus"] else "none",
        "system": f"{system['distribution'] or system['system']}, {system['libc']}, "
        f"Python {system['python']}",
        "variables": " ".join(f"{name}={value}" for name, value in system["environment"].items()),
    }
    return [f"{name + ':':14}{text}" for name, text in about.items() if text]


def _lacking(processors: Sequence[Record]) -> list[str]:
    """Return a sentence for each extension that an emulator lacks, and on which processors."""
    kinds = dict.fromkeys(row["lacks"] for row in processors if row["lacks"])
    return [
        f"* {kind} is not emulated: "
        + ", ".join(row["name"] for row in processors if row["lacks"] == kind)
        + " are without it, and so are their bits."
        for kind in kinds
    ]


def _wrapped(head: str, words: Sequence[str]) -> list[str]:
    import textwrap

    return textwrap.wrap(
        " ".join(words),
        width=100,
        initial_indent=f"  {head:12}",
        subsequent_indent=" " * 14,
        break_long_words=False,
        break_on_hyphens=False,
    )


def render_arm(arm: Record | None) -> str:
    """Return whether emulated ARM is set up, and with what."""
    if arm is None:
        return "Emulated ARM is not set up: xbackend platforms --setup arm"
    frameworks = ("numpy", "onnxruntime", "tflite-runtime", "ai-edge-litert")
    named = [f"{name} {arm['packages'][name]}" for name in frameworks if name in arm["packages"]]
    return f"Emulated ARM is set up in {arm['folder']}: Python {arm['python']}, {', '.join(named)}"

"""What `xbackend backends`, `platforms` and `models` print."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbackend.plugins import registry
from xbackend.plugins.installed import version
from xbackend.worker.contract import BackendSpec

if TYPE_CHECKING:
    from xbackend.platforms.sysroot import Sysroot


def print_backends(options: argparse.Namespace) -> int:
    """List every known backend, whether it is installed, its precisions and its settings."""
    rows = [_backend(spec) for spec in registry.backends()]
    if options.json:
        print(json.dumps({"schema_version": 1, "backends": rows}))
        return 0
    for row in rows:
        print(_backend_text(row))
    return 0


def _backend(spec: BackendSpec) -> dict[str, Any]:
    versions = {name: version(name) for name in spec.distributions}
    return {
        "word": spec.word,
        "title": spec.title,
        "available": registry.is_available(spec),
        "install": None if registry.is_available(spec) else registry.install_hint(spec),
        "versions": {name: found for name, found in versions.items() if found},
        "precisions": list(spec.formats),
        "default_precision": spec.default_precision,
        "lacks": dict(spec.unsupported_precisions),
        "settings": [vars(setting) for setting in spec.settings],
    }


def _backend_text(row: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {found}" for name, found in row["versions"].items())
    state = versions or ("needs nothing" if row["available"] else "not installed")
    lines = [f"{row['word']:8}{row['title']} ({state})"]
    if row["install"]:
        lines.append(f"        {row['install']}")
    lines.append(f"        precisions: {', '.join(row['precisions'])}")
    lines += [f"        no {name}: {why}" for name, why in row["lacks"].items()]
    for setting in row["settings"]:
        choices = "|".join(str(choice) for choice in setting["choices"])
        shown = f" ({choices})" if choices else ""
        default = str(setting["default"]) if setting["default"] != "" else "(empty)"
        name = f"{row['word']}.{setting['key']}={default}"
        lines.append(f"        --set {name}{shown}: {setting['help']}")
    return "\n".join(lines) + "\n"


def print_platforms(options: argparse.Namespace) -> int:
    """List the platforms that this machine has and can emulate, or set emulated ARM up."""
    if options.setup:
        return _set_up(options)
    found = _platforms()
    print(json.dumps(found) if options.json else _platforms_text(found))
    return 0


def _platforms() -> dict[str, Any]:
    from xbackend.platforms.arm import arm_processors
    from xbackend.platforms.emulated import x86_processors
    from xbackend.platforms.parse import FLEETS, KINDS
    from xbackend.platforms.sysroot import find_sysroot
    from xbackend.worker.fingerprint import hardware, software

    sysroot = find_sysroot()
    return {
        "schema_version": 1,
        "machine": hardware(),
        "software": software(),
        "platforms": [
            {"form": form, "description": text, "available": _has_command(form)}
            for form, text in KINDS.items()
        ],
        "processors": {"x86": x86_processors(), "arm": arm_processors()},
        "fleets": {name: list(members) for name, members in FLEETS.items()},
        "arm": None if sysroot is None else _sysroot(sysroot),
    }


def _sysroot(sysroot: Sysroot) -> dict[str, Any]:
    return {
        "folder": str(sysroot.root.parent),
        "python": sysroot.python,
        "packages": sysroot.packages,
        "debian": sysroot.debian,
    }


def _has_command(form: str) -> bool:
    """Tell whether the command that a form of a platform needs is on this machine."""
    needs = {
        "qemu": "qemu-x86_64",
        "fleet:x86": "qemu-x86_64",
        "qemu-arm": "qemu-aarch64",
        "fleet:arm": "qemu-aarch64",
        "cores": "taskset",
        "docker": "docker",
        "ssh": "ssh",
    }
    command = needs.get(form) or needs.get(form.partition(":")[0])
    return command is None or shutil.which(command) is not None


def _platforms_text(found: dict[str, Any]) -> str:
    machine, processors = found["machine"], found["processors"]
    width = max(len(row["form"]) for row in found["platforms"]) + 2
    lines = [*_machine_lines(machine, found["software"]), ""]
    for row in found["platforms"]:
        state = "" if row["available"] else "  [not available here]"
        lines.append(f"  {row['form']:{width}}{row['description']}{state}")
    lines.append("")
    for name, members in found["fleets"].items():
        lines += _wrapped(f"fleet:{name}", members)
    for kind, form in (("x86", "qemu:"), ("arm", "qemu-arm:")):
        names = [row["name"] + "*" * bool(row["lacks"]) for row in processors[kind]]
        lines += _wrapped(form, names or ["needs qemu-user"])
    lines += ["", *_lacking(processors["x86"]), ""]
    return "\n".join([*lines, _arm_text(found["arm"])])


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


def _machine_lines(machine: dict[str, Any], system: dict[str, Any]) -> list[str]:
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


def _lacking(processors: Sequence[dict[str, Any]]) -> list[str]:
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


def _arm_text(arm: dict[str, Any] | None) -> str:
    if arm is None:
        return "Emulated ARM is not set up: xbackend platforms --setup arm"
    frameworks = ("numpy", "onnxruntime", "tflite-runtime", "ai-edge-litert")
    named = [f"{name} {arm['packages'][name]}" for name in frameworks if name in arm["packages"]]
    return f"Emulated ARM is set up in {arm['folder']}: Python {arm['python']}, {', '.join(named)}"


def _set_up(options: argparse.Namespace) -> int:
    from xbackend.platforms.setup_arm import set_up

    made = _sysroot(set_up(lambda line: print(line, file=sys.stderr, flush=True)))
    print(json.dumps({"schema_version": 1, "arm": made}) if options.json else _arm_text(made))
    return 0


def print_models(options: argparse.Namespace) -> int:
    """List or show the built-in models."""
    from xbackend.models import catalogue

    if options.action == "show":
        for word, value in catalogue.details(catalogue.builtin(options.name)):
            print(f"{word + ':':16}{value}")
        return 0
    from tabulate import tabulate

    print(tabulate(catalogue.rows(), headers=catalogue.HEADERS, tablefmt="plain"))
    return 0


def train(options: argparse.Namespace) -> int:
    """Train a network from its official files."""
    from xbackend.training.fit import Recipe
    from xbackend.training.train import DatasetSource, split_name, train

    network, variant = split_name(options.name, options.variant)
    words = ("epochs", "batch", "seed", "threads")
    given = {word: value for word in words if (value := getattr(options, word)) is not None}
    recipe = Recipe(network, variant=variant, **given)
    data = Path(options.data) if options.data else None
    source = DatasetSource(data, options.fold, options.limit)
    folder = train(recipe, source, Path(options.output), _told)
    print(f"{folder}: run it with 'xbackend run {folder}'")
    return 0


def _told(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

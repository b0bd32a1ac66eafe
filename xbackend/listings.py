"""What `xbackend backends`, `platforms` and `models` print."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from xbackend import registry
from xbackend.installed import version
from xbackend.worker.contract import BackendSpec


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
        "lacks": dict(spec.lacks),
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
    """List the forms of a platform and tell which of them work on this machine."""
    import shutil

    from xbackend.platforms import KINDS
    from xbackend.worker.fingerprint import hardware

    needs = {"qemu": "qemu-x86_64", "cores": "taskset"}
    rows = []
    for form, text in KINDS.items():
        command = needs.get(form.partition(":")[0])
        rows.append(
            {
                "form": form,
                "description": text,
                "available": command is None or shutil.which(command) is not None,
            }
        )
    machine = hardware()
    if options.json:
        print(json.dumps({"schema_version": 1, "machine": machine, "platforms": rows}))
        return 0
    shown = f"{machine['device']}, {machine['microarchitecture']}, {machine['cores']} cores"
    print(f"This machine: {shown}\n")
    for row in rows:
        state = "" if row["available"] else "  [not available here]"
        print(f"  {row['form']:26}{row['description']}{state}")
    return 0


def models(options: argparse.Namespace) -> int:
    """List, show or train the built-in models."""
    if options.action == "train":
        return _train(options)
    from xbackend.models import catalogue

    if options.action == "show":
        for word, value in catalogue.details(catalogue.builtin(options.name)):
            print(f"{word + ':':16}{value}")
        return 0
    from tabulate import tabulate

    print(tabulate(catalogue.rows(), headers=catalogue.HEADERS, tablefmt="plain"))
    return 0


def _train(options: argparse.Namespace) -> int:
    from xbackend.models.fit import Recipe
    from xbackend.models.train import train

    words = {"epochs": options.epochs, "batch": options.batch, "seed": options.seed}
    given = {key: value for key, value in words.items() if value is not None}
    recipe = Recipe(options.name, **given)
    data = Path(options.data) if options.data else None
    folder = train(recipe, data, Path(options.output), lambda line: print(line, file=sys.stderr))
    print(f"{folder}: run it with 'xbackend run {folder}'")
    return 0

"""A reduced difference as a folder that can be attached to a bug report, whole in itself."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from xbackend.errors import UsageError
from xbackend.plugins import registry
from xbackend.plugins.registry import load_object
from xbackend.preparation.model import file_digest
from xbackend.reduction.reduction import ReducedRun, Reduction
from xbackend.store.records import Run
from xbackend.worker.tensor import Tensor, cast

NAMES = ("a", "b")
"""The two sides."""
SCRIPT_TEMPLATE = '''\
"""Shows what {title} alone gives for inputs.npz, and which of the two sides has these bits."""

import hashlib

import numpy as np
{imports}
inputs = dict(np.load("inputs.npz"))
{body}
for name, array in outputs.items():
    print(name, array.ravel()[:4], hashlib.sha256(array.tobytes()).hexdigest()[:16])
    for side in "ab":
        expected = np.load(f"expected_{{side}}.npz")[name]
        same = array.tobytes() == expected.tobytes()
        print(f"  side {{side}}: same bits {{same}}, max abs {{np.abs(array - expected).max()}}")
'''
README_TEMPLATE = """\
# {operator} gives other bits: {one} and {other}

Two configurations compute this model of {nodes} with {elements} and give other bits: {distance}.
It was cut out of `{model}` (layer {layer}, `{tap}`) and made smaller by xbackend {version}.

| | side a | side b |
|---|---|---|
{table}

## What is here

* `model.onnx`, `inputs.npz`: the model and its input, one array for each input
* `expected_a.npz`, `expected_b.npz`: what the two sides gave, one array for each output
{scripts}
* `difference.json`: versions, settings, processors and the SHA-256 of every file and tensor

## Show it with xbackend

```console
$ {first}
$ {second}
$ xbackend compare --store reproduced
```

The outputs must fall into two classes.
"""
README_ROWS = (
    ("backend", "backend"), ("version", "backend_version"), ("precision", "precision"),
    ("platform", "platform"),
)  # fmt: skip


def write_bug_report(reduction: Reduction, folder: Path, model: str) -> list[Path]:
    """Write the folder and return its files. Raises UsageError where something is there already."""
    _make(folder)
    case = reduction.case
    files = {"model.onnx": case.model.SerializeToString(deterministic=True)}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    _save(folder / "inputs.npz", case.inputs)
    for letter, side in zip(NAMES, reduction.sides, strict=True):
        _save(folder / f"expected_{letter}.npz", side.outputs)
    scripts = _scripts(reduction)
    for name, text in scripts.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "README.md").write_text(_readme(reduction, model, [*scripts]), encoding="utf-8")
    document = json.dumps(_document(reduction, folder), indent=1)
    (folder / "difference.json").write_text(document + "\n", encoding="utf-8")
    return sorted(folder.iterdir())


def _make(folder: Path) -> None:
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError(f"The folder {folder} is not empty. Name another with --output.")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"Cannot write {folder}: {error.strerror or error}.") from error


def _save(path: Path, tensors: Any) -> None:
    np.savez(path, **{name: _held(tensor).array for name, tensor in tensors.items()})


def _held(tensor: Tensor) -> Tensor:
    """Return a tensor as NumPy can keep it: bfloat16 as the same numbers in float32."""
    return cast(tensor, "float32") if tensor.dtype == "bfloat16" else tensor


def _scripts(reduction: Reduction) -> dict[str, str]:
    """Return a plain script for each framework that can write one."""
    found: dict[str, str] = {}
    for side in reduction.sides:
        spec = registry.backend(str(side.run.row["backend"]))
        write = load_object(spec.script) if spec.script else lambda graph, settings: ""
        body = write(reduction.graph, side.run.row["settings"])
        if not body:
            continue
        lines = body.splitlines()
        last = max(i for i, line in enumerate(lines) if line.startswith(("import ", "from ")))
        text = SCRIPT_TEMPLATE.format(
            title=spec.title,
            imports="\n".join(lines[: last + 1]) + "\n",
            body="\n".join(lines[last + 1 :]).strip("\n"),
        )
        name = f"show_{spec.word}.py"
        other = found.get(name)
        found[name if other in (None, text) else f"show_{spec.word}_b.py"] = text
    return found


def _readme(reduction: Reduction, model: str, scripts: list[str]) -> str:
    from xbackend.worker.version import VERSION

    one, other = (side.run for side in reduction.sides)
    lines = [
        f"* `{name}`: the same without xbackend; run it where each side ran" for name in scripts
    ]
    missing = "* no plain script: an operator or a setting of it has no short form"
    commands = [shlex.join(reproduce_command(run, _finite(reduction))) for run in (one, other)]
    count = len(reduction.case.model.graph.node)
    return README_TEMPLATE.format(
        operator=reduction.layer.operator,
        one=_named(one, other),
        other=_named(other, one),
        nodes=f"{count} node" + "s" * (count != 1),
        elements=f"{reduction.case.elements} number" + "s" * (reduction.case.elements != 1),
        distance=_distance(reduction),
        model=model,
        layer=reduction.layer.layer,
        tap=reduction.layer.tap,
        version=VERSION,
        table="\n".join(_table(one, other)),
        scripts="\n".join(lines or [missing]),
        first=commands[0],
        second=commands[1],
    )


def _finite(reduction: Reduction) -> bool:
    inputs = (_held(tensor).array for tensor in reduction.case.inputs.values())
    return all(bool(np.isfinite(array).all()) for array in inputs if array.dtype.kind == "f")


def _named(run: Run, other: Run) -> str:
    """Return what tells a run from the other."""
    row = run.row
    where = f" on {row['platform']}" if row["platform"] != other.row["platform"] else ""
    return f"{row['backend']} {row['backend_version']}{where}"


def _distance(reduction: Reduction) -> str:
    metrics = reduction.metrics
    parts = []
    if metrics.max_ulp is not None:
        parts.append(f"up to {metrics.max_ulp} ULP")
    if metrics.max_abs is not None:
        parts.append(f"{metrics.max_abs:.3g} apart")
    return ", ".join(parts) or "a NaN against a number"


def _table(one: Run, other: Run) -> list[str]:
    rows = [(name, str(one.row[key]), str(other.row[key])) for name, key in README_ROWS]
    threads = [str(run.row["settings"]["threads"]) for run in (one, other)]
    rows.append(("threads", threads[0], threads[1]))
    for word in ("vendor", "device", "microarchitecture"):
        left, right = (str(run.row["hardware"].get(word) or "") for run in (one, other))
        rows.append((word, left, right))
    settings = [" ".join(_settings(run)) or "defaults" for run in (one, other)]
    rows.append(("settings", settings[0], settings[1]))
    return [f"| {name} | {left} | {right} |" for name, left, right in rows]


def _settings(run: Run) -> list[str]:
    """Return the settings that are not defaults, as options have them."""
    row = run.row
    spec = registry.backend(str(row["backend"]))
    defaults = spec.defaults()
    given = [(k, v) for k, v in row["settings"].items() if k in defaults and v != defaults[k]]
    return [f"{spec.word}.{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in given]


def reproduce_command(run: Run, finite: bool = True) -> list[str]:
    """Return the command that runs the reduced model the way a run was."""
    row = run.row
    words = ["xbackend", "run", "model.onnx", "--inputs", "inputs.npz"]
    words += ["--backends", str(row["backend"]), "--platform", str(row["platform"])]
    words += ["--threads", str(row["settings"]["threads"])]
    if row["precision"] not in ("float32", "int8"):
        words += ["--precision", str(row["precision"])]
    for setting in _settings(run):
        words += ["--set", setting]
    words += [] if finite else ["--allow-nonfinite"]
    return [*words, "--store", "reproduced"]


def _document(reduction: Reduction, folder: Path) -> dict[str, Any]:
    sides = {name: _side(side) for name, side in zip(NAMES, reduction.sides, strict=True)}
    return {
        "schema_version": 1,
        "layer": {key: getattr(reduction.layer, key) for key in ("layer", "tap", "operator")},
        "nodes": [reduction.nodes, len(reduction.case.model.graph.node)],
        "elements": [reduction.elements, reduction.case.elements],
        "trials": reduction.trials,
        "summation": None if reduction.summation is None else reduction.summation.to_dict(),
        "metrics": vars(reduction.metrics),
        "sides": sides,
        "files": {path.name: file_digest(path) for path in sorted(folder.iterdir())},
    }


def _side(side: ReducedRun) -> dict[str, Any]:
    row = side.run.row
    keys = ("backend", "backend_version", "versions", "precision", "settings", "platform")
    told = {key: row.get(key) for key in (*keys, "hardware", "software")}
    return {
        **told,
        "outputs": {name: tensor.record() for name, tensor in side.outputs.items()},
    }

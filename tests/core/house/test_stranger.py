"""The backend of the guide, taken out of its page, works as a stranger's package."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import xbackend

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = re.compile(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MODEL = Path(xbackend.__file__).parent / "models" / "cifar10_small"
XBACKEND = "import sys; from xbackend.commands.main import main; sys.exit(main())"


@pytest.fixture(scope="module")
def stranger(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's files and the metadata that an installation would write."""
    folder = tmp_path_factory.mktemp("stranger")
    page = (root / "docs" / "guides" / "add-a-backend.md").read_text(encoding="utf-8")
    for name, text in FILE.findall(page):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    write_metadata(folder)
    return folder


def write_metadata(folder: Path) -> None:
    """Write what pip would from pyproject.toml, so that no index is asked."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    metadata = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {project['name']}", f"Version: {project['version']}"]
    (metadata / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")
    points = [
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in rows.items())
        for group, rows in project["entry-points"].items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(points), encoding="utf-8")


def run(stranger: Path, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python where the stranger's package is installed."""
    environment = {**os.environ, "PYTHONPATH": str(stranger)}
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def records(stranger: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The runs of the built-in model with each order of summation."""
    folder = tmp_path_factory.mktemp("runs")
    for order in ("forward", "backward"):
        words = ("run", "--backends", "plain", "--set", f"plain.order={order}", "--store", "store")
        done = run(stranger, "-c", XBACKEND, *words, cwd=folder)
        assert done.returncode == 0, done.stderr
    paths = sorted((folder / "store" / "runs").glob("*.json"))
    return [{**json.loads(path.read_text()), "store": path.parents[1]} for path in paths]


def read(record: dict[str, Any], row: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Read a tensor of a run."""
    path = record["store"] / "objects" / row["digest"][:2] / row["digest"][2:]
    return np.fromfile(path, row["dtype"]).reshape(row["shape"])


def test_the_page_has_six_steps_and_all_files(root: Path, stranger: Path) -> None:
    page = (root / "docs" / "guides" / "add-a-backend.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\d)\.", page, re.MULTILINE) == ["1", "2", "3", "4", "5", "6"]
    files = {str(path.relative_to(stranger)) for path in stranger.rglob("*.*") if path.is_file()}
    assert {"plain/__init__.py", "plain/adapter.py", "plain/operators.py"} < files


def test_a_strangers_backend_is_listed_beside_the_built_in_ones(
    stranger: Path, tmp_path: Path
) -> None:
    done = run(stranger, "-c", XBACKEND, "backends", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"plain"' in done.stdout
    assert '"fixed"' in done.stdout


def test_a_strangers_backend_computes_what_the_reference_evaluator_does(
    records: list[dict[str, Any]],
) -> None:
    model = ReferenceEvaluator(onnx.load(MODEL / "model.onnx"))
    for record in records:
        assert record["status"] == "ok"
        for row in record["results"]:
            (output,) = row["outputs"]
            (sample,) = row["inputs"]
            (wanted,) = model.run(None, {sample["name"]: read(record, sample)})
            np.testing.assert_allclose(read(record, output), wanted, rtol=1e-4, atol=1e-6)


def test_a_strangers_backend_taps_every_value_and_its_setting_changes_bits(
    records: list[dict[str, Any]],
) -> None:
    graph = onnx.load(MODEL / "model.onnx").graph
    forward, backward = [record["results"][0]["taps"] for record in records]
    assert [tap["name"] for tap in forward] == [node.output[0] for node in graph.node]
    assert [record["settings"]["order"] for record in records] == ["forward", "backward"]
    assert [record["taps_neutral"] for record in records] == [True, True]
    digests = [{tap["name"]: tap["digest"] for tap in taps} for taps in (forward, backward)]
    first_convolution = next(node for node in graph.node if node.op_type == "Conv").output[0]
    assert digests[0][first_convolution] != digests[1][first_convolution]


def test_a_strangers_backend_keeps_the_contract(stranger: Path, tmp_path: Path) -> None:
    arguments = ("-q", "-p", "no:cacheprovider", "--import-mode=importlib", f"{stranger}/tests")
    program = "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
    done = run(stranger, "-c", program, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-4000:]

"""The composite action that people copy: its steps' own commands, run as GitHub runs them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

yaml: Any = pytest.importorskip("yaml")

EXPRESSION = re.compile(r"\$\{\{ inputs\.([\w-]+) \}\}")


@pytest.fixture(scope="module")
def action(root: Path) -> dict[str, Any]:
    """The parsed action."""
    return yaml.safe_load((root / "docs/actions/xbackend-gate/action.yml").read_text("utf-8"))


class Job:
    """A job's folder, in which an action's steps are run one after the other."""

    def __init__(self, folder: Path, action: dict[str, Any]) -> None:
        self.folder = folder
        self.action = action
        self.summary = folder / "summary.md"

    def steps(self, **given: str) -> subprocess.CompletedProcess[str]:
        """Run the steps until one fails, as `uses:` with these inputs does."""
        told = {name.replace("-", "_"): of for name, of in self.action["inputs"].items()}
        assert set(given) <= set(told)
        needed = {name for name, of in told.items() if of.get("required")}
        assert needed <= set(given)
        inputs = {name: str(given.get(name, of.get("default", ""))) for name, of in told.items()}
        done = None
        for step in self.action["runs"]["steps"]:
            assert "${{" not in step["run"]
            own = {key: self._value(text, inputs) for key, text in step["env"].items()}
            done = self._bash(step["run"], own)
            if done.returncode:
                break
        assert done is not None
        return done

    @staticmethod
    def _value(text: str, inputs: dict[str, str]) -> str:
        found = EXPRESSION.fullmatch(text)
        assert found is not None
        return inputs[found[1].replace("-", "_")]

    def _bash(self, script: str, own: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a script as `shell: bash` does."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, "PATH": path, "GITHUB_STEP_SUMMARY": str(self.summary), **own}
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True
        )


def test_every_step_that_runs_names_its_shell(action: dict[str, Any]) -> None:
    assert action["runs"]["using"] == "composite"
    assert {step["shell"] for step in action["runs"]["steps"]} == {"bash"}
    assert all(of["description"] for of in action["inputs"].values())


def test_the_steps_gate_a_model_by_rules_and_by_a_baseline(
    action: dict[str, Any], tmp_path: Path
) -> None:
    job = Job(tmp_path, action)
    words = {"model": "cifar10-small", "backends": "fixed", "platforms": "native\ncores:1\n"}
    done = job.steps(**words, rules="output: classes<=1\noutput: flips=0", junit="checks.xml")
    assert done.returncode == 0, done.stderr
    assert "xbackend: 2 checks, and all pass." in done.stdout
    assert job.summary.read_text().startswith("## xbackend: 2 checks, and all pass.")
    root = ElementTree.parse(tmp_path / "checks.xml").getroot()
    assert (root.get("tests"), root.get("failures")) == ("2", "0")
    xbackend = [str(Path(sys.executable).parent / "xbackend"), "baseline"]
    subprocess.run([*xbackend, "--store", ".xbackend"], cwd=tmp_path, check=True)
    done = job.steps(**words, baseline="baseline.json", baseline_rules="output: bits>=16")
    assert done.returncode == 0, done.stderr
    assert "xbackend: 1 check, and it passes." in done.stdout
    np.save(tmp_path / "other.npy", np.zeros((2, 32, 32, 3), np.float32))
    other = {"model": "cifar10-small", "backends": "fixed", "inputs": "other.npy"}
    done = job.steps(**other, baseline="baseline.json", store="other")
    assert done.returncode == 1
    assert "::error title=xbackend%3A baseline::Nothing to compare" in done.stdout


def test_a_job_that_checks_nothing_is_no_pass(action: dict[str, Any], tmp_path: Path) -> None:
    done = Job(tmp_path, action).steps(model="cifar10-small", backends="fixed")
    assert done.returncode == 2
    assert "::error::xbackend-gate checks nothing" in done.stdout


def test_an_input_is_never_run_as_a_command(action: dict[str, Any], tmp_path: Path) -> None:
    hostile = "x'; touch owned; $(touch owned) `touch owned`"
    done = Job(tmp_path, action).steps(model=hostile, backends="fixed", rules="output: flips=0")
    assert done.returncode == 2
    assert not (tmp_path / "owned").exists()

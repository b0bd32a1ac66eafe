"""The paper's own TensorFlow, 2.5.0 under Python 3.8, as a platform: nothing is installed in it."""

import glob
import json
import os
import subprocess
from pathlib import Path

import pytest

from xbackend.commands.main import main

REQUIREMENTS = ("tensorflow==2.5.0", "protobuf<3.21")


def _python38():
    """Return a Python 3.8 of this machine: named, on the path of the system, or pyenv's."""
    root = os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))
    found = sorted(glob.glob(f"{root}/versions/3.8.*/bin/python3.8"))
    candidates = [os.environ.get("XBACKEND_TEST_PYTHON38", ""), "/usr/bin/python3.8", *found]
    return next((path for path in candidates if path and os.path.exists(path)), None)


@pytest.fixture(scope="session")
def old_python(tmp_path_factory):
    """Make a virtual environment with TensorFlow 2.5.0, as its user would have one."""
    python = _python38()
    if python is None:
        pytest.skip("There is no Python 3.8 on this machine.")
    folder = tmp_path_factory.mktemp("tensorflow-2.5.0")
    subprocess.run([python, "-m", "venv", folder], check=True)
    inside = folder / "bin" / "python"
    done = subprocess.run(
        [inside, "-m", "pip", "install", "--quiet", *REQUIREMENTS],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"TensorFlow 2.5.0 cannot be installed here: {done.stderr.strip()[-200:]}")
    return inside


@pytest.fixture(scope="session")
def comparison(old_python, tmp_path_factory):
    """Run the built-in model on the old and on this TensorFlow, and compare."""
    store = str(tmp_path_factory.mktemp("old") / "store")
    platforms = ["--platform", "native", "--platform", f"python:{old_python}"]
    graph = ["--set", "tf.graph=onnx"]  # not the model's own source beside it
    status = main(["run", "--backends", "tf", *graph, *platforms, "--store", store])
    assert status == 0
    output = Path(store).parent / "result.json"
    assert main(["compare", "--store", store, "--format", "json", "--output", str(output)]) == 0
    return json.loads(output.read_text())


def test_the_same_worker_runs_in_both(comparison):
    new, old = comparison["runs"]
    assert [run["status"] for run in (new, old)] == ["ok", "ok"]
    assert old["backend_version"] == "2.5.0"
    assert new["backend_version"] != "2.5.0"


def test_both_give_every_tap_and_agree_to_rounding(comparison):
    new, old = (run["id"] for run in comparison["runs"])
    for tap in comparison["comparisons"]:
        assert {run for eqc in tap["eqcs"] for run in eqc} == {new, old}
        assert tap["max_abs"] < 1e-4, tap["tap"]


def test_what_neither_rounds_is_the_same_bits_in_both(comparison):
    """A transposition and the first convolution's window are copied, not computed."""
    exact = [tap for tap in comparison["comparisons"] if tap["operator"] == "Transpose"]
    assert exact
    assert exact[0]["eqc_count"] == 1


def test_taps_change_nothing_in_either(comparison):
    assert [run["taps_neutral"] for run in comparison["runs"]] == [True, True]

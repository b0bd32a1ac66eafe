"""Every setting of PyTorch takes effect, and the run says so, or it is refused."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from xbackend.testing.artifacts import make_artifact
from xbackend.testing.contract import is_sentence
from xbackend.testing.small_models import small_model
from xbackend.worker.contract import Unsupported
from xbackend.worker.tensor import from_numpy

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="There is a GPU here.")


def refusal(framework: Any, **settings: Any) -> str:
    """Return the sentence with which settings are refused."""
    with pytest.raises(Unsupported) as caught:
        framework.prepare(small_model().model, **settings)
    assert is_sentence(str(caught.value))
    return str(caught.value)


def operations(model: Any, framework: Any, value: Any, **settings: Any) -> set[str]:
    """Return PyTorch's own operations in one inference."""
    from torch.profiler import ProfilerActivity, profile

    cpu = [ProfilerActivity.CPU]
    with framework.prepare(model, **settings) as session, profile(activities=cpu) as seen:
        session.run({"x": from_numpy(value)})
    return {event.name for event in seen.events()}


def test_onednn_computes_unless_it_is_switched_off(framework: Any, build: Any, random: Any) -> None:
    value = random.random((16, 8, 16, 16), np.float32)
    weight = random.random((8, 8, 5, 5), np.float32)
    model = build.node("Conv", {"x": value}, {"w": weight})
    assert "aten::mkldnn_convolution" in operations(model, framework, value)
    without = operations(model, framework, value, mkldnn=False)
    assert "aten::convolution" in without
    assert [name for name in without if "mkldnn" in name] == []


def test_onednn_stays_off_when_rubbish_is_collected(framework: Any) -> None:
    with framework.prepare(small_model().model, mkldnn=False) as session:
        gc.collect()
        session.run(small_model().inputs)
        assert session.facts()["switches"]["mkldnn"] is False
        assert torch._C._get_mkldnn_enabled() is False


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_is_read_back(threads: int, framework: Any) -> None:
    with framework.prepare(small_model().model, threads=threads) as session:
        assert session.facts()["switches"]["threads"] == threads
        assert torch.get_num_threads() == threads


def test_deterministic_algorithms_are_switched_on_and_off(framework: Any) -> None:
    for wanted in (True, False):
        with framework.prepare(small_model().model, deterministic_algorithms=wanted) as session:
            assert session.facts()["switches"]["deterministic_algorithms"] is wanted
            assert torch.are_deterministic_algorithms_enabled() is wanted


@without_cuda
def test_a_gpu_that_is_not_there_is_one_sentence(framework: Any) -> None:
    assert "torch.device=cuda needs" in refusal(framework, device="cuda")


@pytest.mark.parametrize(
    "setting", [{"tf32": "on"}, {"tf32": "off"}, {"cudnn_benchmark": True},
                {"cudnn_deterministic": True}], ids=str,
)  # fmt: skip
def test_what_only_a_gpu_has_is_refused_on_the_cpu(setting: Any, framework: Any) -> None:
    (key,) = setting
    assert f"torch.{key}={setting[key]} has no effect on the CPU" in refusal(framework, **setting)


def test_the_defaults_are_pytorchs_own(framework: Any) -> None:
    program = (
        "import torch\n"
        "print(torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32,"
        " torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic,"
        " torch.are_deterministic_algorithms_enabled(), torch._C._get_mkldnn_enabled())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    with framework.prepare(small_model().model) as session:
        switches = session.facts()["switches"]
    keys = ("tf32_cudnn", "tf32_matmul", "cudnn_benchmark", "cudnn_deterministic",
            "deterministic_algorithms", "mkldnn")  # fmt: skip
    assert " ".join(str(switches[key]) for key in keys) == done.stdout.decode().strip()


COMPILE = """
import sys
from pathlib import Path
import numpy as np
from xbackend.plugins import registry
from xbackend.testing.artifacts import default_settings, load_backend
from xbackend.worker.artifact import Artifact
from xbackend.worker.contract import Unsupported
spec = registry.backend("torch")
artifact = Artifact(Path(sys.argv[1]), "graph", "", (), (), (), {})
try:
    load_backend(spec).prepare(artifact, {**default_settings(spec), "mode": "compiled"})
except Unsupported as error:
    print(error)
"""


def test_a_missing_compiler_is_one_sentence_before_anything_runs(tmp_path: Path) -> None:
    folder = make_artifact(small_model().model, tmp_path).folder
    environment = {**os.environ, "CXX": str(tmp_path / "no-compiler")}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, str(folder)],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    said = done.stdout.strip()
    assert said.startswith("torch.mode=compiled needs a C++ compiler that works on this machine")
    assert said.endswith("leave torch.mode=eager.")


def test_both_thread_pools_follow_in_a_fresh_process(tmp_path: Path) -> None:
    program = COMPILE.replace('"mode": "compiled"', '"threads": 3').replace("try:", "if True:")
    program = program.partition("except")[0] + "import torch\n"
    program += "print(torch.get_num_threads(), torch.get_num_interop_threads())"
    folder = make_artifact(small_model().model, tmp_path).folder
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["3", "3"]


LIBRARIES = """
import os, sys
os.environ.update(pair.split("=") for pair in sys.argv[2].split())
from pathlib import Path
from xbackend.plugins import registry
from xbackend.testing.artifacts import default_settings, load_backend
from xbackend.worker.artifact import Artifact
from xbackend.worker.contract import Unsupported
spec = registry.backend("torch")
artifact = Artifact(Path(sys.argv[1]), "graph", "", (), (), (), {})
settings = default_settings(spec)
settings.update(pair.split("=") for pair in sys.argv[3].split())
try:
    with load_backend(spec).prepare(artifact, settings) as session:
        print(session.facts()["libraries"])
except Unsupported as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("variables", "settings", "said"),
    [
        (
            "ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=sse41 MKL_CBWR=COMPATIBLE",
            "cpu_capability=default onednn_isa=sse41 mkl_cbwr=COMPATIBLE",
            "{'cpu_capability': 'default', 'mkl_cbwr': 3}",
        ),
        ("ONEDNN_MAX_CPU_ISA=nonsense", "onednn_isa=sse41", "torch.onednn_isa=sse41 was not taken"),
        ("MKL_CBWR=compatible", "mkl_cbwr=COMPATIBLE", "mkl_cbwr=COMPATIBLE was not taken"),
        ("ATEN_CPU_CAPABILITY=none", "cpu_capability=default", "cpu_capability=default was not"),
    ],
    ids=["taken", "oneDNN passes it over", "MKL is case-sensitive", "PyTorch passes it over"],
)
def test_what_a_library_did_not_take_is_refused(
    variables: str, settings: str, said: str, tmp_path: Path
) -> None:
    folder = make_artifact(small_model().model, tmp_path).folder
    command = [sys.executable, "-c", LIBRARIES, str(folder), variables, settings]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said in done.stdout

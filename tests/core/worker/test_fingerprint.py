"""The fingerprint beyond the processor: math libraries, GPUs, affinity, environment variables."""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xbackend.worker.machine import gpu, libraries
from xbackend.worker.machine.cpuid import Processor
from xbackend.worker.machine.fingerprint import (
    BIT_CHANGING,
    hardware,
    loaded_components,
    microarchitecture,
    software,
)

ROOT = Path(__file__).parents[3]
INSIDE = """
import json, numpy
from xbackend.worker.machine.fingerprint import loaded_components
print(json.dumps(loaded_components()))
"""


def _blas():
    """Return what NumPy was built with, as NumPy itself says."""
    return np.show_config(mode="dicts")["Build Dependencies"]["blas"]


has_openblas = pytest.mark.skipif(
    "openblas" not in _blas()["name"] or not sys.platform.startswith("linux"),
    reason="This NumPy does not use OpenBLAS.",
)


@has_openblas
def test_openblas_tells_the_version_that_numpy_was_built_with():
    found = loaded_components()
    built = _blas()["version"].split(".")[:3]
    assert found["versions"]["openblas"].split(".")[:3] == built
    assert any("openblas" in name for name in found["libraries"])


@has_openblas
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="The kernels named are x86's.")
@pytest.mark.parametrize("core", ["Nehalem", "Sandybridge"])
def test_the_kernels_that_openblas_has_chosen_are_told(core):
    environment = {**os.environ, "OPENBLAS_CORETYPE": core}
    told = subprocess.run(
        [sys.executable, "-c", INSIDE], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(told.stdout)["versions"]["openblas_core"] == core


def test_math_libraries_are_found_among_all_that_a_process_has_loaded(tmp_path):
    maps = tmp_path / "maps"
    maps.write_text(
        "7f00-7f01 r-xp 00000000 fe:00 11 /usr/lib/libc.so.6\n"
        "7f01-7f02 r-xp 00000000 fe:00 12 /opt/with space/libcudnn.so.9\n"
        "7f02-7f03 r--p 00001000 fe:00 12 /opt/with space/libcudnn.so.9\n"
        "7f03-7f04 r-xp 00000000 fe:00 13 /usr/lib/libm.so.6\n"
        "7f04-7f05 r-xp 00000000 fe:00 14 /usr/lib/libmount.so.1\n"
        "7ffd-7ffe rw-p 00000000 00:00 0 [stack]\n"
    )
    found = libraries.loaded_libraries(str(maps))
    assert found == ["/opt/with space/libcudnn.so.9", "/usr/lib/libm.so.6"]
    assert libraries.file_names(found) == ["libcudnn.so.9", "libm.so.6"]
    assert libraries.loaded_libraries(str(tmp_path / "none")) == []


def test_a_library_that_does_not_say_is_passed_over(tmp_path):
    broken = tmp_path / "libopenblas.so"
    broken.write_bytes(b"no library")
    assert libraries.library_versions([str(broken), "/nowhere/libm.so.6"]) == {}


@pytest.fixture
def driver(tmp_path):
    """Write the files of NVIDIA's driver as it writes them."""
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n"
        "GCC version:  gcc version 12.3.0\n"
    )
    for place, model in (("0000:01:00.0", "NVIDIA H100 PCIe"), ("0000:02:00.0", "NVIDIA A100")):
        folder = tmp_path / "gpus" / place
        folder.mkdir(parents=True)
        (folder / "information").write_text(f"Model: \t\t {model}\nIRQ:   \t\t 24\n")
    return tmp_path


def test_gpus_and_their_driver_are_read_from_linux(driver):
    told = gpu.list_gpus(str(driver))
    assert told == {"gpus": ["NVIDIA H100 PCIe", "NVIDIA A100"], "gpu_driver": "550.54.15"}


def test_a_machine_without_gpus_tells_none(tmp_path):
    assert gpu.list_gpus(str(tmp_path)) == {"gpus": [], "gpu_driver": ""}


class Nvml:
    """A driver's library with two GPUs; fills what it is given, as C does, and returns 0."""

    def __init__(self, status=0):
        self.status = status
        self.ended = False

    def nvmlInit_v2(self):
        return self.status

    def nvmlShutdown(self):
        self.ended = True

    def nvmlSystemGetDriverVersion(self, text, size):
        text.value = b"550.54.15"

    def nvmlDeviceGetCount_v2(self, count):
        count._obj.value = 2

    def nvmlDeviceGetHandleByIndex_v2(self, index, handle):
        handle._obj.value = index + 1

    def nvmlDeviceGetName(self, handle, text, size):
        text.value = {1: b"NVIDIA H100", 2: b"NVIDIA A100"}[handle.value]

    def nvmlDeviceGetMemoryInfo(self, handle, memory):
        memory._obj.total = {1: 80 << 30, 2: 40 << 30}[handle.value]


def test_the_driver_tells_the_memory_of_gpus():
    nvml = Nvml()
    assert gpu.query_gpus(nvml) == {
        "gpus": ["NVIDIA H100", "NVIDIA A100"],
        "gpu_driver": "550.54.15",
        "gpu_memory_bytes": [80 << 30, 40 << 30],
    }
    assert nvml.ended


def test_a_driver_that_does_not_start_tells_nothing():
    assert gpu.query_gpus(Nvml(status=999)) == {}
    assert gpu.query_gpus(ctypes.CDLL(None)) == {}


def test_the_cores_are_those_that_the_process_may_use():
    told = hardware()
    assert told["affinity"] == sorted(os.sched_getaffinity(0))
    assert told["cores"] == len(told["affinity"])


def test_the_system_and_the_variables_that_are_set_are_told(monkeypatch):
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    monkeypatch.setenv("EDITOR", "vi")
    told = software()
    assert told["environment"]["MKL_CBWR"] == "COMPATIBLE"
    assert "EDITOR" not in told["environment"]
    release = Path("/etc/os-release")
    assert not release.exists() or told["distribution"] in release.read_text()
    assert told["system"].startswith(os.uname().sysname)


def test_each_variable_is_listed_once():
    assert list(BIT_CHANGING) == sorted(set(BIT_CHANGING))


@pytest.mark.parametrize(
    ("family", "model", "flags", "name"),
    [
        (0x15, 0x01, ("fma4",), "Bulldozer"),
        (0x15, 0x02, ("fma", "fma4"), "Piledriver"),
        (0x15, 0x01, (), "Bulldozer without FMA4"),
        (0x15, 0x65, ("avx2", "fma4"), "Excavator"),
        (0x17, 0x01, (), "Zen"),
        (0x17, 0x31, (), "Zen 2"),
        (0x17, 0xFF, (), "unknown"),
        (0x19, 0x11, (), "Zen 4"),
    ],
)
def test_amds_microarchitectures_are_told_by_family_and_model(family, model, flags, name):
    cpu = Processor("AuthenticAMD", "", family, model, 0, flags, {}, "")
    assert microarchitecture(cpu) == name

"""Platforms: from a text to the command that starts a worker."""

import os
import sys
from pathlib import Path

import pytest

from xbackend import platforms
from xbackend.errors import UsageError
from xbackend.platforms import parse_platform

WORKER = Path("/w.pyz")


@pytest.fixture(autouse=True)
def commands(monkeypatch):
    monkeypatch.setattr(platforms.shutil, "which", lambda command: f"/usr/bin/{command}")
    monkeypatch.setattr(platforms.os, "sched_getaffinity", lambda pid: {3, 1, 2})


def test_native_is_python_by_its_absolute_path():
    assert parse_platform("native").command(WORKER) == [os.path.abspath(sys.executable), "/w.pyz"]


def test_cores_takes_the_first_of_those_that_are_allowed():
    command = parse_platform("cores:2").command(WORKER)
    assert command[:3] == ["/usr/bin/taskset", "-c", "1,2"]


@pytest.mark.parametrize("text", ["cores:0", "cores:4", "cores:two", "cores"])
def test_a_number_of_cores_that_is_not_there_is_refused(text):
    with pytest.raises(UsageError, match="from 1 to 3"):
        parse_platform(text)


def test_qemu_keeps_flags_that_are_switched_on_and_off():
    platform = parse_platform("qemu:SandyBridge,+fma,-avx")
    assert platform.command(WORKER)[:3] == ["/usr/bin/qemu-x86_64", "-cpu", "SandyBridge,+fma,-avx"]
    assert platform.emulator == "TCGTCGTCGTCG"


def test_parts_are_joined_with_plus(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    for text in (f"qemu:Haswell+python:{python}", f"python:{python}+qemu:Haswell"):
        command = parse_platform(text).command(WORKER)
        assert command == ["/usr/bin/qemu-x86_64", "-cpu", "Haswell", str(python), "/w.pyz"]
    command = parse_platform("cores:1+qemu:max,+avx2+python:" + str(python)).command(WORKER)
    assert command[3:6] == ["/usr/bin/qemu-x86_64", "-cpu", "max,+avx2"]


def test_an_interpreter_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UsageError, match="Give the path of a Python interpreter"):
        parse_platform(f"python:{tmp_path}/none")


@pytest.mark.parametrize("text", ["moon", "moon:1", "", "native:1", "native+moon", "qemu:"])
def test_an_unknown_platform_is_refused(text):
    with pytest.raises(UsageError):
        parse_platform(text)


def test_a_missing_command_is_told_with_its_package(monkeypatch):
    monkeypatch.setattr(platforms.shutil, "which", lambda command: None)
    with pytest.raises(UsageError, match="apt install qemu-user"):
        parse_platform("qemu:Haswell")

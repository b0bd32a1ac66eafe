"""Platforms: from a text to the command that starts a worker."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from xbackend.errors import UsageError
from xbackend.platforms import emulated, local
from xbackend.platforms.parse import expand_platforms, parse_platform

WORKER = Path("/w.pyz")


HASWELL = {
    "vendor": "Intel",
    "device": "Intel Core Processor (Haswell)",
    "family": 6,
    "model": 60,
    "stepping": 4,
    "flags": ["avx2", "fma", "osxsave"],
    "caches": {"L1d": 32 << 10, "L3": 16 << 20},
}


@pytest.fixture(autouse=True)
def commands(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda command: f"/usr/bin/{command}")
    monkeypatch.setattr(local.os, "sched_getaffinity", lambda pid: {3, 1, 2})
    monkeypatch.setattr(emulated, "probe", lambda emulator, cpu: HASWELL)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in emulated.HOST_KERNELS:
        monkeypatch.delenv(name, raising=False)


def _bare(found):
    """Return the command without the overlay, whose folder is a digest."""
    command = found.command(WORKER)
    place = command.index("-L")
    return command[:place] + command[place + 2 :]


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
    found = parse_platform("qemu:SandyBridge,+fma,-avx")
    assert _bare(found)[:3] == ["/usr/bin/qemu-x86_64", "-cpu", "SandyBridge,+fma,-avx"]
    assert found.emulator == "TCGTCGTCGTCG"


def test_an_emulated_processor_does_not_inherit_which_kernels_the_host_has(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "SkylakeX")
    command = parse_platform("qemu:Nehalem").command(WORKER)
    assert command[1:3] == ["-U", "OPENBLAS_CORETYPE"]


def test_parts_are_joined_with_plus(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    for text in (f"qemu:Haswell+python:{python}", f"python:{python}+qemu:Haswell"):
        command = _bare(parse_platform(text))
        assert command == ["/usr/bin/qemu-x86_64", "-cpu", "Haswell", str(python), "/w.pyz"]
    command = _bare(parse_platform("cores:1+qemu:max,+avx2+python:" + str(python)))
    assert command[3:6] == ["/usr/bin/qemu-x86_64", "-cpu", "max,+avx2"]


def test_an_interpreter_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UsageError, match="Give the path of a Python interpreter"):
        parse_platform(f"python:{tmp_path}/none")


@pytest.mark.parametrize("text", ["moon", "moon:1", "", "native:1", "native+moon", "qemu:"])
def test_an_unknown_platform_is_refused(text):
    with pytest.raises(UsageError):
        parse_platform(text)


def test_a_missing_command_is_told_with_its_package(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda command: None)
    with pytest.raises(UsageError, match="apt install qemu-user"):
        parse_platform("qemu:Haswell")


def test_the_overlay_hides_the_host(tmp_path):
    command = parse_platform("cores:2+qemu:Haswell").command(WORKER)
    overlay = Path(command[command.index("-L") + 1])
    text = (overlay / "proc" / "cpuinfo").read_text()
    assert text.count("model name\t: Intel Core Processor (Haswell)\n") == 2
    assert "flags\t: avx2 fma\n" in text
    assert (overlay / "sys/devices/system/cpu/online").read_text() == "0-1\n"


def test_a_fleet_stands_for_its_members_and_none_comes_twice():
    expanded = expand_platforms(("native", "fleet:x86", "qemu:Haswell"))
    assert expanded[0] == "native"
    assert len(expanded) == len(set(expanded)) == 1 + len(emulated.FLEETS["x86"])
    assert expand_platforms(("cores:1+fleet:x86",))[0] == "cores:1+qemu:Nehalem"


def test_an_unknown_fleet_is_refused():
    with pytest.raises(UsageError, match="Fleets: x86"):
        expand_platforms(("fleet:vax",))


@pytest.mark.parametrize("text", ["qemu:\x00", "qemu:\ud800", "python:/bin/true\n", "\x1b[2J"])
def test_characters_that_no_platform_has_are_refused_and_shown_as_escapes(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_platform(text)
    assert str(caught.value).isprintable()

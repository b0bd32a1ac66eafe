"""Emulated ARM: the set-up, with stand-ins for what it calls, and the platform that rests on it."""

import fcntl
import json
import os
import shutil
import stat
import zipfile
from pathlib import Path

import pytest

from xbackend.commands.main import main
from xbackend.errors import UsageError, XbackendError
from xbackend.platforms import arm, setup_arm
from xbackend.platforms.arm import ArmProcessor, cpuinfo
from xbackend.platforms.emulated import read_listing
from xbackend.platforms.parse import expand_platforms, parse_platform
from xbackend.platforms.sysroot import find_sysroot, sysroots_folder
from xbackend.worker.job import Job
from xbackend.worker.machine.fingerprint import microarchitecture, parse_cpuinfo
from xbackend.worker.main import _mislabelled

A72 = ArmProcessor(midr=0x410FD083, hwcap=0x8FB, hwcap2=0)
"""Cortex-A72 r0p3 as QEMU 7.2 emulates it: MIDR_EL1, AT_HWCAP, AT_HWCAP2."""

APT_GET = """#!/bin/sh
echo apt-get "$@" >> "$CALLS"
if [ -n "$OFFLINE" ]; then echo "W: a warning" >&2; echo "E: Could not resolve" >&2; exit 100; fi
case "$*" in *--download-only*) ;; *) exit 0 ;; esac
place=$(sed -n 's/^Dir::Cache "\\(.*\\)";/\\1/p' "$APT_CONFIG")/archives
for name in libc6_2.36-9+deb12u14_arm64 python3.11_1%3a3.11.2-6_arm64; do
    echo deb > "$place/$name.deb"
done
"""
DPKG_DEB = """#!/bin/sh
echo dpkg-deb "$@" >> "$CALLS"
case "$2" in
*python3.11*) mkdir -p "$3/usr/bin"; echo elf > "$3/usr/bin/python3.11" ;;
*) mkdir -p "$3/usr/lib" ;;
esac
"""
QEMU = """#!/bin/sh
echo qemu-aarch64 "$@" >> "$CALLS"
if [ -n "$BROKEN" ]; then echo "cannot start" >&2; exit 1; fi
"""
PIP = """
import os, sys, zipfile
with open(os.environ["CALLS"], "a") as calls:
    print("pip", *sys.argv[1:], file=calls)
name, _, wanted = sys.argv[-1].partition("==")
if wanted == os.environ.get("GONE"):
    sys.exit("ERROR: No matching distribution found for " + sys.argv[-1])
folder = next(word[7:] for word in sys.argv if word.startswith("--dest="))
stem = name.replace("-", "_").replace(".", "_")
path = os.path.join(folder, f"{stem}-{wanted or '99.0'}-py3-none-any.whl")
with zipfile.ZipFile(path, "w") as archive:
    archive.writestr(f"{stem}/__init__.py", "")
"""


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def tools(monkeypatch, tmp_path):
    """Put stand-ins before the real commands and return a reader of their calls."""
    folder = tmp_path / "tools"
    (folder / "pip").mkdir(parents=True)
    (folder / "pip" / "__init__.py").touch()
    (folder / "pip" / "__main__.py").write_text(PIP)
    for name, text in (("apt-get", APT_GET), ("dpkg-deb", DPKG_DEB), ("qemu-aarch64", QEMU)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    calls = tmp_path / "calls"
    calls.touch()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("CALLS", str(calls))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(setup_arm, "version", {"numpy": "1.26.4", "onnxruntime-gpu": "1.31.1"}.get)

    def read():
        text = calls.read_text()
        calls.write_text("")
        return text.splitlines()

    return read


@pytest.fixture
def ready(tools, monkeypatch):
    """A set-up that is done, on a processor that says it is a Cortex-A72."""
    monkeypatch.setattr(arm, "probe", lambda emulator, cpu, python: A72)
    return setup_arm.set_up(lambda line: None)


def _set_up():
    told = []
    return setup_arm.set_up(told.append), told


def test_cpuinfo_is_what_linux_says_of_that_processor():
    lines = cpuinfo(A72, 2).splitlines()
    fields = dict(line.split(":", 1) for line in lines if line)
    words = {key.strip(): value.strip() for key, value in fields.items()}
    assert lines.count("processor\t: 0") == lines.count("processor\t: 1") == 1
    assert words["Features"] == "fp asimd aes pmull sha1 sha2 crc32 cpuid"
    assert words["CPU implementer"] == "0x41"
    assert words["CPU variant"] == "0x0"
    assert words["CPU part"] == "0xd08"
    assert words["CPU revision"] == "3"


@pytest.mark.parametrize(
    ("midr", "name"),
    [
        (0x410FD083, "Cortex-A72"),
        (0x414FD0C1, "Neoverse N1"),
        (0x461F0010, "A64FX"),
        (0x000F0510, "QEMU max"),
        (0x410FDFF0, "unknown"),
    ],
)
def test_the_fingerprint_names_the_microarchitecture(midr, name):
    text = cpuinfo(ArmProcessor(midr, 0x2, 0), 1)
    fields = dict(line.split(":", 1) for line in text.splitlines() if line)
    seen = parse_cpuinfo({key.strip(): value.strip() for key, value in fields.items()})
    assert microarchitecture(seen) == name
    assert seen.flags == ("asimd",)


def test_without_a_set_up_the_platform_says_how_to_make_one(tools):
    with pytest.raises(UsageError, match=r"xbackend platforms --setup arm$"):
        parse_platform("qemu-arm:cortex-a72")
    assert tools() == []


def test_a_set_up_fetches_unpacks_and_tries(tools, monkeypatch, tmp_path):
    monkeypatch.setenv("APT_CONFIG", "/etc/own.conf")
    made, told = _set_up()
    assert made == find_sysroot()
    assert made.python == "3.11"
    assert made.debian == {"libc6": "2.36-9+deb12u14", "python3.11": "1:3.11.2-6"}
    assert made.packages["onnxruntime"] == "1.31.1"
    assert made.packages["tflite-runtime"] == "99.0"
    assert made.interpreter.is_file()
    assert (made.site / "backports_strenum" / "__init__.py").is_file()
    assert (made.root / "lib").is_symlink()
    assert told[0].startswith("asking APT")
    calls = tools()
    pip = next(call for call in calls if call.endswith("numpy==1.26.4"))
    assert "--platform=manylinux_2_36_aarch64 " in pip
    assert "manylinux_2_37" not in pip
    assert "--python-version=3.11 " in pip
    assert calls[-1].endswith("-c import numpy")
    folders = [path.name for path in sysroots_folder().iterdir() if path.is_dir()]
    assert folders == [made.folder]


def test_apts_own_configuration_stays_in_use(tools, monkeypatch, tmp_path):
    monkeypatch.setenv("APT_CONFIG", "/etc/own.conf")
    folder = tmp_path / "apt"
    setup_arm.fetch_debs(folder, str(tmp_path / "tools" / "apt-get"), lambda line: None)
    text = (folder / "apt.conf").read_text()
    assert text.startswith('#include "/etc/own.conf";\nAPT::Architecture "arm64";\n')
    assert f'Dir::State::status "{folder}/state/status";' in text


def test_a_set_up_that_is_there_is_not_repeated(tools, ready):
    tools()
    again, told = _set_up()
    assert again == ready
    assert tools() == []
    assert "set up already" in told[0]


def test_another_version_of_a_framework_makes_another_set_up(tools, ready, monkeypatch):
    monkeypatch.setattr(setup_arm, "version", {"numpy": "2.0.0"}.get)
    made, _ = _set_up()
    assert made.packages["numpy"] == "2.0.0"
    assert made.folder != ready.folder
    assert not ready.root.exists()


def test_what_failed_is_not_taken_for_done_and_goes_on_where_it_was(tools, monkeypatch):
    monkeypatch.setenv("BROKEN", "1")
    with pytest.raises(XbackendError, match="could not import NumPy under qemu-aarch64: cannot"):
        _set_up()
    assert find_sysroot() is None
    with pytest.raises(UsageError, match="--setup arm"):
        parse_platform("qemu-arm:cortex-a72")
    assert any(call.startswith("pip") for call in tools())
    monkeypatch.delenv("BROKEN")
    made, _ = _set_up()
    assert made == find_sysroot()
    assert not [call for call in tools() if call.startswith("pip")]


def test_a_set_up_whose_files_are_gone_is_none(ready):
    ready.interpreter.unlink()
    assert find_sysroot() is None


def test_offline_is_one_sentence(tools, monkeypatch):
    monkeypatch.setenv("OFFLINE", "1")
    with pytest.raises(XbackendError) as caught:
        _set_up()
    assert "could not fetch Debian's arm64 packages: Could not resolve. " in str(caught.value)
    assert "online" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_version_without_a_wheel_for_arm_gives_way_to_the_newest(tools, monkeypatch):
    monkeypatch.setenv("GONE", "1.26.4")
    made, _ = _set_up()
    assert made.packages["numpy"] == "99.0"


def test_a_framework_without_wheels_for_a_newer_python_is_left_out(tools, tmp_path):
    told = []
    asked = {"tflite-runtime": "2.14.0", "ai-edge-litert": None}
    wheels = setup_arm.fetch_wheels(tmp_path, asked, "3.13", 41, told.append)
    assert [wheel.name for wheel in wheels] == ["ai_edge_litert-99.0-py3-none-any.whl"]
    assert told[0] == "there is no tflite-runtime for Python 3.13: left out"


@pytest.mark.parametrize("command", ["qemu-aarch64", "apt-get", "dpkg-deb"])
def test_a_missing_command_is_told_with_its_package(tools, monkeypatch, command):
    monkeypatch.setattr(
        setup_arm.shutil, "which", lambda name: None if name == command else f"/usr/bin/{name}"
    )
    with pytest.raises(UsageError, match=f"needs the command {command}.*apt install"):
        _set_up()


def test_pip_is_asked_for_where_it_is_missing(tools, monkeypatch):
    monkeypatch.setattr(setup_arm, "importable", lambda module: False)
    with pytest.raises(UsageError, match="ensurepip"):
        _set_up()


def test_two_set_ups_at_once_do_not_meet(tools):
    sysroots_folder().mkdir(parents=True)
    with (sysroots_folder() / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(XbackendError, match="Another set-up"):
            _set_up()


def _wheel(tmp_path, **members):
    path = tmp_path / "a-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def test_a_wheel_is_unpacked_without_its_scripts(tmp_path):
    members = {"a/b.py": "1", "a-1.data/platlib/a/c.py": "2", "a-1.data/scripts/a": "3"}
    setup_arm.unpack_wheel(_wheel(tmp_path, **members), tmp_path / "site")
    files = [path for path in (tmp_path / "site").rglob("*") if path.is_file()]
    assert {path.name: path.read_text() for path in files} == {"b.py": "1", "c.py": "2"}


@pytest.mark.parametrize("name", ["../evil.py", "/evil.py", "a-1.data/purelib/../../../evil.py"])
def test_a_wheel_that_leads_out_is_refused(tmp_path, name):
    with pytest.raises(XbackendError, match="leads out of the folder"):
        setup_arm.unpack_wheel(_wheel(tmp_path, **{name: "1"}), tmp_path / "site")
    assert not list(tmp_path.rglob("evil.py"))


def test_the_platform_starts_the_set_ups_python_with_its_packages_alone(ready, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda command: f"/usr/bin/{command}")
    found = parse_platform("cores:1+qemu-arm:max,sve=off")
    command = found.command(Path("/w.pyz"))
    assert command[3:7] == [
        *("env", "--unset=PYTHONHOME", "PYTHONNOUSERSITE=1"),
        f"PYTHONPATH={ready.site}",
    ]
    assert command[7:9] == ["/usr/bin/qemu-aarch64", "-L"]
    assert command[10:] == ["-cpu", "max,sve=off", str(ready.interpreter), "/w.pyz"]
    assert (found.machine, found.emulator) == ("aarch64", "TCGTCGTCGTCG")


def test_the_overlay_is_the_set_up_with_another_processor(ready):
    command = parse_platform("cores:1+qemu-arm:cortex-a72").command(Path("/w.pyz"))
    overlay = Path(command[command.index("-L") + 1])
    assert (overlay / "usr").resolve() == ready.root / "usr"
    assert (overlay / "proc" / "cpuinfo").read_text() == cpuinfo(A72, 1)
    assert (overlay / "sys/hypervisor/type").read_text() == "TCGTCGTCGTCG\n"
    assert (overlay / "sys/devices/system/cpu/online").read_text() == "0\n"
    assert not stat.S_IWOTH & overlay.stat().st_mode


@pytest.mark.parametrize(
    "text",
    [
        "qemu-arm:",
        "ssh:host+qemu-arm:max",
        "qemu-arm:max+python:/usr/bin/python3",
        "qemu-arm:max+qemu:Haswell",
        "qemu-arm:max+qemu-arm:max",
        "qemu-arm:max+docker:image",
    ],
)
def test_what_cannot_be_joined_is_refused(ready, text):
    with pytest.raises(UsageError):
        parse_platform(text)


def test_the_fleet_of_arm_is_emulated_arm():
    members = expand_platforms(("fleet:arm",))
    assert len(members) > 2
    assert all(member.startswith("qemu-arm:") for member in members)


def test_a_framework_that_the_set_up_lacks_is_known_beforehand(ready):
    found = parse_platform("qemu-arm:cortex-a72")
    assert found.may_provide(("onnxruntime",))
    assert found.may_provide(("nothing", "tflite_runtime"))
    assert found.may_provide(())
    assert not found.may_provide(("torch",))


JOB = Job("b", "a:B", {}, "", {}, (), "layers", "", "", emulator="TCGTCGTCGTCG", machine="aarch64")


@pytest.mark.parametrize(
    ("hypervisor", "machine", "believed"),
    [
        ("TCGTCGTCGTCG", "aarch64", True),
        ("", "aarch64", False),
        ("TCGTCGTCGTCG", "x86_64", False),
        ("KVMKVMKVM", "x86_64", False),
    ],
)
def test_a_label_is_believed_only_of_an_emulated_arm(hypervisor, machine, believed):
    hardware = {"hypervisor": hypervisor, "machine": machine, "device": "some processor"}
    failure = _mislabelled(JOB, hardware)
    assert (failure is None) == believed
    if failure is not None:
        assert failure["error"]["symptom"] == "not-emulated"


def test_processors_are_listed_once_and_without_those_of_32_bits():
    lines = [
        "x86 486                   (alias configured by machine type)",
        "x86 486-v1                ",
        "x86 Haswell               (alias configured by machine type)",
        "x86 Haswell-IBRS          (alias of Haswell-v3)",
        "x86 Haswell-v1            Intel Core Processor (Haswell)",
        "  max                     Enables all features",
    ]
    assert read_listing(lines) == [
        {"name": "Haswell", "description": "Intel Core Processor (Haswell)", "lacks": ""},
        {"name": "max", "description": "Enables all features", "lacks": ""},
    ]


def test_a_processor_that_the_emulator_cannot_honour_is_labelled():
    lines = ["x86 Skylake-Server-v1  Intel Xeon Processor (Skylake)", "x86 Opteron_G4-v1  AMD"]
    versioned = [
        f"x86 {name}  (alias configured by machine type)"
        for name in ("Skylake-Server", "Opteron_G4")
    ]
    assert [row["lacks"] for row in read_listing([*versioned, *lines])] == ["AVX-512", "FMA4"]


def test_the_listing_says_whether_arm_is_set_up(tools, capsys):
    assert main(["platforms"]) == 0
    assert "not set up: xbackend platforms --setup arm" in capsys.readouterr().out
    assert main(["platforms", "--setup", "arm"]) == 0
    said = capsys.readouterr()
    assert "numpy 1.26.4, onnxruntime 1.31.1" in said.out
    assert "fetching numpy 1.26.4" in said.err
    assert main(["platforms", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["arm"]["packages"]["onnxruntime"] == "1.31.1"
    assert found["fleets"]["arm"][0] == "qemu-arm:cortex-a72"
    assert {row["form"] for row in found["platforms"]} >= {"native", "qemu-arm:CPU[,feature=off]"}

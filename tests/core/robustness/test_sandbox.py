"""What a model's process cannot do: write elsewhere, use the network, take all of the memory."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import xbackend as package
from xbackend.worker import sandbox
from xbackend.worker.scratch import make_scratch, sweep_scratch

Record = dict[str, Any]
Run = Callable[..., Record]
ROOT = Path(package.__file__).parents[1]

linux = pytest.mark.skipif(
    not sandbox.landlock_version(), reason="This system has no Landlock to test."
)


@pytest.fixture
def run_bad(xbackend: Callable[..., Any], sound: Path, tmp_path: Path) -> Run:
    """Let the fake backend do something, and return the run's record."""

    def run(does: str, *arguments: str, **options: Any) -> Record:
        settings = ["--set", f"bad.does={does}", "--set", "bad.at=run"]
        done = xbackend("run", sound, "--backends", "bad", *settings, "--fresh", *arguments,
                        "--json", **options)  # fmt: skip
        assert "Traceback" not in done.err
        (record,) = json.loads(done.out)
        return dict(record)

    return run


@linux
def test_a_model_that_writes_elsewhere_fails_and_nothing_is_written(
    run_bad: Run, tmp_path: Path
) -> None:
    target = tmp_path / "evil"
    record = run_bad(f"write={target}")
    assert record["status"] == "failed"
    assert record["error"]["symptom"] == "PermissionError"
    assert not target.exists()


@linux
@pytest.mark.parametrize("place", ["runs/evil.json", "workers/evil.pyz", "artifacts/evil"])
def test_of_the_store_a_model_writes_objects_alone(
    run_bad: Run, tmp_path: Path, place: str
) -> None:
    target = tmp_path / "store" / place
    assert run_bad(f"write={target}")["status"] == "failed"
    assert not target.exists()


def test_without_the_sandbox_the_same_model_writes_and_that_is_said(
    xbackend: Callable[..., Any], sound: Path, tmp_path: Path
) -> None:
    target = tmp_path / "evil"
    settings = ["--set", f"bad.does=write={target}", "--set", "bad.at=run"]
    done = xbackend("run", sound, "--backends", "bad", *settings, "--no-sandbox", "--json")
    assert target.read_text() == "evil"
    assert json.loads(done.out)[0]["software"]["sandbox"] is None
    assert "without a sandbox" in done.err
    assert "write files" in done.err


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        yield server


@linux
def test_a_model_that_opens_a_connection_fails_and_reaches_nobody(
    run_bad: Run, listener: socket.socket
) -> None:
    port = listener.getsockname()[1]
    record = run_bad(f"connect={port}")
    assert (record["status"], record["error"]["symptom"]) == ("failed", "PermissionError")
    with pytest.raises(TimeoutError):
        listener.accept()
    run_bad(f"connect={port}", "--no-sandbox")
    listener.accept()[0].close()


@linux
def test_a_model_that_sends_a_datagram_fails_and_reaches_nobody(run_bad: Run) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(0.2)
        record = run_bad(f"datagram={receiver.getsockname()[1]}")
        assert (record["status"], record["error"]["symptom"]) == ("failed", "PermissionError")
        with pytest.raises(TimeoutError):
            receiver.recv(10)


@linux
def test_a_model_that_allocates_without_end_fails_alone(run_bad: Run) -> None:
    record = run_bad("eat", env={"XBACKEND_MEMORY_LIMIT": "600"})
    assert (record["status"], record["error"]["symptom"]) == ("failed", "MemoryError")
    assert record["software"]["sandbox"]["memory"] == 600 << 20


@linux
def test_what_was_in_force_is_recorded(run_bad: Run) -> None:
    told = run_bad("nothing")["software"]["sandbox"]
    assert told["files"] == f"landlock {sandbox.landlock_version()}"
    assert told["network"] == "seccomp"
    assert told["memory"] >= sandbox.LEAST_MEMORY


def test_the_bits_are_the_same_with_and_without_the_sandbox(run_bad: Run) -> None:
    inside, outside = run_bad("nothing"), run_bad("nothing", "--no-sandbox")
    assert inside["status"] == outside["status"] == "ok"
    assert inside["results"][0]["outputs"] == outside["results"][0]["outputs"]
    assert inside["results"][0]["taps"] == outside["results"][0]["taps"]


@linux
@pytest.mark.parametrize("does", ["remember", "signal=SIGKILL"])
def test_what_a_framework_writes_goes_to_a_folder_that_is_gone_afterwards(
    run_bad: Run, tmp_path: Path, does: str
) -> None:
    record = run_bad(does)
    assert record["status"] == ("ok" if does == "remember" else "failed"), record["error"]
    assert not (tmp_path / "store" / "scratch").exists()


def test_a_variable_that_says_nothing_is_refused(refused: Callable[..., str], sound: Path) -> None:
    assert "XBACKEND_SANDBOX" in refused(sound, env={"XBACKEND_SANDBOX": "perhaps"})
    assert "MiB" in refused(sound, env={"XBACKEND_MEMORY_LIMIT": "-3"})


CONFINED = """
import json, os, socket, subprocess, sys
sys.path.insert(0, sys.argv[1])
from xbackend.worker import sandbox
{before}
told = sandbox.confine([sys.argv[2]])
{after}
"""
TRY_ALL = """
def works(act):
    try:
        act()
        return True
    except OSError:
        return False
inside, outside = os.path.join(sys.argv[2], "a"), sys.argv[3]
found = {
    "inside": works(lambda: open(inside, "w").close()),
    "rename": works(lambda: os.rename(inside, inside + "b")),
    "outside": works(lambda: open(os.path.join(outside, "new"), "w").close()),
    "append": works(lambda: open(os.path.join(outside, "old"), "a").close()),
    "truncate": works(lambda: os.truncate(os.path.join(outside, "old"), 0)),
    "remove": works(lambda: os.unlink(os.path.join(outside, "old"))),
    "move": works(lambda: os.rename(os.path.join(outside, "old"), inside)),
    "link": works(lambda: os.symlink("x", os.path.join(outside, "link"))),
    "folder": works(lambda: os.mkdir(os.path.join(outside, "folder"))),
    "pipe": works(lambda: os.mkfifo(os.path.join(outside, "pipe"))),
    "null": works(lambda: open(os.devnull, "w").close()),
    "read": works(lambda: open(os.path.join(outside, "old")).close()),
    "tcp": works(lambda: socket.socket(socket.AF_INET)),
    "tcp6": works(lambda: socket.socket(socket.AF_INET6)),
    "signal": works(lambda: os.kill(os.getppid(), 0)),
    "child": subprocess.run(["sh", "-c", f"echo x > {outside}/child"], capture_output=True)
    .returncode == 0,
}
print(json.dumps([told, found]))
"""


def confined(tmp_path: Path, before: str = "", python: tuple[str, ...] = ()) -> list[Any]:
    """Confine a process of its own, and return what is in force and what it still can do."""
    for name in ("inside", "outside"):
        (tmp_path / name).mkdir(exist_ok=True)
    (tmp_path / "outside" / "old").write_text("kept")
    program = CONFINED.format(before=before, after=TRY_ALL)
    folders = [str(ROOT), str(tmp_path / "inside"), str(tmp_path / "outside")]
    command = [*(python or (sys.executable,)), "-c", program, *folders]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


@linux
def test_a_confined_process_and_its_children_change_nothing_outside(tmp_path: Path) -> None:
    told, found = confined(tmp_path)
    assert {name for name, works in found.items() if works} - {"signal"} == {
        "inside", "rename", "null", "read",
    }  # fmt: skip
    assert found["signal"] == (sandbox.landlock_version() < 6)
    assert told["files"]
    assert (tmp_path / "outside" / "old").read_text() == "kept"


@linux
def test_without_landlock_the_rest_holds_and_the_record_says_so(tmp_path: Path) -> None:
    told, found = confined(tmp_path, "sandbox.landlock_version = lambda: 0")
    assert (told["files"], told["network"]) == (None, "seccomp")
    assert found["outside"]
    assert not found["tcp"]


@linux
def test_without_seccomp_landlock_refuses_tcp(tmp_path: Path) -> None:
    told, found = confined(tmp_path, "sandbox._refuse_sockets = lambda: False")
    version = sandbox.landlock_version()
    assert told["network"] == ("landlock" if version >= 4 else None)
    assert not found["outside"]


def test_on_another_system_nothing_is_in_force_and_nothing_fails(tmp_path: Path) -> None:
    told, found = confined(tmp_path, "sys.platform = 'darwin'")
    assert told == {"files": None, "network": None, "memory": None}
    assert found["outside"]


@pytest.mark.skipif(not shutil.which("qemu-x86_64"), reason="There is no emulator here.")
def test_an_emulator_that_knows_no_sandbox_is_recorded_as_that(tmp_path: Path) -> None:
    emulator = shutil.which("qemu-x86_64")
    told, _ = confined(tmp_path, python=(str(emulator), sys.executable))
    assert told == {"files": None, "network": None, "memory": None}


def test_a_folder_is_kept_while_its_process_lives_and_swept_afterwards(tmp_path: Path) -> None:
    base = tmp_path / "scratch"
    held = make_scratch(str(base))
    assert held is not None
    (Path(held.path) / "file").write_text("x")
    (base / "worker-0123456789abcdef").mkdir()
    (base / "else").mkdir()
    sweep_scratch(str(base))
    assert sorted(path.name for path in base.iterdir()) == ["else", Path(held.path).name]
    (base / "else").rmdir()
    import os

    os.close(held.descriptor)
    sweep_scratch(str(base))
    assert not base.exists()


def test_a_link_in_a_strangers_store_is_not_followed(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    (mine / "worker-0123456789abcdef").mkdir(parents=True)
    (tmp_path / "scratch").symlink_to(mine)
    sweep_scratch(str(tmp_path / "scratch"))
    assert make_scratch(str(tmp_path / "scratch")) is None
    assert [path.name for path in mine.iterdir()] == ["worker-0123456789abcdef"]

"""Workers elsewhere: over a real sshd on this machine's loopback, and in a stand-in for docker."""

import getpass
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xbackend.commands.main import main
from xbackend.errors import UsageError
from xbackend.platforms.parse import parse_platform
from xbackend.store.store import Store

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin") or ""
DOCKER = '''#!{python}
"""Does what `docker run` would, without a container, and writes down what it was asked."""
import json, os, sys
with open({log!r}, "a") as stream:
    stream.write(json.dumps(sys.argv) + "\\n")
if sys.argv[1] == "rm":
    sys.exit()
place = sys.argv.index("an/image:1.0")
python = {python!r} if sys.argv[place + 1] == "python3" else sys.argv[place + 1]
os.execv(python, [python, *sys.argv[place + 2:]])
'''
COMMAND = "import sys; from xbackend.commands.main import main; sys.exit(main(sys.argv[1:]))"
SLEEPER = '''#!{python}
"""Tells its process, and runs a worker whose framework computes for ever."""
import os, sys, time
sys.path.insert(0, sys.argv[1])
from xbackend.worker import main
with open({told!r}, "w") as stream:
    stream.write(str(os.getpid()))
main.execute = lambda job, channel: time.sleep(600)
main.main()
'''


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """Start an sshd with keys of its own; give the variable that makes ssh use them."""
    if not SSHD or not shutil.which("ssh"):
        pytest.skip("There is no sshd on this machine (Debian: openssh-server).")
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    port = _free_port()
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile {folder}/pid\n"
        f"AuthorizedKeysFile {folder}/user.pub\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        f"SetEnv TMPDIR={folder}/remote\n"
    )
    (folder / "remote").mkdir()
    Path("/run/sshd").mkdir(exist_ok=True) if os.access("/run", os.W_OK) else None
    log = (folder / "log").open("w")
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
    known = f"[127.0.0.1]:{port} " + (folder / "host.pub").read_text()
    (folder / "known_hosts").write_text(known)
    (folder / "ssh_config").write_text(
        f"Host loopback\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n"
        f"  IdentityFile {folder}/user\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {folder}/known_hosts\n"
    )
    _wait_for(port, server, folder / "log")
    yield f"ssh -F {folder}/ssh_config"
    server.terminate()
    server.wait()
    log.close()


def _wait_for(port, server, log):
    for _ in range(100):
        if server.poll() is not None:
            pytest.skip(f"sshd does not start here: {log.read_text()[-200:]}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.skip("sshd does not answer.")


def _left(host):
    """Return what lies where the host keeps temporary folders."""
    return list(Path(host.split()[-1]).with_name("remote").iterdir())


def _run(store, *arguments):
    command = ["run", "--backends", "fixed", "--store", str(store), *arguments]
    status = main(command)
    return status, list(Store(store).runs())


def _bits(record):
    rows = record["results"]
    return [[(t["name"], t["digest"]) for t in row["outputs"] + row["taps"]] for row in rows]


def test_a_run_over_ssh_brings_back_the_same_bits(host, tmp_path, monkeypatch):
    monkeypatch.setenv("XBACKEND_SSH", host)
    platform = f"ssh:loopback+python:{sys.executable}"
    status, (here, there) = _run(tmp_path / "store", "--platform", "native", "--platform", platform)
    assert status == 0
    assert there["platform"] == platform
    assert there["hardware"]["device"] == here["hardware"]["device"]
    assert _bits(there) == _bits(here)


def test_objects_that_only_the_other_machine_made_arrive(host, tmp_path, monkeypatch):
    monkeypatch.setenv("XBACKEND_SSH", host)
    store = tmp_path / "store"
    status, (record,) = _run(store, "--platform", f"ssh:loopback+python:{sys.executable}")
    assert status == 0
    for row in record["results"]:
        for tensor in row["outputs"] + row["taps"]:
            assert len(Store(store).read_object(tensor["digest"])) > 0


def test_nothing_is_left_on_the_host(host, tmp_path, monkeypatch):
    monkeypatch.setenv("XBACKEND_SSH", host)
    _run(tmp_path / "store", "--platform", f"ssh:loopback+python:{sys.executable}")
    assert _left(host) == []


def test_a_host_that_does_not_answer_is_a_failed_run(tmp_path, monkeypatch):
    if not shutil.which("ssh"):
        pytest.skip("There is no ssh on this machine.")
    monkeypatch.setenv("XBACKEND_SSH", f"ssh -p {_free_port()}")
    status, (record,) = _run(tmp_path / "store", "--platform", "ssh:127.0.0.1")
    assert status == 3
    assert record["error"]["stage"] == "start"
    assert "Cannot take the worker to '127.0.0.1' over SSH" in record["error"]["message"]


def test_a_python_that_the_host_lacks_is_a_failed_run(host, tmp_path, monkeypatch):
    monkeypatch.setenv("XBACKEND_SSH", host)
    status, (record,) = _run(tmp_path / "store", "--platform", "ssh:loopback+python:/no/python")
    assert status == 3
    assert record["status"] == "failed"


def _stand_in(folder, monkeypatch):
    """Put a stand-in for docker on the path; return where it writes what it was asked."""
    log, stand_in = folder / "asked.txt", folder / "bin" / "docker"
    stand_in.parent.mkdir()
    stand_in.write_text(DOCKER.format(python=sys.executable, log=str(log)))
    stand_in.chmod(stand_in.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{stand_in.parent}:{os.environ['PATH']}")
    return log


def test_a_container_sees_what_the_job_names_and_nothing_can_be_fetched(tmp_path, monkeypatch):
    log = _stand_in(tmp_path, monkeypatch)
    store = tmp_path / "store"
    status, (here, there) = _run(store, "--platform", "native", "--platform", "docker:an/image:1.0")
    assert status == 0
    assert _bits(there) == _bits(here)
    asked, removed = map(json.loads, log.read_text().splitlines())
    (name,) = [word.partition("=")[2] for word in asked if word.startswith("--name=")]
    assert removed[1:] == ["rm", "--force", name]
    assert {"run", "--rm", "--interactive", "--network=none"} <= set(asked)
    objects = str((store / "objects").absolute())
    assert f"--volume={objects}:{objects}" in asked
    shown = [word for word in asked if word.startswith("--volume=") and word.endswith(":ro")]
    assert any("/artifacts/" in word for word in shown)
    assert asked[asked.index("an/image:1.0") + 1] == "python3"


@pytest.mark.parametrize(
    "text",
    ["ssh:", "ssh:-oProxyCommand=x", "ssh:a b", "docker:", "docker:--privileged", "docker:a b"],
)
def test_what_a_command_line_would_take_for_more_than_a_name_is_refused(text):
    with pytest.raises(UsageError, match="needs"):
        parse_platform(text)


@pytest.mark.parametrize("text", ["ssh:a+qemu:Haswell", "ssh:a+cores:1", "ssh:a+docker:b"])
def test_what_applies_here_cannot_follow_what_leads_elsewhere(text):
    with pytest.raises(UsageError):
        parse_platform(text)


def _sleeper(folder):
    """Write a Python that tells its process and then computes for ever, as the worker it is."""
    told, script = folder / "told", folder / "python"
    script.write_text(SLEEPER.format(python=sys.executable, told=str(told)))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script, told


def _is_over(process, seconds=20.0):
    """Wait for a process that is no child of this one to end; tell whether it did."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        status = Path(f"/proc/{process}/stat")
        try:
            if status.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_a_worker_over_ssh_ends_with_its_time(host, tmp_path, monkeypatch):
    monkeypatch.setenv("XBACKEND_SSH", host)
    script, told = _sleeper(tmp_path)
    platform = f"ssh:loopback+python:{script}"
    status, (record,) = _run(tmp_path / "store", "--platform", platform, "--timeout", "3")
    assert (status, record["error"]["symptom"]) == (3, "timeout")
    assert _is_over(int(told.read_text()))
    assert _left(host) == []


def test_a_worker_over_ssh_ends_with_the_command(host, tmp_path):
    script, told = _sleeper(tmp_path)
    command = [sys.executable, "-c", COMMAND, "run", "--backends", "fixed"]
    command += ["--platform", f"ssh:loopback+python:{script}", "--store", str(tmp_path / "store")]
    process = subprocess.Popen(
        command, env={**os.environ, "XBACKEND_SSH": host}, stderr=subprocess.DEVNULL
    )
    while not told.exists() or not told.read_text():
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    assert process.wait(30) == 128 + signal.SIGTERM
    assert _is_over(int(told.read_text()))
    assert _left(host) == []


def test_a_container_that_docker_does_not_start_is_said_with_the_cure(tmp_path, monkeypatch):
    _stand_in(tmp_path, monkeypatch)
    (tmp_path / "bin" / "docker").write_text("#!/bin/sh\nexit 125\n")
    status, (record,) = _run(tmp_path / "store", "--platform", "docker:an/image:1.0")
    assert (status, record["error"]["symptom"]) == (3, "exit 125")
    assert "was not started by docker. See that its service runs" in record["error"]["message"]


def test_a_container_is_removed_when_its_time_is_over(tmp_path, monkeypatch):
    log = _stand_in(tmp_path, monkeypatch)
    script, _ = _sleeper(tmp_path)
    platform = f"docker:an/image:1.0+python:{script}"
    status, (record,) = _run(tmp_path / "store", "--platform", platform, "--timeout", "2")
    assert (status, record["error"]["symptom"]) == (3, "timeout")
    asked, removed = map(json.loads, log.read_text().splitlines())
    assert f"--name={removed[3]}" in asked
    assert removed[1:3] == ["rm", "--force"]

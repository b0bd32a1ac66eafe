"""Workers that work, crash, hang, lie and babble: each is a recorded run, never an exception."""

import dataclasses
import glob
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from xbackend.execution.workers.launcher import Launch, run_workers
from xbackend.execution.workers.zipapp import worker_zipapp
from xbackend.platforms.platform import Platform
from xbackend.store.store import Store
from xbackend.worker.contract import BackendSpec
from xbackend.worker.job import Job, Sample, Slice

ADAPTER = '''
"""A backend that doubles its input, or misbehaves as its setting `does` says."""
import os, signal, sys, time
import numpy as np
from xbackend.worker.contract import Backend, Session, Unsupported
from xbackend.worker.tensor import from_numpy

class Doubler(Session):
    taps = ("half", "y")
    def __init__(self, does):
        self.does = does
    def run(self, inputs):
        return {"y": from_numpy(inputs["x"].array * np.float32(2))}
    def tap(self, inputs, wanted):
        if self.does == "crash in taps":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.does == "fail in taps":
            raise RuntimeError("no taps today")
        factor = np.float32(3 if self.does == "disturb" else 2)
        yield "half", from_numpy(inputs["x"].array)
        yield "y", from_numpy(inputs["x"].array * factor)
    def facts(self):
        return {"settings": {"mode": "resolved"}}

class Adapter(Backend):
    def versions(self):
        print("a framework's chatter on standard output")
        os.write(1, b"and on the descriptor\\n")
        return {"fake": "1.2.3"}
    def prepare(self, artifact, settings):
        does = settings["does"]
        if does == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if does == "illegal":
            os.kill(os.getpid(), signal.SIGILL)
        if does == "hang":
            time.sleep(3600)
        if does == "exit":
            os._exit(7)
        if does == "refuse":
            raise Unsupported("This fake has no such thing.")
        if does == "raise":
            raise RuntimeError("first line\\nsecond line")
        if does == "environment":
            assert os.environ["FAKE_THREADS"] == "2"
        return Doubler(does)
'''


@pytest.fixture
def fake(tmp_path, monkeypatch):
    package = tmp_path / "fakes" / "fake_backend"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('"""A fake."""\n')
    (package / "adapter.py").write_text(ADAPTER)
    monkeypatch.syspath_prepend(str(tmp_path / "fakes"))
    return BackendSpec(
        word="fake",
        title="Fake",
        adapter="fake_backend.adapter:Adapter",
        modules=(),
        distributions=(),
        formats={"float32": "graph"},
    )


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")
    store.create()
    return store


@pytest.fixture
def launch(fake, store, tmp_path):
    value = {"name": "x", "dtype": "float32", "shape": [None, 2]}
    manifest = {
        "format": "graph",
        "digest": "0" * 64,
        "inputs": [value],
        "outputs": [{**value, "name": "y"}],
        "layers": [],
    }
    (tmp_path / "artifact.json").write_text(json.dumps(manifest))
    np.save(tmp_path / "x.npy", np.array([[1, -0.0], [3, 4]], np.float32))

    def make(does, name="run-0", platform=None, taps="layers", adapter=fake.adapter):
        rows = [(str(i), Slice(str(tmp_path / "x.npy"), i, i + 1)) for i in range(2)]
        job = Job(
            backend="fake",
            adapter=adapter,
            environment={"FAKE_THREADS": "2"},
            artifact=str(tmp_path),
            settings={"does": does, "threads": 1, "precision": "float32"},
            samples=tuple(Sample(n, {"x": where}) for n, where in rows),
            taps=taps,
            store=str(store.folder),
            missing="Backend 'fake' needs a fake. Install it.",
        )
        record = {
            "id": name, "schema_version": 1, "settings": {"does": does}, "status": "failed",
            "model": {"name": "m", "digest": "0" * 64}, "backend": "fake", "backend_version": None,
            "precision": "float32", "platform": "here", "repeat": 0, "hardware": {}, "error": None,
            "seconds": None, "taps_neutral": None, "layers": [], "results": [],
        }  # fmt: skip
        return Launch(record, job, platform or Platform("native"), worker_zipapp(fake))

    return make


def _run(launches, store, timeout=30.0):
    seen = []
    records = run_workers(launches, store, 2, timeout, lambda launch: None, seen.append)
    assert sorted(r["id"] for r in seen) == [r["id"] for r in records]
    assert [r["id"] for r in store.runs()] == [r["id"] for r in records]
    return records


def test_a_run_records_outputs_taps_versions_and_hardware(launch, store):
    (record,) = _run([launch("work")], store)
    assert (record["status"], record["error"]) == ("ok", None)
    assert record["backend_version"] == "1.2.3"
    assert record["taps_neutral"] is True
    assert record["settings"] == {"does": "work", "mode": "resolved"}
    assert record["hardware"]["cores"] == len(os.sched_getaffinity(0))
    first, second = record["results"]
    assert store.read_tensor(first["outputs"][0]).array.tobytes() == bytes.fromhex(
        "0000004000000080"
    )
    assert store.read_tensor(second["outputs"][0]).array.tolist() == [[6, 8]]
    assert [tap["name"] for tap in first["taps"]] == ["half", "y"]
    assert store.read_tensor(first["inputs"][0]).array.tolist() == [[1, 0]]


def test_taps_that_change_the_output_are_told_and_do_not_replace_it(launch, store):
    (record,) = _run([launch("disturb")], store)
    assert record["taps_neutral"] is False
    assert record["results"][0]["taps"][1] == record["results"][0]["outputs"][0]


def test_without_taps_nothing_is_inferred_twice(launch, store):
    (record,) = _run([launch("crash in taps", taps="outputs")], store)
    assert record["status"] == "ok"
    assert record["taps_neutral"] is None
    assert record["results"][0]["taps"] == []


def test_only_the_taps_asked_for_are_kept(launch, store):
    (record,) = _run([launch("work", taps="h*")], store)
    assert [tap["name"] for tap in record["results"][0]["taps"]] == ["half"]
    assert record["taps_neutral"] is True


def test_outputs_survive_taps_that_fail(launch, store):
    (record,) = _run([launch("fail in taps")], store)
    assert record["status"] == "ok"
    assert record["error"]["stage"] == "taps"
    assert "no taps today" in record["error"]["message"]
    assert len(record["results"]) == 2


def test_only_a_run_with_nothing_amiss_is_not_repeated(launch, store):
    launches = [launch("work", "run-0"), launch("fail in taps", "run-1")]
    _run([dataclasses.replace(each, key=each.record["id"]) for each in launches], store)
    assert store.find_by_key("run-0")["status"] == "ok"
    assert store.find_by_key("run-1") is None


@pytest.mark.parametrize(
    ("does", "symptom", "stage", "words"),
    [
        ("die", "SIGKILL", "prepare", "killed from outside"),
        ("illegal", "SIGILL", "prepare", "instruction that this processor does not have"),
        ("exit", "exit 7", "prepare", "exit status 7"),
        ("raise", "RuntimeError", "prepare", "first line"),
        ("crash in taps", "SIGSEGV", "taps", "bad memory access"),
    ],
)
def test_a_worker_that_breaks_is_a_failed_run(launch, store, does, symptom, stage, words):
    broken, sound = _run([launch(does, "run-0"), launch("work", "run-1")], store)
    assert broken["status"] == "failed"
    assert (broken["error"]["symptom"], broken["error"]["stage"]) == (symptom, stage)
    assert words in broken["error"]["message"]
    assert "\n" not in broken["error"]["message"]
    assert sound["status"] == "ok"


def test_a_worker_that_hangs_is_stopped(launch, store):
    (record,) = _run([launch("hang")], store, timeout=2.0)
    assert (record["status"], record["error"]["symptom"]) == ("failed", "timeout")
    assert "--timeout" in record["error"]["message"]


def test_what_a_backend_cannot_do_is_skipped_with_its_reason(launch, store):
    (record,) = _run([launch("refuse")], store)
    assert record["status"] == "skipped"
    assert record["error"]["message"] == "This fake has no such thing."


def test_a_framework_that_is_missing_is_said_with_the_cure(launch, store):
    (record,) = _run([launch("work", adapter="not_there.adapter:Adapter")], store)
    assert (record["status"], record["error"]["symptom"]) == ("failed", "not-installed")
    assert record["error"]["message"].startswith("Backend 'fake' needs a fake. Install it.")


def test_an_interpreter_that_cannot_be_started_is_a_failed_run(launch, store, tmp_path):
    platform = Platform("python:nowhere", python=str(tmp_path / "nowhere"))
    (record,) = _run([launch("work", platform=platform)], store)
    assert (record["status"], record["error"]["stage"]) == ("failed", "start")
    assert "No such file" in record["error"]["message"]


def test_variables_are_set_before_the_adapter_is_imported(launch, store):
    (record,) = _run([launch("environment")], store)
    assert record["status"] == "ok"


def test_what_a_framework_prints_is_in_the_log_and_not_in_the_answer(launch, store):
    _run([launch("work")], store)
    assert "chatter" in (store.folder / "logs" / "run-0.txt").read_text()


def test_the_worker_is_one_file_with_sources_and_without_a_clock(fake, store):
    path = worker_zipapp(fake)
    assert worker_zipapp(fake) == path
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        years = {info.date_time[0] for info in archive.infolist()}
    assert {"__main__.py", "fake_backend/adapter.py", "xbackend/worker/main.py"} <= set(names)
    assert "xbackend/worker/geometry/sliding_window.py" in names
    assert not [n for n in names if "cli" in n or "store" in n or "converters" in n]
    assert years == {1980}


def _old_pythons():
    for version in ("3.8", "3.9"):
        pattern = f"{Path.home()}/.pyenv/versions/{version}.*/bin/python{version}"
        for path in [f"/usr/bin/python{version}", *sorted(glob.glob(pattern))]:
            done = (
                subprocess.run([path, "-c", "import numpy"], capture_output=True, check=False)
                if os.path.exists(path)
                else None
            )
            if done is not None and done.returncode == 0:
                yield path


def test_the_worker_runs_in_an_older_python_than_the_coordinators(launch, store):
    path = next(_old_pythons(), None)
    if path is None:
        pytest.skip("There is no Python 3.8 or 3.9 with NumPy on this machine.")
    (record,) = _run([launch("work", platform=Platform("python", python=path))], store)
    assert record["status"] == "ok"
    assert record["software"]["python"] < "3.10"
    assert sys.version_info >= (3, 10)


def _script(tmp_path, text):
    path = tmp_path / "script"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return Platform("script", python=str(path))


def test_the_time_for_a_worker_holds_for_what_a_script_around_it_starts(launch, store, tmp_path):
    platform = _script(tmp_path, "sleep 20; exit 0")
    started = time.monotonic()
    (record,) = _run([launch("work", platform=platform)], store, timeout=1.0)
    assert record["error"]["symptom"] == "timeout"
    assert time.monotonic() - started < 10


def test_what_else_is_said_before_the_worker_speaks_is_passed_over(launch, store, tmp_path):
    babble = "\n".join(f"echo '{line}'" for line in ("3", "[1]", "null", '{"result": 3}', "{"))
    platform = _script(tmp_path, f'{babble}\nexec {sys.executable} "$@"')
    (record,) = _run([launch("work", platform=platform)], store)
    assert (record["status"], record["backend_version"]) == ("ok", "1.2.3")


def test_a_worker_says_nothing_but_what_is_its_own_to_say(launch, store, tmp_path):
    said = {"status": "ok", "results": [], "id": "../../evil", "platform": "native", "facts": 3}
    told = json.dumps({"partial": said, "result": said})
    (record,) = _run(
        [launch("work", platform=_script(tmp_path, f"cat >/dev/null; echo '{told}'"))], store
    )
    assert record["id"] == "run-0"
    assert record["platform"] == "here"
    assert "facts" not in record
    assert not list(tmp_path.glob("**/evil*"))


@pytest.mark.parametrize("timeout", [1e10, float("inf")])
def test_any_time_may_be_allowed(launch, store, timeout, capsys):
    (record,) = _run([launch("work")], store, timeout=timeout)
    assert record["status"] == "ok"
    assert "Traceback" not in capsys.readouterr().err

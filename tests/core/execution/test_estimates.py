"""How long a run took last time: kept in the store, shown while it runs again."""

import io
import json

import pytest

from xbackend.commands.main import main
from xbackend.execution import progress
from xbackend.execution.durations import (
    MAX_DURATIONS,
    duration_key,
    read_durations,
    record_durations,
)
from xbackend.execution.progress import LiveProgress
from xbackend.execution.workers.launcher import Launch
from xbackend.platforms.platform import Platform
from xbackend.store.store import Store
from xbackend.worker.job import Job


def _record(platform="native", seconds=16.3, status="ok", model="a" * 64, threads=1):
    return {
        "id": f"run-{platform}",
        "model": {"digest": model},
        "backend": "ort",
        "precision": "float32",
        "platform": platform,
        "settings": {"threads": threads},
        "repeat": 0,
        "status": status,
        "seconds": seconds,
        "error": None,
    }


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")
    store.create()
    return store


def test_the_last_time_is_kept(store):
    record_durations(store, [_record(seconds=1.0), _record("qemu:EPYC", 9.0)])
    record_durations(store, [_record(seconds=2.0)])
    kept = read_durations(store)
    assert kept == {duration_key(_record()): 2.0, duration_key(_record("qemu:EPYC")): 9.0}


@pytest.mark.parametrize("change", [{"platform": "cores:1"}, {"model": "b" * 64}, {"threads": 2}])
def test_runs_that_may_take_another_time_are_of_another_kind(change):
    assert duration_key(_record(**change)) != duration_key(_record())


def test_a_run_that_failed_says_nothing_about_the_next(store):
    record_durations(store, [_record(status="failed", seconds=600.0)])
    assert not (store.folder / "durations.json").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": "soon"}', '{"a": null}'])
def test_a_file_that_is_not_sound_is_as_none(store, text):
    (store.folder / "durations.json").write_text(text)
    assert read_durations(store) == {}
    record_durations(store, [_record()])
    assert read_durations(store) == {duration_key(_record()): 16.3}


def test_only_the_kinds_that_ran_last_are_kept(store):
    record_durations(store, [_record(threads=n) for n in range(MAX_DURATIONS + 5)])
    kept = read_durations(store)
    assert len(kept) == MAX_DURATIONS
    assert duration_key(_record(threads=4)) not in kept
    assert duration_key(_record(threads=MAX_DURATIONS + 4)) in kept


def test_the_live_line_tells_the_time_so_far_and_that_of_last_time(monkeypatch):
    from rich.console import Console
    from rich.status import Status

    clock = iter([100.0, 200.0, 204.2])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    console = Console(file=io.StringIO())
    live = LiveProgress(console.file, Status("", console=console))
    live.start(2, {duration_key(_record("qemu:EPYC")): 16.3})
    for platform in ("native", "qemu:EPYC"):
        job = Job("ort", "a:B", {}, "", {}, (), "layers", "", "")
        live.on_start(Launch(_record(platform), job, Platform(platform), None))
    assert live.__rich__() == (
        "0 of 2 done; running: ort float32 104 s, ort float32 on qemu:EPYC 4 s (last time 16 s)"
    )
    live.on_end(_record("native", seconds=0.5))
    live.on_end(_record("qemu:EPYC"))
    monkeypatch.setattr(progress.time, "monotonic", lambda: 300.0)
    assert live.__rich__() == "2 of 2 done"
    assert "[1/2] ort float32: ok in 0.50 s" in console.file.getvalue()


def test_a_run_leaves_its_time_in_the_store(tmp_path):
    assert main(["run", "--backends", "fixed", "--store", str(tmp_path)]) == 0
    (record,) = Store(tmp_path).runs()
    kept = json.loads((tmp_path / "durations.json").read_text())
    assert kept == {duration_key(record): record["seconds"]}

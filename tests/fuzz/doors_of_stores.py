"""The doors through which a store, a worker and others' results come in."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .door import Door, files
from .mutate import change_bytes, change_json


def _records(data: bytes, folder: Path) -> str:
    """Read a record beside a sound one, compare the two and write every report that there is."""
    from xbackend.comparison.compare import compare
    from xbackend.plugins import registry
    from xbackend.store.records import read_run
    from xbackend.store.store import Store

    store = Store(folder / "store")
    path = store.folder / "runs" / "odd.json"
    path.write_bytes(data)
    run = read_run(store.read_run(path), path)
    found = compare(store)
    for name in registry.report_formats():
        if not registry.missing_for(name):
            assert isinstance(registry.report(name)(found), str)
    return run.row["status"]


def _sound_store(folder: Path) -> None:
    tests = Path(__file__).resolve().parents[1]
    shutil.copytree(tests / "core" / "store" / "store_of_version_1", folder / "store")


def _record_corpus() -> Sequence[bytes]:
    """Return sound records under the name that the mutated one has."""
    found = []
    for data in files("core/store/store_of_version_1/runs/*.json", "fuzz/corpus/records/*")():
        found.append(json.dumps({**json.loads(data), "id": "odd"}).encode())
    return found


def _check(data: bytes, folder: Path) -> str:
    """Read a whole store against its names in which one record was changed."""
    from xbackend.api.store_check import check_store

    (folder / "store" / "runs" / "odd.json").write_bytes(data)
    return f"{len(check_store(folder / 'store').faults)} faults"


def _artifact(data: bytes, folder: Path) -> str:
    """Take an artifact's manifest for what it says."""
    from xbackend.preparation.conversion.convert import _read_converted
    from xbackend.store.artifact_files import file_fault

    place = folder / ("a" * 64)
    place.mkdir(exist_ok=True)
    (place / "artifact.json").write_bytes(data)
    (place / "model.onnx").write_bytes(b"weights")
    fault = file_fault(place)
    assert isinstance(fault, str)
    _read_converted(place)
    return "fault" if fault else "sound"


def _index(data: bytes, folder: Path) -> str:
    """Read a store whose index is odd: what comes out is what the records say."""
    from xbackend.store.index import read_runs
    from xbackend.store.store import Store

    store = Store(folder / "store")
    for path in store.folder.glob("index.sqlite*"):
        path.unlink()
    (store.folder / "index.sqlite").write_bytes(data)
    runs = read_runs(store)
    assert [(run.row, list(run.results)) for run in runs] == _expected(store.folder)
    return "read"


@functools.cache
def _expected(folder: Path) -> list[tuple[Any, Any]]:
    from xbackend.store.records import read_run
    from xbackend.store.store import Store

    store = Store(folder)
    runs = [read_run(store.read_run(path), path) for path in store.run_files()]
    return [(run.row, list(run.results)) for run in runs]


def _channel(data: bytes, folder: Path) -> str:
    """Take in what a worker says, make the run's record of it and read that as any other."""
    from xbackend.execution.workers.channel import FloodError, LineReader
    from xbackend.execution.workers.launcher import final_record, with_objects
    from xbackend.execution.workers.process import WorkerEnd
    from xbackend.store.records import read_run
    from xbackend.store.store import Store

    launch, reader, flood = _launch(str(folder)), LineReader(), ""
    try:
        for start in range(0, len(data), 4096):
            reader.feed(data[start : start + 4096])
    except FloodError as error:
        flood = str(error)
    record = final_record(launch, reader.output, WorkerEnd(0, False, flood), 60.0, 1.5)
    record = with_objects(record, launch, Store(folder))
    run = read_run(json.loads(json.dumps(record)))
    error = run.row["error"] or {}
    return f"{run.row['status']} {error.get('symptom', '')}"


@functools.cache
def _launch(folder: str) -> Any:
    from xbackend.execution.workers.launcher import Launch
    from xbackend.platforms.platform import Platform
    from xbackend.worker.job import Job

    record = {
        "schema_version": 1, "id": "odd", "model": {"name": "m", "digest": "0" * 64},
        "backend": "fake", "backend_version": None, "precision": "float32", "repeat": 0,
        "settings": {"threads": 1}, "platform": "here", "hardware": {}, "software": {},
        "status": "failed", "error": None, "seconds": None, "taps_neutral": None,
        "layers": [], "results": [],
    }  # fmt: skip
    job = Job("fake", "fake:Adapter", {}, "", {}, (), "layers", folder, "")
    return Launch(record, job, Platform("here"), Path("worker"))


def change_lines(chance: Any, data: bytes, corpus: Sequence[bytes]) -> bytes:
    """Change one of the lines, each a JSON document, or repeat, leave out and mix lines."""
    lines = data.split(b"\n")
    at = chance.randrange(len(lines))
    step = chance.randrange(10)
    if step < 7:
        lines[at] = change_json(chance, lines[at], corpus)
    elif step == 7:
        lines[at:at] = chance.choice(corpus).split(b"\n")
    elif step == 8:
        del lines[at]
    else:
        return change_bytes(chance, data, corpus)
    return b"\n".join(lines)


def _published(data: bytes, folder: Path) -> str:
    """Import a folder with one file of results, and compare what came of it."""
    from xbackend.comparison.compare import compare
    from xbackend.exchange.importing import import_from
    from xbackend.store.store import Store

    place = folder / "study" / "race_conditions"
    place.mkdir(parents=True, exist_ok=True)
    (place / "amd-rome-2.json").write_bytes(data)
    shutil.rmtree(folder / "taken", ignore_errors=True)
    store, said = Store(folder / "taken"), list[str]()
    try:
        import_from(store, "unannticipated", folder / "study", said.append)
    finally:
        _check_all(said)
    compare(store)
    return "imported"


def _check_all(sentences: Sequence[str]) -> None:
    from .door import check_sentence

    for sentence in sentences:
        check_sentence(sentence)


def _index_corpus() -> Sequence[bytes]:
    """Return indexes of the sound store, as this version and this SQLite write them."""
    import os
    import tempfile

    from xbackend.store.index import read_runs
    from xbackend.store.store import Store

    with tempfile.TemporaryDirectory() as folder:
        _sound_store(Path(folder))
        store = Store(Path(folder, "store"))
        for path in store.run_files():
            os.utime(path, (1e9, 1e9))
        _pretend_old(lambda: read_runs(store))
        return [(store.folder / "index.sqlite").read_bytes()]


def _pretend_old(read: Callable[[], object]) -> None:
    """Let records that were written just now count as old, so that they are kept in the index."""
    from xbackend.store import index

    young, index.YOUNG = index.YOUNG, -(10**12)
    try:
        read()
    finally:
        index.YOUNG = young


DOORS = (
    Door(
        "records", "records of runs, compared and reported", _records, _record_corpus,
        change_json, ("onnx",), _sound_store,
    ),
    Door(
        "check", "records, read by `store check`", _check, _record_corpus, change_json, (),
        _sound_store,
    ),
    Door("artifact", "manifests of artifacts", _artifact, files("fuzz/corpus/artifact/*"),
         change_json),
    Door("index", "index.sqlite", _index, _index_corpus, change_bytes, (), _sound_store),
    Door(
        "channel", "what a worker says", _channel, files("fuzz/corpus/channel/*"), change_lines
    ),
    Door(
        "published", "published results", _published, files("fuzz/corpus/published/*"), change_json
    ),
)  # fmt: skip
"""Each with the store that it finds."""

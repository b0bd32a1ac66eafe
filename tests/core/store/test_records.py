"""Records under mutation: each is read soundly or refused in one sentence that names its file."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from xbackend.comparison.compare import compare
from xbackend.errors import StoreError, XbackendError
from xbackend.plugins import registry
from xbackend.store.index import read_runs
from xbackend.store.records import Run, read_run
from xbackend.store.schema import migration
from xbackend.store.schema.kinds import MAX_DEPTH
from xbackend.store.schema.record import json_schema
from xbackend.store.store import Store
from xbackend.testing.store_builder import StoreBuilder

Record = dict[str, Any]
Way = tuple[Any, ...]

VALUES: list[Any] = [
    None, True, -1, 0, 2**64, 1e308, float("nan"), float("inf"), "", "x", "\x1b[2J", "\ud800",
    "x" * 100_000, "../../dev/zero", [], [[]], [None], {}, {"": {}}, {"a": None}, [{}],
]  # fmt: skip


def whole(bench: StoreBuilder) -> Record:
    """A record with all that one may hold."""
    bench.run(
        {"y": [1.0, 2.0]},
        {"conv": [3.0]},
        inputs_digest="1" * 64,
        hardware={
            "vendor": "Maker", "device": "Chip", "microarchitecture": "Arch", "cores": 4,
            "memory_bytes": 2**34, "flags": ["avx2"], "hypervisor": "TCGTCGTCGTCG",
            "machine": "x86_64", "caches": {"L1d": 32768},
        },
        software={"python": "3.11", "libraries": [{"name": "blas"}]},
        versions={"ort": "1.0", "numpy": None},
        facts={"settings": {"threads": 1}, "nodes": {"Conv": "cpu"}},
        artifact={"digest": "2" * 64, "format": "graph"},
        worker="ort-0.pyz",
        conversion="onnx_to_int8.weight=uint8",
        saturation=[{"tap": "conv", "operator": "Conv", "possible": 1}],
        emulation_unsafe=["y"],
        emulation_reasons={"Softmax": "It estimates."},
        error={"stage": "taps", "symptom": "RuntimeError", "message": "No taps."},
    )  # fmt: skip
    text = (bench.store.folder / "runs" / "run-0.json").read_text()
    record: Record = json.loads(text)
    return record


def ways(value: Any, way: Way = ()) -> Iterator[Way]:
    """Yield the way to each value within a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in inner:
        yield (*way, key)
        if isinstance(child, (dict, list)):
            yield from ways(child, (*way, key))


def changed(record: Record, way: Way, value: Any, gone: bool = False) -> Record:
    """Return a record with another value at a place, or with none."""
    copy: Record = json.loads(json.dumps(record))
    place: Any = copy
    for key in way[:-1]:
        place = place[key]
    if gone:
        del place[way[-1]]
    else:
        place[way[-1]] = value
    return copy


def mutants(record: Record) -> list[Record]:
    """Return every record with one value replaced by each odd one, or left out."""
    found = []
    for way in ways(record):
        found.append(changed(record, way, None, gone=True))
        found += [changed(record, way, value) for value in VALUES]
    return found


def read(store: Store, mutant: Record) -> Run | None:
    """Write a record and read it; None for one that is refused in a sentence."""
    path = store.folder / "runs" / "run-0.json"
    path.write_text(json.dumps(mutant))
    try:
        return read_run(store.read_run(path), path)
    except StoreError as error:
        sentence = str(error)
    assert str(path) in sentence
    assert sentence.isprintable()
    assert len(sentence) < 1000
    return None


def test_a_record_with_all_that_one_may_hold_is_sound(bench: StoreBuilder) -> None:
    run = read(bench.store, whole(bench))
    assert run is not None
    assert run.ok


def test_every_mutant_is_a_run_or_one_sentence_that_names_its_file(bench: StoreBuilder) -> None:
    record = whole(bench)
    outcomes = [read(bench.store, mutant) for mutant in mutants(record)]
    assert len(outcomes) > 1500
    assert any(outcomes)
    assert not all(outcomes)


def test_what_is_read_can_be_compared_and_laid_out_in_every_report(bench: StoreBuilder) -> None:
    """Each of a sample of mutants, beside a sound run of the same model."""
    record = whole(bench)
    bench.run({"y": [1.0, 2.5]}, {"conv": [3.0]}, inputs_digest="1" * 64)
    names = [name for name in registry.report_formats() if not registry.missing_for(name)]
    formats = [registry.report(name) for name in names]
    chance = random.Random(11)
    shown = 0
    for mutant in chance.sample(mutants(record), 600):
        if read(bench.store, mutant) is None:
            continue
        try:
            comparison = compare(bench.store)
            texts = [render(comparison) for render in formats]
        except XbackendError:
            continue
        shown += 1
        assert all(texts)
        assert "\x1b" not in "".join(texts)
    assert shown > 80


def test_damaged_records_are_left_out_and_named_and_the_others_are_compared(
    bench: StoreBuilder,
) -> None:
    for value in (1.0, 2.0):
        bench.run({"y": [value]})
    bench.write(repeat=-1)
    damaged: list[StoreError] = []
    assert [run.id for run in read_runs(bench.store, damaged)] == ["run-0", "run-1"]
    assert "run-2.json" in str(damaged[0])
    comparison = compare(bench.store)
    assert len(comparison.samples) == 1
    assert [str(error) for error in comparison.left_out] == [str(damaged[0])]


def test_what_moves_a_cursor_is_shown_as_an_escape(bench: StoreBuilder) -> None:
    bench.write(status="failed", error={"stage": "run", "symptom": "X", "message": "\x1b[2J\r."})
    (run,) = read_runs(bench.store)
    assert run.row["error"]["message"] == "\\x1b[2J\\r."


@pytest.mark.parametrize("depth", [MAX_DEPTH, 900])
def test_what_is_nested_too_deep_is_refused(bench: StoreBuilder, depth: int) -> None:
    record = whole(bench)
    nested: Any = "x"
    for _ in range(depth + 1):
        nested = [nested]
    assert read(bench.store, {**record, "facts": {"a": nested}}) is None


def test_a_tensor_that_no_disk_holds_is_refused(bench: StoreBuilder) -> None:
    record = whole(bench)
    way = ("results", 0, "outputs", 0, "shape")
    assert read(bench.store, changed(record, way, [2**40, 2**40])) is None
    assert read(bench.store, changed(record, way, [2**40, -2])) is None


def test_a_run_that_failed_without_a_reason_is_refused(bench: StoreBuilder) -> None:
    record = whole(bench)
    assert read(bench.store, {**record, "status": "failed", "error": None}) is None


def test_the_published_schema_is_the_one_that_is_checked(root: Path) -> None:
    """`python -m xbackend.store.schema.write > docs/reference/record.schema.json` writes it."""
    text = (root / "docs" / "reference" / "record.schema.json").read_text(encoding="utf-8")
    assert json.loads(text) == json_schema()


def test_the_published_schema_says_of_mutants_what_the_reader_says(bench: StoreBuilder) -> None:
    """Held against an implementation of JSON Schema that others wrote, where it is installed."""
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json_schema())
    record = whole(bench)
    assert validator.is_valid(record)
    refused_by_it = [mutant for mutant in mutants(record)[::7] if not validator.is_valid(mutant)]
    assert len(refused_by_it) > 50
    assert not any(read(bench.store, mutant) for mutant in refused_by_it)


TODAY = Path(__file__).parent / "store_of_version_1"


def test_todays_store_is_read_by_whatever_comes_later() -> None:
    """Written by xbackend 0.1.0; the values were taken down when it was written."""
    runs = [read_run(Store(TODAY).read_run(path), path) for path in Store(TODAY).run_files()]
    assert [(run.id[-8:], run.row["status"]) for run in runs] == [
        ("0000-bad", "failed"), ("001-good", "ok"),
    ]  # fmt: skip
    assert runs[0].row["error"]["symptom"] == "SIGSEGV"
    output = runs[1].results[0]["outputs"][0]
    assert (output["name"], output["dtype"], output["shape"]) == ("y", "float32", [1, 4])
    assert Store(TODAY).read_tensor(output).array.tolist() == [[0.0, 0.5, 1.0, 2.0]]


def test_a_record_of_an_older_version_goes_through_every_step(
    bench: StoreBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = {
        1: lambda record: {**record, "two": record["platform"]},
        2: lambda record: {**record, "three": record["two"] + "!"},
    }
    monkeypatch.setattr(migration, "SCHEMA_VERSION", 3)
    monkeypatch.setattr(migration, "STEPS", steps)
    record = migration.upgraded(whole(bench), Path("x.json"))
    assert (record["schema_version"], record["two"], record["three"]) == (3, "native", "native!")


@pytest.mark.parametrize(
    ("version", "cure"),
    [(0, "delete it"), (2, "install a newer xbackend"), ("1", "delete it"), (True, "delete it")],
)
def test_a_version_that_is_not_known_is_told_with_the_cure(
    bench: StoreBuilder, version: Any, cure: str
) -> None:
    record = {**whole(bench), "schema_version": version}
    with pytest.raises(StoreError, match=cure):
        migration.upgraded(record, Path("x.json"))

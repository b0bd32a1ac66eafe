"""The published results of real machines: the differ's classes against an independent count.

The check knows nothing of the importer: it reads the files itself, and its classes are the keys of
a dictionary of bytes.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xbackend.attribution.correlation import flag_tables
from xbackend.comparison.compare import compare
from xbackend.comparison.comparison import Comparison
from xbackend.comparison.dendrogram import output_tree
from xbackend.comparison.machines import machine_table
from xbackend.exchange.importing import import_runs
from xbackend.numerics.metrics import identical_metrics
from xbackend.plugins import registry
from xbackend.store.query import Query, select
from xbackend.store.records import Run
from xbackend.store.store import Store

Partition = frozenset[frozenset[str]]
"""Classes of files, each by its path from the experiment's folder on."""


@pytest.fixture(scope="module")
def results(shared: Path) -> Path:
    folder = shared / "published" / "unaNNticipated" / "results"
    if not folder.is_dir():
        pytest.skip("The published results are not in the folder 'shared' beside the project.")
    return folder


@pytest.fixture(scope="module")
def files(results: Path) -> dict[str, dict[str, Any]]:
    """Every file's object by its path."""
    paths = {path.relative_to(results).as_posix(): path for path in sorted(results.rglob("*.json"))}
    return {
        name: json.loads(path.read_text())
        for name, path in paths.items()
        if not name.startswith(NOT_IMPORTED)
    }


@pytest.fixture(scope="module")
def store(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store(tmp_path_factory.mktemp("published"))
    made.create()
    spec = registry.importer("unannticipated")
    import_runs(made, spec.name, registry.load_object(spec.read)(results))
    return made


NOT_IMPORTED = ("raw_simd/", "winning_algorithm/")
"""Experiments that the importer does not know."""


@pytest.fixture(scope="module")
def comparison(store: Store) -> Comparison:
    return compare(store)


def data(prediction: dict[str, Any]) -> bytes:
    return base64.b64decode(prediction["bytes"])


def subject(path: str, document: dict[str, Any]) -> tuple[str, str, str, str]:
    """Return experiment, model as the file names it, layer folder, and sample, by hand."""
    parts = path.removesuffix(".json").split("/")
    layer = parts[1] if parts[0] == "parameter_distribution" else ""
    words = {
        "equivalence_classes": lambda: parts[-1].rpartition("-i")[2],
        "parameter_distribution": lambda: parts[-1].rpartition("-")[2],
        "input_distribution": lambda: parts[2],
    }
    return parts[0], document["model_type"], layer, words.get(parts[0], lambda: "0")()


def counted(files: dict[str, dict[str, Any]]) -> dict[tuple[str, str, str, str], Partition]:
    """Return the classes of each model and sample from a dictionary of the bytes."""
    found: dict[Any, dict[bytes, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path, document in files.items():
        found[subject(path, document)][data(document["prediction"])].add(path)
    return {key: frozenset(map(frozenset, classes.values())) for key, classes in found.items()}


def differed(
    comparison: Comparison, files: dict[str, dict[str, Any]]
) -> Iterator[tuple[tuple[str, str, str, str], Partition]]:
    """Yield the classes that the differ gives, as files."""
    rows = {run.id: run.row for run in comparison.runs}
    for sample in comparison.samples:
        keys = set()
        classes = []
        for ids in sample.eqcs:
            paths = {path for name in ids for path in rows[name]["facts"]["files"]}
            subjects = {path: subject(path, files[path]) for path in paths}
            mine = {path for path in paths if subjects[path][3] == sample.input}
            keys |= {subjects[path] for path in mine}
            classes.append(frozenset(mine))
        (key,) = keys
        yield key, frozenset(classes)


def test_every_model_and_sample_falls_into_exactly_the_classes_of_its_bytes(
    comparison: Comparison, files: dict[str, dict[str, Any]]
) -> None:
    found = list(differed(comparison, files))
    assert len(found) == len(dict(found))
    assert dict(found) == counted(files)


def test_no_file_is_left_out(comparison: Comparison, files: dict[str, dict[str, Any]]) -> None:
    told = {path for run in comparison.runs for path in run.row["facts"]["files"]}
    assert told == set(files)


def test_the_bytes_in_the_store_are_those_of_the_files(
    store: Store, files: dict[str, dict[str, Any]]
) -> None:
    for record in store.runs():
        for path, result in zip(record["facts"]["files"], record["results"], strict=True):
            every = [files[path]["prediction"], *files[path].get("all_predictions", [])]
            assert store.read_object(result["outputs"][0]["digest"]) in map(data, every)


def test_repeats_are_runs_and_all_of_them_have_the_same_bits(comparison: Comparison) -> None:
    (sample,) = [
        sample
        for sample in comparison.samples
        if sample.cohort.runs[0].row["facts"]["experiment"] == "race_conditions"
    ]
    assert [len(ids) for ids in sample.eqcs] == [10] * 6


def test_classes_of_values_are_classes_of_bytes_here(files: dict[str, dict[str, Any]]) -> None:
    """The authors compare with ==, for which -0.0 is 0.0 and NaN is nothing: there is neither."""
    for document in files.values():
        values = np.frombuffer(data(document["prediction"]), document["prediction"]["dtype"])
        assert np.isfinite(values).all()
        assert (values != 0).all()


def test_the_flags_of_an_isolated_layer_fall_as_in_the_papers_table(store: Store) -> None:
    (table,) = flag_tables(select(store, Query("cifar10_medium-conv2d_11")))
    where = {run.id: run.row["hardware"]["microarchitecture"] for run in table.runs}
    assert {frozenset(where[name] for name in ids) for ids in table.classes} == {
        frozenset({"Sandy Bridge", "Ivy Bridge"}),
        frozenset({"Haswell", "Broadwell", "Zen 2", "Zen 3"}),
        frozenset({"Skylake", "Cascade Lake", "Ice Lake"}),
    }
    splitting = [cluster.names for cluster in table.clusters if cluster.splits]
    assert [{"avx512f"} <= set(names) for names in splitting] == [True, False]
    assert [{"avx2", "fma"} <= set(names) for names in splitting] == [False, True]


def lost_bits(first: np.ndarray, second: np.ndarray) -> int:
    """Return the low bits to drop until all elements agree: the authors' definition, by hand."""
    widths = {2: (10, np.int16), 4: (23, np.int32), 8: (52, np.int64)}
    mantissa, kind = widths[first.itemsize]
    one, two = first.view(kind), second.view(kind)
    return next((n for n in range(mantissa + 1) if np.all(one >> n == two >> n)), mantissa)


def test_the_trees_part_where_the_authors_remaining_precision_does(
    store: Store, comparison: Comparison
) -> None:
    found = 0
    for sample in comparison.samples:
        (output,) = sample.outputs
        rows = {run.id: run for run in sample.cohort.runs}
        numbers = [_numbers(store, rows[ids[0]], sample.input) for ids in output.eqcs]
        root = output_tree(store, output)
        assert root is not None
        for one, other in itertools.combinations(range(len(numbers)), 2):
            node = root
            while near := [c for c in node.children if {one, other} <= set(c.classes)]:
                (node,) = near
            lost = lost_bits(numbers[one], numbers[other])
            assert node.bits == identical_metrics(output.dtype).remaining_precision - lost
            found += 1
    assert found > 100


def _numbers(store: Store, run: Run, sample: str) -> np.ndarray:
    (result,) = [row for row in run.results if row["input"] == sample]
    tensor: np.ndarray = store.read_tensor(result["outputs"][0]).array
    return tensor


def test_the_table_numbers_classes_from_the_top_in_every_column(
    comparison: Comparison, files: dict[str, dict[str, Any]]
) -> None:
    """The check is a dictionary of bytes again, filled in the order of the rows."""
    table = machine_table(comparison)
    for place, column in enumerate(table.columns):
        numbers: dict[bytes, int] = {}
        for row in table.rows:
            cell = row.cells[place]
            mine = [
                path
                for run in column.sample.cohort.runs
                if _machine(run) == _machine(row.run) and run.row["repeat"] == 0
                for path in run.row["facts"]["files"]
                if subject(path, files[path])[3] == column.input
            ]
            assert len(mine) == (cell is not None)
            if cell is not None:
                seen = data(files[mine[0]]["prediction"])
                assert cell.number == numbers.setdefault(seen, len(numbers) + 1)
                assert cell.deterministic


def _machine(run: Run) -> tuple[Any, ...]:
    hardware = run.row["hardware"]
    return run.row["platform"], hardware["device"], hardware["cores"]


def test_the_published_machines_fall_as_the_supplement_has_them(store: Store) -> None:
    """A model with wide layers parts generations of SIMD, and numbers of cores among them."""
    where = ["facts.experiment=equivalence_classes"]
    table = machine_table(compare(store, "cifar10_medium", where))
    told = [
        (
            row.run.row["hardware"]["microarchitecture"],
            row.run.row["hardware"]["cores"],
            [cell.number for cell in row.cells if cell is not None],
        )
        for row in table.rows
    ]
    assert told == [
        ("Ivy Bridge", 12, [1] * 3), ("Ivy Bridge", 12, [1] * 3),
        ("Haswell", 2, [2] * 3),
        ("Haswell", 4, [3] * 3), ("Haswell", 4, [3] * 3), ("Haswell", 4, [3] * 3),
        ("Broadwell", 2, [2] * 3), ("Broadwell", 2, [2] * 3),
        ("Skylake", 2, [4] * 3), ("Skylake", 2, [4] * 3), ("Skylake", 2, [4] * 3),
        ("Skylake", 4, [5] * 3), ("Skylake", 4, [5] * 3),
        ("Kaby Lake", 8, [6] * 3), ("Coffee Lake", 8, [6] * 3),
        ("Cascade Lake", 2, [4] * 3), ("Cascade Lake", 2, [4] * 3), ("Cascade Lake", 2, [4] * 3),
        ("Cascade Lake", 4, [5] * 3), ("Cascade Lake", 48, [7] * 3),
    ]  # fmt: skip
    (curve,) = table.curves()
    assert curve.counts == (1, 1, 2, 3, 3, 3, 3, 3, 4, 4, 4, 5, 5, 6, 6, 6, 6, 6, 6, 7)

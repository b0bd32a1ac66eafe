"""Table 1: properties that occur together, ranked by how they go with the classes."""

import pytest

from xbackend.attribution.correlation import (
    adjusted_mutual_information,
    flag_tables,
    rank_properties,
)
from xbackend.store.records import read_run


def _names(clusters):
    return [cluster.names for cluster in clusters]


def test_properties_that_always_occur_together_are_one_cluster():
    having = [frozenset({"avx", "avx2", "fma", "sse"}), frozenset({"avx", "sse"})]
    assert _names(rank_properties(having, [1, 2])) == [("avx2", "fma")]


def test_what_all_have_says_nothing():
    assert rank_properties([frozenset({"sse"}), frozenset({"sse"})], [1, 2]) == ()


def test_a_perfect_split_comes_before_what_merely_goes_along():
    having = [
        frozenset({"fma", "new"}),
        frozenset({"fma"}),
        frozenset({"old"}),
        frozenset({"old", "new"}),
    ]
    first, second, third = rank_properties(having, [1, 1, 2, 2])
    assert {first.names, second.names} == {("fma",), ("old",)}
    assert first.splits
    assert second.splits
    assert third.names == ("new",)
    assert not third.splits
    assert (first.present, first.absent) == ((1,), (2,))
    assert (third.present, third.absent) == ((1, 2), (1, 2))
    assert third.ami < 0.01 < first.ami == 1.0


def test_a_flag_can_split_although_there_are_more_classes():
    """AVX-512 tells class 1 from the others; what tells 2 from 3 is another flag."""
    having = [frozenset({"avx512f", "fma"}), frozenset({"fma"}), frozenset()]
    clusters = {cluster.names: cluster for cluster in rank_properties(having, [1, 2, 3])}
    assert clusters["avx512f",].splits
    assert clusters["fma",].splits


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([0, 0, 1, 1], [0, 0, 1, 1], 1.0),
        ([0, 0, 1, 1], [1, 1, 0, 0], 1.0),
        ([0, 0, 1, 1], [0, 1, 0, 1], -0.5),
        ([0, 0, 0, 0], [0, 1, 2, 3], 0.0),
        ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2], 0.298792458170),
    ],
)
def test_adjusted_mutual_information_has_the_values_of_scikit_learn(first, second, expected):
    assert adjusted_mutual_information(first, second) == pytest.approx(expected, abs=1e-9)


def _record(name, flags, digest, **changes):
    tensor = {"name": "y", "dtype": "float32", "shape": [1], "digest": digest}
    caches = changes.pop("caches", {"L1d": 32 << 10})
    return {
        "schema_version": 1,
        "id": name,
        "model": {"name": "m", "digest": "d", "source": "m"},
        "backend": "ort",
        "backend_version": "1",
        "precision": "float32",
        "settings": {"threads": 1},
        "platform": f"qemu:{name}",
        "repeat": 0,
        "hardware": {
            "vendor": "Intel",
            "device": name,
            "microarchitecture": name,
            "cores": 2,
            "memory_bytes": 1,
            "flags": flags,
            "caches": caches,
        },
        "software": {},
        "status": "ok",
        "error": None,
        "seconds": 1.0,
        "taps_neutral": None,
        "layers": [],
        "results": [{"input": "0", "outputs": [tensor], "taps": []}],
        **changes,
    }


def test_a_table_for_each_backend_comes_from_records_alone():
    error = {"stage": "run", "symptom": "SIGILL", "message": "It died."}
    rows = [
        _record("a", ["sse", "avx2"], "1" * 64),
        _record("b", ["sse"], "2" * 64),
        _record("c", ["sse", "avx2"], "1" * 64),
        _record("d", ["sse"], "3" * 64, backend="tflite"),
        _record("e", ["sse"], "4" * 64, status="failed", error=error),
    ]
    ort, tflite = flag_tables([read_run(row) for row in rows])
    assert ort.group["backend"] == "ort"
    assert ort.classes == (("a", "c"), ("b",))
    assert ort.clusters[0].names[0] == "avx2"
    assert ort.clusters[0].splits
    assert tflite.clusters == ()


def test_caches_and_threads_are_properties_beside_the_flags():
    rows = [
        _record("a", ["sse"], "1" * 64),
        _record("a", ["sse"], "2" * 64, caches={"L1d": 64 << 10}, settings={"threads": 2}),
    ]
    (table,) = flag_tables([read_run(row) for row in rows])
    assert _names(table.clusters) == [("L1d=32 KiB", "threads=1"), ("L1d=64 KiB", "threads=2")]

"""Classes from digests in arrays, against a dictionary of digests."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import numpy as np
import pytest

from xbackend.comparison.equivalence import combine_labels, label_rows, members
from xbackend.store.packed_results import PackedResults, pack_results, results_key
from xbackend.testing.store_builder import StoreBuilder

Record = dict[str, Any]


def by_dictionary(keys: list[Any]) -> list[list[int]]:
    found: dict[Any, list[int]] = {}
    for place, key in enumerate(keys):
        found.setdefault(key, []).append(place)
    return list(found.values())


@pytest.mark.parametrize("kinds", [1, 2, 7, 400])
def test_groups_are_those_of_a_dictionary_in_the_same_order(kinds: int) -> None:
    chance = random.Random(kinds)
    digests = [hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(kinds)]
    drawn = [chance.choice(digests) for _ in range(500)]
    words = np.frombuffer(b"".join(drawn), np.uint64).reshape(500, 4)
    assert [places.tolist() for places in members(label_rows(words))] == by_dictionary(drawn)


def test_digests_that_share_their_first_half_are_told_apart() -> None:
    halves = [bytes(16) + bytes([n]) * 16 for n in (1, 2, 1, 3)]
    words = np.frombuffer(b"".join(halves), np.uint64).reshape(4, 4)
    assert label_rows(words).tolist() == [0, 1, 0, 2]


def test_classes_of_several_tensors_together_are_those_of_tuples() -> None:
    chance = random.Random(0)
    one, two = ([chance.randrange(5) for _ in range(300)] for _ in range(2))
    found = members(combine_labels([np.array(one), np.array(two)]))
    assert [places.tolist() for places in found] == by_dictionary(list(zip(one, two, strict=True)))


def test_packed_results_are_the_results(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0]}, {"conv": [2.0], "relu": [3.0]})
    bench.write(results=[bench.result(n, {"y": [1.0], "z": [2.0]}, {}) for n in ("a", "b", "c")])
    for record in bench.store.runs():
        packed = pack_results(record["results"])
        assert isinstance(packed, PackedResults)
        assert list(packed) == record["results"]
        assert packed[-1] == record["results"][-1]
        assert packed[:2] == tuple(record["results"][:2])


@pytest.mark.parametrize("digest", ["x" * 64, "ab", "AB" * 32, "ab " * 21 + "a"])
def test_what_is_no_digest_is_not_packed_but_still_tells_runs_apart(digest: str) -> None:
    def results(value: str) -> list[Record]:
        row = {"name": "y", "dtype": "float32", "shape": [1], "digest": value}
        return [{"input": "0", "outputs": [row], "taps": []}]

    with pytest.raises(ValueError, match=r"digest|hexadecimal"):
        pack_results(results(digest))
    assert results_key(results(digest)) == results_key(results(digest))
    assert results_key(results(digest)) != results_key(results(digest + "0"))


def test_classes_of_a_store_are_those_of_a_dictionary_of_digests(bench: StoreBuilder) -> None:
    """Runs of several backends, some of which lack a sample or a tensor, in a mixed order."""
    chance = random.Random(1)
    layers = [{"tap": t, "layer": n, "operator": "Conv"} for n, t in enumerate(("a", "b", "c"))]
    for _ in range(40):
        taps = [name for name in ("a", "b", "c") if chance.random() < 0.8]
        chance.shuffle(taps)
        samples = [name for name in ("0", "1") if chance.random() < 0.9] or ["0"]
        results = [
            bench.result(
                name, {"y": [float(chance.randrange(4))]},
                {tap: [float(chance.randrange(6))] for tap in taps},
            )
            for name in samples
        ]  # fmt: skip
        bench.write(results=results, layers=layers, taps_neutral=True)
    expected: dict[tuple[str, str], dict[str, list[str]]] = {}
    for record in bench.store.runs():
        for result in record["results"]:
            for row in (*result["outputs"], *result["taps"]):
                of = expected.setdefault((result["input"], row["name"]), {})
                of.setdefault(row["digest"], []).append(record["id"])
    rows = bench.document()["comparisons"]
    assert {(row["input"], row["tap"]): row["eqcs"] for row in rows} == {
        key: list(found.values()) for key, found in expected.items()
    }

"""Classes and remaining precision of many outputs, and classes of many runs from digests alone."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from xbackend.comparison.equivalence import Digests, SampleDigests, members
from xbackend.numerics.metrics import measure
from xbackend.numerics.partition import partition
from xbackend.store.cohort import cohorts
from xbackend.store.index import read_runs
from xbackend.store.store import Store

from .distances import FEWER, MANY, Array, blocks
from .timing import Ratio, ratio, time_interleaved

PAIRWISE, READING, SECONDS = 1 / 100, 3.0, 2.0
MANTISSA = 23
RUNS, TAPS = 10_000, 100
POOL = 8
"""Different digests of each tap."""


def many_arrays() -> list[Array]:
    """Return 75 arrays of 10^6 float32 that differ in their last three bits, all from another."""
    generator = np.random.default_rng(0)
    first = generator.standard_normal(FEWER, np.float32)
    noise = (generator.integers(0, 8, FEWER, np.int32) for _ in range(MANY))
    return [(first.view(np.int32) ^ bits).view(np.float32) for bits in noise]


def compare_classes(rounds: int) -> list[Ratio]:
    """Measure classes and bits of 75 outputs, against pairs of them and against reading them.

    In seconds of the processor, as the pairs take minutes, in which a machine is never quiet; and
    the pairs once.
    """
    arrays = many_arrays()
    tensors = blocks(*arrays)
    flat = [array.view(np.uint32) for array in arrays]
    seconds = time_interleaved(
        {
            "read": lambda: [np.bitwise_or.reduce(bits) for bits in flat],
            "both": partial(partition, tensors),
            "all": partial(measure, tensors),
        },
        rounds,
        time.process_time,
    )
    found, started = partition(tensors), time.process_time()
    classes, bits = pairwise_classes(arrays), pairwise_bits(arrays)
    theirs = time.process_time() - started
    assert [list(each) for each in found.classes] == classes
    assert found.remaining_precision == bits
    what = f"classes and remaining precision, {MANY} x 10^6 float32, all different"
    reading = "reading them once with numpy.bitwise_or.reduce"
    return [
        ratio(
            what, "pairwise, as the paper's authors", seconds["both"], [theirs] * rounds, PAIRWISE
        ),
        ratio(what, reading, seconds["both"], seconds["read"], READING),
        ratio(f"all metrics, {MANY} x 10^6 float32", reading, seconds["all"], seconds["read"]),
    ]


def pairwise_classes(arrays: Sequence[Array]) -> list[list[int]]:
    """Put arrays into classes by holding each against one of every class before it, by values."""
    found: list[list[int]] = []
    for place, array in enumerate(arrays):
        for known in found:
            if np.all(arrays[known[0]] == array):
                known.append(place)
                break
        else:
            found.append([place])
    return found


def pairwise_bits(arrays: Sequence[Array]) -> int:
    """Return the mantissa bits that all pairs share: shift until what is left is equal."""
    return min(_pair_bits(one, other) for one, other in combinations(arrays, 2))


def _pair_bits(one: Array, other: Array) -> int:
    first, second = one.view(np.int32), other.view(np.int32)
    for shift in range(MANTISSA + 1):
        if np.all(first >> shift == second >> shift):
            return MANTISSA - shift
    return 0


def compare_digests(rounds: int) -> list[Ratio]:
    """Measure reading and grouping a million digests, in seconds of the processor."""
    with tempfile.TemporaryDirectory(prefix="xbackend-benchmark-") as name:
        store = Store(Path(name))
        write_runs(store)
        started = time.process_time()
        read_runs(store)
        first = time.process_time() - started
        time.sleep(2.5)  # records this young are not kept in the index
        read_runs(store)
        expected = group_with_dict(store)
        assert group_all(store) == expected
        seconds = time_interleaved(
            {"index": partial(group_all, store), "records": partial(group_with_dict, store)},
            rounds,
            time.process_time,
        )
    what = f"classes of {TAPS} taps of {RUNS} runs from digests"
    peer = "json.loads and a dictionary"
    return [
        ratio(what, "2 seconds of the processor", seconds["index"], [SECONDS] * rounds, 1.0),
        ratio(what, peer, seconds["index"], seconds["records"]),
        ratio("making the index of these runs", peer, [first] * rounds, seconds["records"]),
    ]


def write_runs(store: Store) -> None:
    """Write records as workers do, with digests of tensors that nobody needs to read."""
    store.create()
    generator = np.random.default_rng(0)
    names = [f"block{n // 4}/conv{n % 4}" for n in range(TAPS)]
    digests = [
        [hashlib.sha256(f"{n} {k}".encode()).hexdigest() for k in range(POOL)] for n in names
    ]
    drawn = generator.integers(0, POOL, (RUNS, TAPS))
    layers = [
        {"tap": name, "layer": n, "operator": "Conv", "inputs": [names[n - 1]] if n else ["x"]}
        for n, name in enumerate(names)
    ]
    for number, kinds in enumerate(drawn.tolist()):
        tensors = [
            {"name": name, "dtype": "float32", "shape": [1, 64, 8, 8], "digest": pool[kind]}
            for name, pool, kind in zip(names, digests, kinds, strict=True)
        ]
        store.write_run({**_head(number), "layers": layers, "results": [
            {"input": "0", "seconds": 0.01, "inputs": [], "outputs": tensors[-1:],
             "taps": tensors[:-1], "taps_neutral": True},
        ]})  # fmt: skip


def _head(number: int) -> dict[str, Any]:
    return {
        "schema_version": 1, "id": f"run-{number:05d}", "created": "2030-01-01T00:00:00Z",
        "model": {"name": "net", "digest": "d" * 64, "source": "net.onnx"},
        "inputs_digest": "i" * 64, "backend": "ort", "backend_version": "1.0",
        "precision": "float32", "settings": {"threads": 1}, "platform": f"ssh:host{number}",
        "repeat": 0, "software": {"python": "3.11"},
        "hardware": {"vendor": "Maker", "flags": [f"flag{n}" for n in range(100)]},
        "status": "ok", "error": None, "seconds": 0.5, "taps_neutral": True, "artifact": None,
        "facts": {},
    }  # fmt: skip


Classes = dict[str, list[list[int]]]


def group_all(store: Store) -> Classes:
    """Return the classes of every tensor, as a comparison gets them."""
    (cohort,) = cohorts(read_runs(store), ())
    sample = Digests(cohort.runs).sample("0")
    return {name: _lists(sample, name) for name in (*sample.taps, *sample.outputs)}


def _lists(sample: SampleDigests, name: str) -> list[list[int]]:
    return [places.tolist() for places in members(sample.labels(name))]


def group_with_dict(store: Store) -> Classes:
    """Return the same by hand: every record parsed, every digest put into a dictionary."""
    found: dict[str, dict[str, list[int]]] = {}
    for number, record in enumerate(store.runs()):
        (result,) = record["results"]
        for row in (*result["taps"], *result["outputs"]):
            found.setdefault(row["name"], {}).setdefault(row["digest"], []).append(number)
    return {name: list(classes.values()) for name, classes in found.items()}

"""Sentences under tables of machines and threads against an oracle that counts by itself."""

from __future__ import annotations

import os
import random
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from xbackend.comparison.compare import compare_runs
from xbackend.comparison.machines import machine_table
from xbackend.comparison.threads import thread_tables
from xbackend.facts.fleet import curve_facts
from xbackend.reports.results import cores
from xbackend.reports.wording.fleet import curve_text
from xbackend.store.records import Run, read_run
from xbackend.store.store import Store
from xbackend.testing.random_comparisons import KINDS, Pool, write_pool
from xbackend.testing.store_builder import StoreBuilder

DRAWS = int(os.environ.get("XBACKEND_DRAWS", "2000"))
SEED = int(os.environ.get("XBACKEND_SEED", "0"))
BATCH = 200


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Pool]:
    """A store with a few tensors, and how records name them."""
    store = StoreBuilder(Path(tmp_path_factory.mktemp("pool"))).store
    return store, write_pool(store)


class Fleet:
    """Random runs of one model on several platforms with several numbers of threads."""

    def __init__(self, seed: int, pool: Pool) -> None:
        pick = random.Random(seed)
        self.variety = pick.choice([1, 2, 4])
        self.given: dict[str, int | None] = {}
        self.places: dict[str, tuple[str, int]] = {}
        self.unsafe: set[str] = set()
        self.runs: list[Run] = []
        numbers = pick.sample([1, 2, 4, 8], pick.choice([1, 2, 3]))
        platforms = [f"p{n}" for n in range(pick.choice([1, 2, 4]))]
        chances = pick.choice([(1.0, 0.0), (0.7, 0.2)])
        emulated = pick.choice([0.0, 0.0, 0.4])
        for platform in platforms:
            for threads in numbers:
                for repeat in range(pick.choice([1, 1, 2])):
                    if pick.random() < chances[0]:
                        fails = pick.random() < chances[1]
                        self._write(pick, pool, platform, threads, repeat, fails, emulated)

    def _write(
        self, pick: random.Random, pool: Pool, platform: str, threads: int, repeat: int,
        fails: bool, emulated: float,
    ) -> None:  # fmt: skip
        name = f"run-{len(self.runs):02}"
        place = pick.randrange(self.variety)
        unsafe = ["y"] if pick.random() < emulated else []
        self.given[name], self.places[name] = None if fails else place, (platform, threads)
        self.unsafe |= {name} if unsafe and not fails else set()
        outputs = [{"name": "y", **pool["scores"][place]}]
        result = {"input": "0", "inputs": [], "seconds": 0.1, "outputs": outputs, "taps": [],
                  "taps_neutral": None}  # fmt: skip
        hardware = {"vendor": "Maker", "microarchitecture": "Kind", "device": "D", "cores": 2,
                    "memory_bytes": 1, "flags": []}  # fmt: skip
        record: dict[str, Any] = {
            "schema_version": 1, "created": "2030-01-01T00:00:00Z", "artifact": None, "facts": {},
            "id": name, "model": {"name": "net", "digest": "d" * 64, "source": "net.onnx"},
            "inputs_digest": "i", "backend": "ort", "backend_version": "1",
            "precision": "float32", "settings": {"threads": threads}, "platform": platform,
            "repeat": repeat, "software": {}, "hardware": hardware, "seconds": 0.5,
            "status": "failed" if fails else "ok", "taps_neutral": None,
            "layers": [{"tap": "y", "layer": 0, "operator": "Gelu", "inputs": ["x"]}],
            "error": {"stage": "s", "symptom": "s", "message": "m"} if fails else None,
            "results": [] if fails else [result], "emulation_unsafe": unsafe,
            "emulation_reasons": {"Gelu": "r"} if unsafe else {},
        }  # fmt: skip
        self.runs.append(read_run(record))

    def cells(self) -> dict[str, dict[int, set[bytes]]]:
        """Return the bytes of each platform and number of threads that gave any."""
        found: dict[str, dict[int, set[bytes]]] = {}
        for name, (platform, threads) in self.places.items():
            row, place = found.setdefault(platform, {}), self.given[name]
            if place is not None:
                row.setdefault(threads, set()).add(KINDS["scores"][place].tobytes())
        return found


def number(pattern: str, text: str) -> int:
    match = re.search(pattern, text)
    return int(match[1]) if match else 0


def check_threads(fleet: Fleet) -> None:
    (table,) = thread_tables(fleet.runs)
    text = " ".join(cores.sentences(table))
    rows = fleet.cells()
    several = len({threads for _, threads in fleet.places.values()}) > 1
    compared = [row for row in rows.values() if len(row) > 1]
    varying = [row for row in compared if any(not a & b for a, b in combinations(row.values(), 2))]
    unsteady = any(len(of) > 1 for row in rows.values() for of in row.values())
    crowded = any(threads > 2 for _, threads in fleet.places.values())
    assert number(r"changes the class in (\d+) of", text) == (len(varying) if several else 0)
    assert number(r"changes the class in \d+ of (\d+) row", text) == (len(compared) * several)
    assert ("No row has two numbers" in text) == (several and not compared)
    assert ("repeats gave other bits" in text) == unsteady
    assert ("* more threads than cores" in text) == crowded
    assert ("? computed by an emulator" in text) == bool(fleet.unsafe)


def check_curve(fleet: Fleet, store: Store) -> None:
    comparison = compare_runs(store, fleet.runs)
    table = machine_table(comparison)
    for curve in table.curves():
        text = curve_text(curve_facts(table, curve))
        places = [each for row in fleet.cells().values() for each in row.values()]
        first = {  # a machine is a platform with its number of threads; its first run counts
            where: KINDS["scores"][place].tobytes()
            for name, where in reversed(fleet.places.items())
            if (place := fleet.given[name]) is not None
        }
        assert number(r"on (\d+) machine", text) == len(places)
        assert number(r"^(\d+) class", text) == len(set(first.values()))
        assert number(r"gave on (\d+) machine", text) == sum(len(each) > 1 for each in places)
        alone = number(r"(\d+) of them by emulated", text)
        assert alone <= len(set(first.values()))
        assert not alone or fleet.unsafe


@pytest.mark.parametrize("first", range(0, DRAWS, BATCH))
def test_sentences_on_machines_and_threads_say_what_can_be_counted(
    pool: tuple[Store, Pool], first: int
) -> None:
    for seed in range(first, min(first + BATCH, DRAWS)):
        fleet = Fleet(SEED + seed, pool[1])
        if fleet.runs:
            check_threads(fleet)
            check_curve(fleet, pool[0])

"""Runs that others made, taken into a store: the kernel's half, with importers written for it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from xbackend.comparison.compare import compare
from xbackend.comparison.machines import CHRONOLOGY, sort_key
from xbackend.exchange.importing import ImportResult, import_runs
from xbackend.plugins.importer import ImportedRun, ImportedSample, ImportIssue
from xbackend.store.store import Store
from xbackend.worker.machine import fingerprint
from xbackend.worker.tensor import from_numpy

PLUGIN = '''
"""An importer of text files: one run a line, `platform value`."""
from pathlib import Path
import numpy as np
from xbackend.plugins.importer import ImportedRun, ImporterSpec, ImportIssue, ImportedSample
from xbackend.worker.tensor import from_numpy

SPEC = ImporterSpec("lines", "a text file, one run a line", "lines_for_tests:read")
CRASHES = ImporterSpec("crashes", "nothing", "lines_for_tests:crash")
WRONG = "a text"

def crash(path):
    raise KeyError("no such column")
    yield

def read(path):
    for line in Path(path).read_text().splitlines():
        platform, _, value = line.partition(" ")
        try:
            outputs = {"y": from_numpy(np.array([float(value)], np.float32))}
        except ValueError:
            yield ImportIssue(f"{line}: not a number.")
            continue
        yield ImportedRun("net", "me", "x", "other", None, "float32", platform,
                         (ImportedSample("0", outputs),))
'''
POINTS = """[xbackend.importers]
lines = lines_for_tests:SPEC
crashes = lines_for_tests:CRASHES
wrong = lines_for_tests:WRONG
gone = a_package_that_nobody_has:SPEC
"""


def run(value: float = 1.0, platform: str = "place:one", **more) -> ImportedRun:
    """A run with one output of one number."""
    keys = {
        "model": "net",
        "source": "somewhere",
        "inputs": "all",
        "backend": "tf",
        "backend_version": "2.5.0",
        "precision": "float32",
        "samples": (ImportedSample("0", {"y": from_numpy(np.array([[value]], np.float32))}),),
    }
    return ImportedRun(platform=platform, **{**keys, **more})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.create()
    return made


def test_a_run_of_others_has_the_keys_of_ones_own(store: Store) -> None:
    import_runs(store, "lines", [run(hardware={"vendor": "AMD", "cores": 4}, facts={"page": 3})])
    (record,) = store.runs()
    assert record["schema_version"] == 1
    assert record["model"]["name"] == "net"
    assert record["status"] == "ok"
    assert record["error"] is None
    assert (record["backend"], record["backend_version"]) == ("tf", "2.5.0")
    assert (record["platform"], record["repeat"]) == ("place:one", 0)
    assert record["hardware"] == {"vendor": "AMD", "cores": 4}
    assert record["facts"] == {"imported": "lines", "page": 3}
    (result,) = record["results"]
    assert result["taps"] == []
    (output,) = result["outputs"]
    assert (output["name"], output["dtype"], output["shape"]) == ("y", "float32", [1, 1])
    assert store.read_object(output["digest"]) == b"\x00\x00\x80\x3f"


def test_importing_twice_adds_nothing_and_changes_nothing(store: Store) -> None:
    found = [run(1.0), run(2.0), ImportIssue("The third is not sound.")]
    assert import_runs(store, "lines", found) == ImportResult(2, 0, 1)
    before = {path: path.read_bytes() for path in store.run_files()}
    assert import_runs(store, "lines", found) == ImportResult(0, 2, 1)
    assert {path: path.read_bytes() for path in store.run_files()} == before


def test_a_run_that_is_there_twice_counts_once(store: Store) -> None:
    assert import_runs(store, "lines", [run(), run()]) == ImportResult(1, 0, 0)


def test_runs_that_differ_in_anything_are_two(store: Store) -> None:
    changed = [run(), run(2.0), run(platform="p"), run(repeat=1), run(facts={"file": "a"})]
    assert import_runs(store, "lines", changed).added == 5


def test_only_runs_of_one_model_one_precision_and_one_set_of_inputs_are_compared(
    store: Store,
) -> None:
    others = [run(model="other"), run(inputs="others"), run(source="elsewhere")]
    import_runs(store, "lines", [run(), run(platform="place:two"), *others])
    samples = compare(store).samples
    assert sorted(sum(map(len, sample.eqcs)) for sample in samples) == [1, 1, 1, 2]


def test_classes_are_numbered_by_vendor_then_architecture_then_cores(store: Store) -> None:
    machines = [
        ("Intel", "Haswell", 2), ("Intel", "Sandy Bridge", 64), ("AMD", "Zen 2", 16),
        ("AMD", "Zen 2", 4), ("NVIDIA", "Volta", None), ("Intel", "Skylake", 4),
        ("AMD", "Zen 3", 2),
    ]  # fmt: skip
    runs = [
        run(float(place), hardware={"vendor": vendor, "microarchitecture": name, "cores": cores})
        for place, (vendor, name, cores) in enumerate(machines)
    ]
    import_runs(store, "lines", runs)
    (sample,) = compare(store).samples
    rows = {each["id"]: each["hardware"] for each in store.runs()}
    told = [(rows[name]["vendor"], rows[name]["cores"]) for (name,) in sample.eqcs]
    assert told == [
        ("AMD", 4), ("AMD", 16), ("AMD", 2), ("Intel", 64), ("Intel", 2), ("Intel", 4),
        ("NVIDIA", None),
    ]  # fmt: skip


def test_every_microarchitecture_of_intel_and_amd_has_its_place_in_time() -> None:
    named = {*fingerprint.INTEL_6, *(name for *_, name in fingerprint.LATER_STEPPINGS)}
    families = [(0x15, model) for model in (0x01, 0x02, 0x30, 0x60)]
    families += [(0x17, 0x01), (0x17, 0x31), (0x19, 0x01), (0x19, 0x11), (0x1A, 0x02)]
    named |= {fingerprint._amd(*each, ("fma4",)) for each in families}
    assert named - set(CHRONOLOGY) == set()
    assert (
        sort_key({"vendor": "Intel", "microarchitecture": "Skylake without AVX-512"})[1]
        == (sort_key({"vendor": "Intel", "microarchitecture": "Skylake"})[1])
    )
    assert sort_key({})[1] > sort_key({"microarchitecture": "Neoverse V2"})[1]


def test_names_that_could_leave_the_store_do_not(store: Store, tmp_path: Path) -> None:
    import_runs(store, "lines", [run(platform="../../up", model="/etc/passwd\n" + "x" * 400)])
    (path,) = store.run_files()
    assert path.parent == store.folder / "runs"
    assert len(path.name) < 200
    assert [each.name for each in tmp_path.iterdir()] == ["store"]


@pytest.fixture
def lines(xbackend, environment: dict[str, str], tmp_path: Path):
    """Import with a stranger's package installed beside the fakes."""
    folder = tmp_path / "installed"
    info = folder / "lines_for_tests-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "lines_for_tests.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lines-for-tests\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    path = f"{environment['PYTHONPATH']}:{folder}"

    def call(*arguments: object):
        return xbackend(*arguments, env={"PYTHONPATH": path})

    return call


def test_a_strangers_format_is_imported_and_compared(lines, tmp_path: Path) -> None:
    (tmp_path / "runs.txt").write_text("a 1.5\nb 1.5\nc 2\nnonsense\x1b[31m\n")
    done = lines("import", "lines", "runs.txt", "--json")
    assert done.status == 0, done
    assert json.loads(done.out) == {"schema_version": 1, "added": 3, "known": 0, "refusals": 1}
    assert done.sentence == "xbackend: nonsense\\x1b[31m: not a number."
    document = json.loads(lines("compare", "--format", "json").out)
    assert [len(ids) for ids in document["comparisons"][0]["eqcs"]] == [2, 1]
    assert "3 were there already" in lines("import", "lines", "runs.txt").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("unheard", "x"), "There is no importer 'unheard'. Known importers: crashes, gone, lines"),
        (("lines", "absent.txt"), "There is nothing at absent.txt."),
        (("lines", "empty.txt"), "Nothing in empty.txt could be imported as 'lines'."),
        (("wrong", "empty.txt"), "importer 'wrong' is not an ImporterSpec"),
        (("gone", "empty.txt"), "The plugin 'gone'"),
    ],
)
def test_what_cannot_be_imported_is_told_in_one_sentence(lines, tmp_path, words, said) -> None:
    (tmp_path / "empty.txt").write_text("")
    done = lines("import", *words)
    assert (done.status, done.out) == (2, "")
    assert said in done.sentence


def test_a_strangers_importer_that_crashes_is_named(lines, tmp_path: Path) -> None:
    done = lines("import", "crashes", tmp_path)
    assert (done.status, done.out) == (3, "")
    assert "The importer 'crashes' failed" in done.sentence
    assert "KeyError: 'no such column'" in done.sentence

"""Classes over platforms and numbers of threads: table, JSON and plot, from runs made by hand."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from xbackend.commands.main import main
from xbackend.comparison.threads import ThreadTable, thread_tables
from xbackend.errors import UsageError
from xbackend.facts.fleet import thread_facts
from xbackend.reports.results import cores
from xbackend.store.query import Query, select
from xbackend.testing.store_builder import StoreBuilder

Run = Callable[..., str]
ONE, TWO, THREE = [1.0, 2.0], [1.0, 2.5], [1.0, 3.0]


@pytest.fixture
def run(bench: StoreBuilder) -> Run:
    """Write a run: platform, number of threads, outputs."""

    def write(platform: str, threads: int, values: list[float] | None, **more: Any) -> str:
        outputs = None if values is None else {"y": values}
        hardware = {"device": "A processor", "cores": 2, "flags": []}
        settings = {"threads": threads, **more.pop("settings", {})}
        keys = {"platform": platform, "settings": settings, "hardware": hardware, **more}
        return bench.run(outputs, **keys)

    return write


@pytest.fixture
def read(bench: StoreBuilder) -> Callable[..., list[ThreadTable]]:
    """Read the tables of the bench's store."""
    return lambda tap=None: thread_tables(select(bench.store, Query()), tap)


def _cells(table: ThreadTable) -> list[list[tuple[int, ...] | None]]:
    return [
        [cell.classes if (cell := row.cell(n)) else None for n in table.threads]
        for row in table.rows
    ]


def test_classes_are_numbered_as_they_first_appear_over_all_platforms(
    run: Run, read: Callable[..., list[ThreadTable]]
) -> None:
    for platform, threads, values in [
        ("native", 4, ONE),
        ("native", 1, TWO),
        ("qemu:Haswell", 1, TWO),
        ("qemu:Haswell", 4, THREE),
        ("cores:1", 2, ONE),
    ]:
        run(platform, threads, values)
    (table,) = read()
    assert table.threads == (1, 2, 4)
    assert [row.platform for row in table.rows] == ["native", "qemu:Haswell", "cores:1"]
    assert _cells(table) == [[(2,), None, (1,)], [(2,), None, (3,)], [None, (1,), None]]
    assert table.classes == (("run-0", "run-4"), ("run-1", "run-2"), ("run-3",))
    assert thread_facts(table).varying == 2


def test_each_model_and_precision_has_a_table_of_its_own(
    run: Run, read: Callable[..., list[ThreadTable]]
) -> None:
    run("native", 1, ONE)
    run("native", 1, TWO, precision="float16")
    run("native", 1, TWO, model={"name": "other", "digest": "e" * 64, "source": "o"})
    run("native", 1, TWO, inputs_digest="j" * 64)
    tables = read()
    assert [(t.group["model"], t.group["precision"]) for t in tables] == [
        ("net", "float32"),
        ("net", "float16"),
        ("other", "float32"),
        ("net", "float32"),
    ]
    assert all(_cells(table) == [[(1,)]] for table in tables)


def test_what_converters_were_told_makes_a_table_of_its_own(
    bench: StoreBuilder, read: Callable[..., list[ThreadTable]]
) -> None:
    bench.run({"y": ONE}, precision="int8")
    bench.run({"y": TWO}, precision="int8", conversion="onnx_to_int8.weight=uint8")
    plain, told = read()
    assert (len(plain.classes), len(told.classes)) == (1, 1)
    assert "int8, onnx_to_int8.weight=uint8: classes" in cores.table_text(told)
    assert "int8: classes" in cores.table_text(plain)


def test_backends_versions_and_settings_are_rows_of_one_table(
    run: Run, read: Callable[..., list[ThreadTable]]
) -> None:
    run("native", 1, ONE)
    run("native", 1, ONE, backend_version="2.0")
    run("native", 1, TWO, backend="tflite", settings={"delegate": "none", "runtime": "litert"})
    run("native", 1, ONE, backend="tflite", settings={"delegate": "xnnpack", "runtime": "litert"})
    (table,) = read()
    rows = [(row.backend, row.version, row.settings) for row in table.rows]
    assert rows == [
        ("ort", "1.0", {}),
        ("ort", "2.0", {}),
        ("tflite", "1.0", {"delegate": "none"}),
        ("tflite", "1.0", {"delegate": "xnnpack"}),
    ]
    assert _cells(table) == [[(1,)], [(1,)], [(2,)], [(1,)]]
    assert "A processor" not in cores.table_text(table)


def test_the_same_platform_of_two_machines_is_two_rows(
    run: Run, read: Callable[..., list[ThreadTable]], bench: StoreBuilder
) -> None:
    run("native", 1, ONE)
    run("native", 1, TWO, hardware={"device": "Another", "cores": 8, "flags": []})
    (table,) = read()
    assert [(row.device, row.cores) for row in table.rows] == [("A processor", 2), ("Another", 8)]
    assert "native (Another)" in cores.table_text(table)


def test_more_threads_than_cores_are_marked(
    run: Run, read: Callable[..., list[ThreadTable]]
) -> None:
    for threads in (1, 2, 4):
        run("native", threads, ONE)
    (table,) = read()
    assert [cell.oversubscribed for cell in table.rows[0].cells] == [False, False, True]
    text = cores.table_text(table)
    assert text.splitlines()[4].split()[-3:] == ["1", "1", "1*"]
    assert "more threads than cores" in text


def test_repeats_with_other_bits_share_a_cell_and_are_called_not_deterministic(
    run: Run, read: Callable[..., list[ThreadTable]]
) -> None:
    run("native", 1, ONE)
    run("native", 1, TWO, repeat=1)
    (table,) = read()
    assert _cells(table) == [[(1, 2)]]
    assert "not deterministic" in cores.table_text(table)


def test_a_failed_run_shows_its_symptom_and_has_no_class(
    run: Run, read: Callable[..., list[ThreadTable]]
) -> None:
    run("native", 1, ONE)
    error = {"stage": "import", "symptom": "SIGILL", "message": "It died."}
    run("qemu:Nehalem", 1, None, status="failed", error=error)
    run("qemu:Conroe", 1, None, status="skipped", error=error)
    (table,) = read()
    assert [row.platform for row in table.rows] == ["native", "qemu:Nehalem"]
    assert table.rows[1].cells[0].symptoms == ("SIGILL",)
    assert "SIGILL" in cores.table_text(table)
    assert table.to_dict()["eqcs"] == [["run-0"]]


def test_a_tap_is_classed_in_place_of_the_outputs(
    bench: StoreBuilder, read: Callable[..., list[ThreadTable]]
) -> None:
    for threads, tap in ((1, ONE), (2, TWO), (4, None)):
        taps = {} if tap is None else {"conv": tap}
        bench.run({"y": THREE}, taps, settings={"threads": threads})
    (outputs,), (conv,) = read(), read("conv")
    assert _cells(outputs) == [[(1,), (1,), (1,)]]
    assert _cells(conv) == [[(1,), (2,), ()]]
    with pytest.raises(UsageError, match="xbackend run --taps 'pool'"):
        read("pool")


def test_what_an_emulator_may_compute_unlike_a_processor_is_marked(
    bench: StoreBuilder, read: Callable[..., list[ThreadTable]]
) -> None:
    bench.run({"y": ONE}, {"conv": ONE})
    bench.run({"y": TWO}, {"conv": TWO}, platform="qemu:Haswell", emulation_unsafe=["relu", "y"])
    (outputs,), (conv,) = read(), read("conv")
    assert [row.cells[0].unsafe for row in outputs.rows] == [False, True]
    assert [row.cells[0].unsafe for row in conv.rows] == [False, False]
    assert "2?" in cores.table_text(outputs).split()
    assert "perhaps unlike a real processor" in cores.table_text(outputs)
    assert "?" not in cores.table_text(conv)


def test_json_holds_every_cell_with_its_runs(
    run: Run, bench: StoreBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    run("native", 1, ONE)
    run("native", 4, TWO)
    assert main(["cores", "--store", str(bench.store.folder), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    (table,) = document["tables"]
    assert (table["eqc_count"], table["threads"], table["tap"]) == (2, [1, 4], None)
    (row,) = table["rows"]
    assert (row["platform"], row["backend"], row["version"], row["cores"]) == (
        "native", "ort", "1.0", 2,
    )  # fmt: skip
    assert row["cells"][1] == {
        "threads": 4,
        "classes": [2],
        "runs": ["run-1"],
        "symptoms": [],
        "oversubscribed": True,
        "unsafe": False,
    }


@pytest.mark.parametrize("name", ["figure.jpg", "figure"])
def test_a_plot_of_an_unknown_format_is_refused(run: Run, bench: StoreBuilder, name: str) -> None:
    run("native", 1, ONE)
    assert main(["cores", "--store", str(bench.store.folder), "--output", name]) == 2
    assert not Path(name).exists()


def test_a_plot_without_matplotlib_says_what_to_install(
    run: Run,
    bench: StoreBuilder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run("native", 1, ONE)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    output = tmp_path / "figure.svg"
    assert main(["cores", "--store", str(bench.store.folder), "--output", str(output)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "xbackend: A plot needs matplotlib. Install it with: pip install 'xbackend[plot]'\n"
    )


@pytest.fixture
def drawn(run: Run, bench: StoreBuilder) -> Callable[[Path], Path]:
    """Draw a store with a class for each processor, one failure and a run that is missing."""
    pytest.importorskip("matplotlib")
    run("native", 1, ONE)
    run("native", 4, TWO)
    run("qemu:Haswell", 1, THREE)
    error = {"stage": "import", "symptom": "SIGILL", "message": "It died."}
    run("qemu:<Nehalem>", 1, None, status="failed", error=error)

    def draw(path: Path) -> Path:
        assert main(["cores", "--store", str(bench.store.folder), "--output", str(path)]) == 0
        return path

    return draw


def test_a_plot_has_a_cell_for_each_platform_and_number_of_threads(
    drawn: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    tree = ElementTree.parse(drawn(tmp_path / "figure.svg"))
    words = [word for each in tree.iter() if (word := (each.text or "").strip())]
    texts = [word for word in words if word not in ("image/svg+xml",)]
    for text in ("native", "qemu:Haswell", "qemu:<Nehalem>", "SIGILL", "1", "2*", "3", "–"):
        assert text in texts, text
    assert any("net, float32: 3 classes" in text for text in texts)
    assert any("more threads than cores" in text for text in texts)


def test_the_same_store_gives_the_same_plot(drawn: Callable[[Path], Path], tmp_path: Path) -> None:
    first, second = (drawn(tmp_path / f"{name}.svg").read_bytes() for name in "ab")
    assert first == second


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG\r\n"), ("pdf", b"%PDF-")])
def test_a_plot_can_be_a_png_or_a_pdf(
    drawn: Callable[[Path], Path], tmp_path: Path, suffix: str, magic: bytes
) -> None:
    assert drawn(tmp_path / f"figure.{suffix}").read_bytes().startswith(magic)


def test_a_plot_that_cannot_be_written_is_one_sentence(
    run: Run, bench: StoreBuilder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    run("native", 1, ONE)
    output = tmp_path / "missing" / "figure.svg"
    assert main(["cores", "--store", str(bench.store.folder), "--output", str(output)]) == 2
    assert "No such file or directory" in capsys.readouterr().err

"""Plots of comparisons: what is in them, that they repeat, and how a wrong order is refused."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from xbackend.commands.main import main
from xbackend.testing.store_builder import StoreBuilder

DRAWN = ("activations", "cumulative", "dendrogram", "layers")


@pytest.fixture
def filled(bench: StoreBuilder) -> StoreBuilder:
    """Three machines in two classes, with names that a plot could take for formulas."""
    places = (("a$x_1$", "Skylake", 1.0), ("b$\\frac{$", "Haswell", 1.0), ("c", "Ice Lake", 1.5))
    for place, name, value in places:
        told = {"vendor": "Intel", "microarchitecture": name, "cores": 4, "memory_bytes": None}
        bench.run({"y": [value]}, platform=place, hardware={**told, "flags": []})
    return bench


def draw(bench: StoreBuilder, name: str, path: Path) -> int:
    words = ["compare", "--store", str(bench.store.folder), "--format", name]
    return main([*words, "--output", str(path)])


def texts(path: Path) -> list[str]:
    """Return the texts of an SVG file, which matplotlib keeps as comments beside their outlines."""
    return re.findall(r"<!-- (.*?) -->", path.read_text(encoding="utf-8"))


def test_the_curve_has_its_machines_and_what_it_counts(
    filled: StoreBuilder, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "figure.svg"
    assert draw(filled, "cumulative", path) == 0
    shown = texts(path)
    for place, name in (("a$x_1$", "Skylake"), ("b$\\frac{$", "Haswell"), ("c", "Ice Lake")):
        assert f"Intel {name}, 4 cores, {place}" in shown
    assert "net, float32, input 0" in shown
    assert "classes so far" in shown


def test_the_tree_has_its_classes_and_their_platforms(filled: StoreBuilder, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "figure.svg"
    assert draw(filled, "dendrogram", path) == 0
    shown = texts(path)
    assert "1: ort b$\\frac{$, a$x_1$" in shown
    assert "2: ort c" in shown
    assert "net, float32, input 0: 2 classes" in shown
    assert "mantissa bits shared" in shown


@pytest.mark.parametrize("name", DRAWN)
def test_the_same_store_gives_the_same_plot(
    filled: StoreBuilder, tmp_path: Path, name: str
) -> None:
    pytest.importorskip("matplotlib")
    one, two = tmp_path / "one.svg", tmp_path / "two.svg"
    assert [draw(filled, name, path) for path in (one, two)] == [0, 0]
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize(("suffix", "magic"), [("PNG", b"\x89PNG\r\n"), ("pdf", b"%PDF-")])
def test_a_plot_can_be_a_png_or_a_pdf(
    filled: StoreBuilder, tmp_path: Path, name: str, suffix: str, magic: bytes
) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"figure.{suffix}"
    assert draw(filled, name, path) == 0
    assert path.read_bytes().startswith(magic)


def test_a_text_file_gets_the_text(filled: StoreBuilder, tmp_path: Path) -> None:
    path = tmp_path / "figure.txt"
    assert draw(filled, "dendrogram", path) == 0
    assert "class 2: ort c" in path.read_text()


def test_a_report_that_cannot_be_drawn_names_those_that_can(
    filled: StoreBuilder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "figure.svg"
    assert draw(filled, "markdown", path) == 2
    said = capsys.readouterr().err
    assert "The report 'markdown' cannot be drawn into" in said
    assert said.endswith("Reports that can: activations, cumulative, dendrogram, errors, layers.\n")
    assert not path.exists()


def test_a_plot_without_matplotlib_says_what_to_install(
    filled: StoreBuilder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert draw(filled, "cumulative", tmp_path / "figure.svg") == 2
    assert "pip install 'xbackend[plot]'" in capsys.readouterr().err


def test_what_cannot_be_drawn_is_told_before_anything_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    store, target = tmp_path / "store", tmp_path / "trees.svg"
    arguments = ["mitigate", "--store", str(store), "--dendrogram", str(target)]
    assert main(arguments) == 2
    assert "pip install 'xbackend[plot]'" in capsys.readouterr().err
    assert not store.exists()


def test_nothing_to_draw_is_one_sentence(
    bench: StoreBuilder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    bench.run({"y": [1.0]})
    assert draw(bench, "dendrogram", tmp_path / "figure.svg") == 2
    assert "there is no tree" in capsys.readouterr().err


def test_a_class_count_of_fewer_runs_stands_apart_from_the_line(
    bench: StoreBuilder, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    bench.run({"y": [1.0]}, {"conv": [1.0], "relu": [1.0]})
    bench.run({"y": [2.0]}, {"relu": [2.0]}, backend="torch")
    path = tmp_path / "layers.svg"
    assert draw(bench, "layers", path) == 0
    assert "of the runs that recorded it" in texts(path)


def test_lone_runs_have_no_panel(
    bench: StoreBuilder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    bench.run({"y": [1.0]}, {"conv": [1.0]})
    assert draw(bench, "layers", tmp_path / "layers.svg") == 2
    assert "No two runs gave outputs of one model" in capsys.readouterr().err


def test_leaves_tell_versions_apart_where_they_differ(bench: StoreBuilder, tmp_path: Path) -> None:
    for version, value in (("1.0", 1.0), ("2.0", 1.5)):
        bench.run({"y": [value]}, backend_version=version)
    path = tmp_path / "tree.txt"
    assert draw(bench, "dendrogram", path) == 0
    assert "class 1: ort 1.0 native" in path.read_text(encoding="utf-8")
    assert "class 2: ort 2.0 native" in path.read_text(encoding="utf-8")

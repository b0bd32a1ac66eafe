"""The page for a browser, on runs that are written by hand; opened in a browser in tests/report."""

from __future__ import annotations

import base64
import hashlib
import inspect
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xbackend as xb
from xbackend.commands.main import main
from xbackend.comparison.summary import summaries
from xbackend.errors import UsageError
from xbackend.facts.explanation import Grade, explain
from xbackend.plugins import installed, registry
from xbackend.reports.explain import graded_statements
from xbackend.reports.web import grades
from xbackend.reports.web.data.matrix import Cell, Matrix, matrix_of
from xbackend.reports.web.paste import command_of, python_of
from xbackend.testing.store_builder import StoreBuilder

pytestmark = pytest.mark.skipif(
    bool(registry.missing_for("html")), reason="The extra 'report' is not installed."
)
ONE_ULP = float(np.nextafter(np.float32(0.5), np.float32(1)))
HOSTILE = "</script><script>alert('|x|')</script><img src=x onerror=alert(1)>\x1b[31m\u202e\n&amp;"
BLOCK = '<script type="application/json" id="page-data">{{"seal": {}}}</script>'
OLD = {"vendor": "Intel", "microarchitecture": "Haswell", "cores": 2, "flags": ["avx2"]}
NEW = {"vendor": "AMD", "microarchitecture": "Zen 4", "cores": 4, "flags": ["avx2", "avx512f"]}


class Page(HTMLParser):
    """Collects what a browser would see of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.blocks: dict[str, Any] = {}
        self.inside: tuple[str, dict[str, str | None]] = ("", {})
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = (tag, dict(attrs))
        self.elements.append(self.inside)

    def handle_endtag(self, tag: str) -> None:
        self.inside = ("", {})

    def handle_data(self, data: str) -> None:
        tag, given = self.inside
        if tag == "script" and given.get("type") == "application/json":
            self.blocks[str(given["id"])] = json.loads(data)
        elif tag in ("script", "style"):
            {"script": self.scripts, "style": self.styles}[tag].append(data)
        else:
            self.texts.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of all elements of a kind."""
        return [given for name, given in self.elements if name == tag]


@pytest.fixture
def split(bench: StoreBuilder) -> StoreBuilder:
    """Two machines, two backends; one run is in another class, one failed."""
    same = {"y": [0.25, 0.5]}, {"conv": [1.0, 2.0], "relu": [1.0, 2.0]}
    other = {"y": [0.25, ONE_ULP]}, {"conv": [1.0, 2.0], "relu": [1.0, 2.5]}
    bench.run(*same, platform="qemu:Haswell", hardware=OLD)
    bench.run(*same, platform="native", hardware=NEW)
    bench.run(*other, platform="native", hardware=NEW, backend="torch", backend_version="2.0")
    stopped = {"stage": "prepare", "symptom": "SIGILL", "message": "The worker died."}
    bench.run(
        None, platform="qemu:Haswell", hardware=OLD, backend="torch", backend_version=None,
        status="failed", error=stopped,
    )  # fmt: skip
    return bench


@pytest.fixture
def hostile(bench: StoreBuilder) -> StoreBuilder:
    """Names that a model could hold to do harm where they are shown."""
    layers = [{"tap": HOSTILE, "layer": 0, "operator": HOSTILE}]
    model = {"name": HOSTILE, "digest": "d" * 64, "source": HOSTILE}
    hardware = {"vendor": HOSTILE, "device": HOSTILE, "flags": [HOSTILE]}
    for value in (1.0, 2.0):
        bench.run(
            {HOSTILE: [value]}, {HOSTILE: [value]}, layers=layers, model=model,
            hardware=hardware, settings={HOSTILE: HOSTILE, "threads": 1}, versions={"x": HOSTILE},
        )  # fmt: skip
    failure = {"stage": "prepare", "symptom": HOSTILE, "message": HOSTILE}
    bench.run(None, status="failed", error=failure, model=model)
    return bench


def page_of(bench: StoreBuilder) -> Page:
    return Page(registry.report("html")(bench.compare()))


def matrix(bench: StoreBuilder) -> Matrix:
    found = bench.compare()
    return matrix_of(found, summaries(found))


def cells(found: Matrix) -> list[list[str]]:
    return [["–" if cell is None else cell.text for cell in row] for row in found.cells]


def test_names_are_text_whatever_they_hold(hostile: StoreBuilder) -> None:
    text = registry.report("html")(hostile.compare())
    page = Page(text)
    assert page.named("img") == []
    assert not [name for _, given in page.elements for name in given if name.startswith("on")]
    assert all("alert(" not in script for script in page.scripts)
    assert any("<script>alert('|x|')</script>" in shown for shown in page.texts)
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_the_policy_allows_the_pages_own_scripts_and_style_by_hash_and_nothing_else(
    split: StoreBuilder,
) -> None:
    page = page_of(split)
    (policy,) = [
        str(given["content"])
        for given in page.named("meta")
        if given.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().partition(" ")[::2] for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["base-uri"] == rules["form-action"] == "'none'"
    assert set(rules["script-src"].split()) == {_hash(text) for text in page.scripts}
    assert rules["style-src"].split() == [_hash(text) for text in page.styles]
    assert "unsafe" not in policy


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_nothing_is_loaded_from_anywhere(split: StoreBuilder) -> None:
    page = page_of(split)
    links = [
        str(value)
        for _, given in page.elements
        for name, value in given.items()
        if name in ("src", "href", "action", "data", "poster", "srcset")
    ]
    assert links
    assert all(link.startswith("#") for link in links)
    assert not [given for _, given in page.elements if "style" in given]
    assert "@import" not in "".join(page.styles)
    assert "url(" not in "".join(page.styles)


def test_every_link_within_the_page_leads_somewhere(split: StoreBuilder) -> None:
    split.run({"y": [1.0]}, precision="float64")
    page = page_of(split)
    ids = [str(given["id"]) for _, given in page.elements if "id" in given]
    assert len(ids) == len(set(ids))
    assert {str(given["href"])[1:] for given in page.named("a")} <= set(ids)


def test_each_statement_of_explain_stands_with_its_grade(split: StoreBuilder) -> None:
    page = page_of(split)
    said = [each for each in explain(split.compare()).cohorts for each in graded_statements(each)]
    shown = " ".join(" ".join(page.texts).split())
    assert said
    for each in said:
        assert " ".join(each.text.split()) in shown
        assert each.grade.value in page.texts
    assert "Outputs fall into 2 classes; first difference at layer 1 (Relu, tap 'relu')" in shown


def test_every_grade_has_a_sign_of_its_own_and_a_meaning() -> None:
    signs = [grades.MEANS[grade][0] for grade in Grade]
    assert len(set(signs)) == len(Grade)
    assert all(grades.MEANS[grade][1].endswith(".") for grade in Grade)


def test_the_matrix_has_machines_in_rows_and_backends_in_columns(split: StoreBuilder) -> None:
    found = matrix(split)
    assert [machine.platform for machine in found.machines] == ["native", "qemu:Haswell"]
    assert [(column.backend, column.version) for column in found.columns] == [
        ("ort", "1.0"), ("torch", "2.0"),
    ]  # fmt: skip
    assert cells(found) == [["1", "2"], ["1", "✕"]]
    assert [[cell is not None and cell.first for cell in row] for row in found.cells] == [
        [False, True], [True, False],
    ]  # fmt: skip
    stopped = found.cells[1][1]
    assert isinstance(stopped, Cell)
    assert stopped.meaning == "failed: SIGILL"


def test_repeats_that_contradict_one_another_share_a_cell(bench: StoreBuilder) -> None:
    for repeat, value in enumerate((1.0, 2.0, 1.0)):
        bench.run({"y": [value]}, repeat=repeat)
    found = matrix(bench)
    assert cells(found) == [["1/2"]]
    (cell,) = found.cells[0]
    assert cell is not None
    assert "not deterministic" in cell.meaning


def test_a_setting_that_the_machine_decides_makes_no_column(bench: StoreBuilder) -> None:
    for platform, isa in (("native", "avx512"), ("qemu:Haswell", "avx2")):
        for mode in ("eager", "graph"):
            settings = {"isa": isa, "mode": mode, "threads": 1}
            bench.run({"y": [1.0]}, platform=platform, settings=settings)
    assert [column.settings for column in matrix(bench).columns] == ["mode=eager", "mode=graph"]


def test_numbers_of_threads_are_columns_even_where_each_machine_has_one(
    bench: StoreBuilder,
) -> None:
    for platform, threads in (("native", 1), ("cores:4", 4)):
        bench.run({"y": [1.0]}, platform=platform, settings={"threads": threads})
    assert [column.threads for column in matrix(bench).columns] == ["1", "4"]
    assert cells(matrix(bench)) == [["–", "1"], ["1", "–"]]


def test_classes_of_the_matrix_are_those_of_the_json_report(split: StoreBuilder) -> None:
    split.run({"y": [0.25, 0.5]}, precision="float64", hardware=NEW)
    found, document = matrix(split), json.loads(registry.report("json")(split.compare()))
    numbers = {
        name: place
        for section in document["sections"]
        for place, ids in enumerate(section["eqcs"], 1)
        for name in ids
    }
    shown = {
        name: cell.classes
        for row in found.cells
        for cell in row
        if cell is not None
        for name in cell.runs
    }
    ok = [run["id"] for run in document["runs"] if run["status"] == "ok"]
    assert {name: shown[name] for name in ok} == {name: (numbers[name],) for name in ok}
    assert len(shown) == len(document["runs"])
    page = page_of(split)
    cells_shown = [e["data-class"] for e in page.named("td") if "data-class" in e]
    assert sorted(each for each in cells_shown if each) == ["1", "1", "1", "2"]


@pytest.mark.parametrize(
    ("command", "function"),
    [
        ("xbackend compare --model net --where backend=ort --isolate", "compare"),
        ("xbackend compare --model 'a b' --reference float64 --store s", "compare"),
        ("xbackend explain --model net --certify", "compare"),
        ("xbackend reduce --runs a,b", "reduce"),
        ("xbackend run net.onnx --backends ort,tf --taps layers", "run"),
        ("xbackend saturation net.onnx", "saturation"),
        ("xbackend mitigate m --backends ort --platform 'qemu:max,-fma' --threads 1,2", "mitigate"),
    ],
)
def test_python_for_a_command_fits_the_function(command: str, function: str) -> None:
    text = python_of(command)
    (call,) = re.findall(rf"xb\.{function}\((.*?)\)+$", text, re.MULTILINE)
    bound: list[dict[str, Any]] = []

    def record(**given: Any) -> None:
        bound.append(given)

    record(**_keywords(call))
    inspect.signature(getattr(xb, function)).bind(**bound[0])
    assert text.startswith("import xbackend as xb\n")


def _keywords(call: str) -> dict[str, Any]:
    """Read `key='text'` and lists as JSON does."""
    found = re.findall(r"(\w+)=('[^']*'|\[[^\]]*\]|\d+)", call)
    return {key: json.loads(value.replace("'", '"')) for key, value in found}


def test_python_for_a_command_names_what_the_command_names() -> None:
    assert python_of("xbackend mitigate m --platform 'qemu:max,-fma' --threads 1,2") == (
        "import xbackend as xb\n\nfound = xb.mitigate(model='m', platforms=['qemu:max,-fma'], "
        "threads='1,2')\nprint(found)"
    )
    assert 'print(found.render("explain"))' in python_of("xbackend explain --certify")


def test_the_command_of_a_run_names_only_settings_that_are_not_usual(bench: StoreBuilder) -> None:
    usual = registry.backend("ort").defaults()
    settings = {**usual, "optimization": "basic", "threads": 2}
    bench.run({"y": [1.0]}, settings=settings, platform="qemu:max,-fma")
    (run,) = bench.compare().runs
    assert command_of(run) == (
        "xbackend run net.onnx --backends ort --precision float32 --platform qemu:max,-fma "
        "--threads 2 --set ort.optimization=basic"
    )


def test_a_page_is_verified_by_the_store_that_it_is_of(split: StoreBuilder, tmp_path: Path) -> None:
    page = xb.report(xb.compare(store=split.store), tmp_path / "report.html")
    found = xb.verify(page, store=split.store)
    assert (found.runs, found.faults, found.notes) == (4, (), ())
    assert str(found).endswith(f"is a report of the 4 runs in {split.store.folder}.")


def test_a_page_whose_numbers_were_changed_is_found_out(
    split: StoreBuilder, tmp_path: Path
) -> None:
    page = xb.report(xb.compare(store=split.store), tmp_path / "report.html")
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("fall into 2 classes", "fall into 1 class"), encoding="utf-8")
    (fault,) = xb.verify(page, store=split.store).faults
    assert "not what the store's runs give" in fault


def test_a_page_with_a_word_more_where_times_stand_is_found_out(
    split: StoreBuilder, tmp_path: Path
) -> None:
    page = xb.report(xb.compare(store=split.store), tmp_path / "report.html")
    text = page.read_text(encoding="utf-8")
    assert "<!--took-->" in text
    page.write_text(text.replace("<!--/took-->", "run this<!--/took-->"), encoding="utf-8")
    assert len(xb.verify(page, store=split.store).faults) == 1


def test_a_page_of_another_store_names_its_runs(split: StoreBuilder, tmp_path: Path) -> None:
    page = xb.report(xb.compare(store=split.store), tmp_path / "report.html")
    other = StoreBuilder(tmp_path / "other")
    other.run({"y": [0.25, 0.5]})
    faults = xb.verify(page, store=other.store).faults
    assert faults == (
        "3 runs of the page are not in the store: 'run-1', 'run-2', 'run-3'.",
        "A run of the page is another in the store: 'run-0'.",
    )


def test_runs_that_came_later_are_told_and_no_fault(split: StoreBuilder, tmp_path: Path) -> None:
    page = xb.report(xb.compare(store=split.store), tmp_path / "report.html")
    split.run({"y": [3.0]})
    found = xb.verify(page, store=split.store)
    assert found.faults == ()
    assert found.notes == ("The store has 1 more, which the page does not show.",)


@pytest.mark.parametrize("text", ["", "<p>no</p>", BLOCK.format("3"), BLOCK.format('{"runs": 3}')])
def test_what_is_no_page_is_refused(bench: StoreBuilder, tmp_path: Path, text: str) -> None:
    bench.run({"y": [1.0]})
    page = tmp_path / "x.html"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"is no page that 'xbackend report' wrote"):
        xb.verify(page, store=bench.store)


def test_the_commands_write_and_verify(
    split: StoreBuilder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, store = str(tmp_path / "r.html"), str(split.store.folder)
    assert main(["report", "--store", store, "--output", page]) == 0
    assert capsys.readouterr().out == f"{page}\n"
    assert main(["verify", page, "--store", store, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["faults"] == []
    Path(page).write_text(Path(page).read_text(encoding="utf-8") + "x", encoding="utf-8")
    assert main(["verify", page, "--store", store]) == 1
    assert main(["report", "--store", store, "--output", str(tmp_path / "r.png")]) == 2


def test_a_page_names_no_folder_of_the_store(split: StoreBuilder) -> None:
    assert str(split.store.folder) not in registry.report("html")(split.compare())


def test_without_its_packages_the_extra_is_named(
    split: StoreBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "importable", lambda name: name != "altair")
    assert installed.importable("json")
    with pytest.raises(UsageError, match=r"needs altair\. .*pip install 'xbackend\[report\]'"):
        registry.report("html")


def test_nothing_to_compare_is_a_page_too(bench: StoreBuilder) -> None:
    stopped = {"stage": "import", "symptom": "not-installed", "message": "Install it."}
    bench.run(None, status="failed", error=stopped)
    page = page_of(bench)
    assert "No run gave an output: there is nothing to compare." in page.texts
    assert "not-installed" in page.texts

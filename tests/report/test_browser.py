"""Reports opened in a browser: what is shown, clicked, filtered, sorted and copied."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import xbackend as xb
from xbackend.plugins import registry
from xbackend.testing.store_builder import StoreBuilder

Look = Callable[..., Any]
HOSTILE = "</script><script>window.hit=1</script><img src=x onerror=window.hit=2>{{7*7}}\u202e"


@pytest.fixture(scope="module")
def real(real_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    page = tmp_path_factory.mktemp("page") / "real.html"
    return xb.report(xb.compare(store=real_store), page)


@pytest.fixture(scope="module")
def paper(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    page = tmp_path_factory.mktemp("page") / "paper.html"
    return xb.report(xb.compare(store=published), page)


def texts(browser: Any, selector: str) -> list[str]:
    """Return the text of every element that is shown."""
    script = (
        "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility())"
        ".map(e => (e.innerText ?? e.textContent).trim())"
    )
    return list(browser.execute_script(script, selector))


def click(browser: Any, selector: str) -> None:
    browser.find_element("css selector", selector).click()


def choose(browser: Any, selector: str, value: str) -> None:
    """Choose an option as a person does."""
    from selenium.webdriver.support.ui import Select

    Select(browser.find_element("css selector", selector)).select_by_visible_text(value)


def complaints(browser: Any) -> list[str]:
    """Return what the browser refused or could not run."""
    return [row["message"] for row in browser.get_log("browser") if row["level"] == "SEVERE"]


def document_of(store: Path) -> Any:
    return json.loads(registry.report("json")(xb.compare(store=store).result))


def test_the_answer_of_a_real_store_is_shown_with_its_grades(real: Path, look: Look) -> None:
    page = look(real)
    said = texts(page, "#answer-0 > ul.statements > li")
    assert said[0].startswith("recorded")
    assert "classes; first difference at layer 1 (Conv, tap 'conv1')" in said[0]
    assert any("not judged" in each for each in said)
    assert complaints(page) == []


def test_numbers_of_a_layer_are_those_of_the_json_report(
    real: Path, real_store: Path, look: Look
) -> None:
    page = look(real)
    document = document_of(real_store)
    (section, *_) = document["sections"]
    rows = [
        each
        for each in document["comparisons"]
        if each["group"] == section["group"] and each["input"] == "hesitant"
    ]
    choose(page, "#sample", "hesitant")
    click(page, "#layers-details summary")
    shown = page.execute_script(
        "return [...document.querySelectorAll('#layers-table tbody tr')].map("
        "row => [...row.cells].map(cell => cell.textContent))"
    )
    assert [row[1] for row in shown] == [each["tap"] for each in rows]
    assert [row[4].rstrip("†*") for row in shown] == [str(each["eqc_count"]) for each in rows]
    assert [row[7] for row in shown] == [str(each["remaining_precision"]) for each in rows]
    small = [(row, each) for row, each in zip(shown, rows, strict=True) if each["max_ulp"] < 1e6]
    assert [row[8] for row, _ in small] == [str(each["max_ulp"]) for _, each in small]
    runs = [sum(map(len, each["eqcs"])) for each in rows]
    assert [row[3] for row in shown] == [str(count) for count in runs]


def test_a_click_on_a_layer_of_the_river_shows_its_classes(
    real: Path, real_store: Path, look: Look
) -> None:
    page = look(real)
    where = page.execute_script(
        "const names = [...document.querySelectorAll('#river-chart svg text')]"
        ".filter(e => e.textContent === 'dense2');"
        "document.querySelector('#river-chart').scrollIntoView();"
        "const box = document.querySelector('#river-chart svg').getBoundingClientRect();"
        "const at = names[0].getBoundingClientRect();"
        "return [at.right, box.top + 60];"
    )
    from selenium.webdriver.common.action_chains import ActionChains

    chain = ActionChains(page)
    chain.w3c_actions.pointer_action.move_to_location(*map(int, where))
    chain.w3c_actions.pointer_action.click()
    chain.perform()
    assert texts(page, "#layer-title") == ["dense2 (layer 11, Gemm)"]
    entry = next(each for each in document_of(real_store)["comparisons"] if each["tap"] == "dense2")
    counts = [int(row.split("\t")[1]) for row in texts(page, "#layer-classes tr")]
    expected = [len(ids) for ids in entry["eqcs"]]
    assert counts[: len(expected)] == expected
    assert counts[len(expected) :] == ([len(entry["missing"])] if entry["missing"] else [])


def test_a_layer_shows_its_pairs_of_classes_as_the_json_report_has_them(
    real: Path, real_store: Path, look: Look
) -> None:
    page = look(real)
    choose(page, "#tap", "9 dense1")
    rows = page.execute_script(
        "const tables = [...document.querySelectorAll('#layer-more table')];"
        "const found = tables.find(e => e.caption.textContent.startsWith('Classes, pair'));"
        "return [...found.tBodies[0].rows].map(row => [...row.cells].map(c => c.textContent))"
    )
    report = json.loads(registry.report("json")(xb.compare(store=real_store).with_pairs().result))
    pairs = [
        each
        for each in report["pairs"]
        if (each["tap"], each["input"]) == ("dense1", "usual") and each["comparable"]
    ]
    assert [row[:4] for row in rows] == [
        [
            *map(str, each["classes"]),
            f"{each['deviating']} of {each['elements']}",
            str(each["ulp_quantiles"]["1"]),
        ]
        for each in pairs
    ]
    assert texts(page, "#places-chart svg text").count("channel") == 1
    assert "distance in ULP" in texts(page, "#histogram-chart svg text")


def test_the_tree_of_the_paper_names_backend_and_platform(paper: Path, look: Look) -> None:
    page = look(paper)
    leaves = [text for text in texts(page, "#tree-chart svg text") if ": " in text]
    assert leaves
    assert all(text.partition(": ")[2].startswith("tf 2.") for text in leaves)
    assert texts(page, "#growth-legend li")


def test_layers_are_walked_through_by_keyboard(real: Path, look: Look) -> None:
    from selenium.webdriver.common.keys import Keys

    page = look(real)
    before = texts(page, "#layer-title")
    button = page.find_element("css selector", "[data-step='1']")
    button.send_keys(Keys.ENTER)
    after = texts(page, "#layer-title")
    page.find_element("css selector", "[data-step='-1']").send_keys(Keys.SPACE)
    assert before != after
    assert texts(page, "#layer-title") == before


def test_zooming_shows_fewer_layers_and_all_of_them_again(real: Path, look: Look) -> None:
    page = look(real)
    click(page, "[data-zoom='in']")
    (status,) = texts(page, "#layers-status")
    assert "layers 5 to 12 of 15 are shown" in status
    labels = texts(page, "#river-chart svg text")
    assert "dense1" in labels
    assert "softmax" not in labels
    click(page, "[data-zoom='all']")
    assert "layers 1 to 15 of 15 are shown" in texts(page, "#layers-status")[0]


def test_another_group_is_chosen(real: Path, look: Look) -> None:
    page = look(real)
    headings = texts(page, "#answer h3")
    assert headings == ["cifar10-small, float32, 3 inputs, 20 runs"]
    choose(page, "#cohort", "B cifar10-small, int8, 3 inputs, 4 runs")
    assert texts(page, "#answer h3") == ["cifar10-small, int8, 3 inputs, 4 runs"]
    assert "same bits" in texts(page, "#answer-1 ul.statements li")[0]


def test_the_matrix_of_the_paper_is_filtered_and_sorted(
    paper: Path, published: Path, look: Look
) -> None:
    page = look(paper)
    runs = document_of(published)["runs"]
    vendors = {
        (r["platform"], r["hardware"]["device"], r["hardware"]["cores"]): r["hardware"]["vendor"]
        for r in runs
    }
    assert len(texts(page, "#matrix-table tbody tr")) == len(vendors)
    choose(page, "[data-filter='vendor']", "AMD")
    amd = sum(vendor == "AMD" for vendor in vendors.values())
    assert len(texts(page, "#matrix-table tbody tr")) == amd > 0
    assert texts(page, "#matrix-status")[0].startswith(f"{amd} of {len(vendors)} machines")
    click(page, "#filter-none")
    page.find_element("css selector", "#filter-flag").send_keys("avx512f")
    having = {
        (r["platform"], r["hardware"]["device"], r["hardware"]["cores"])
        for r in runs
        if "avx512f" in r["hardware"]["flags"]
    }
    assert len(texts(page, "#matrix-table tbody tr")) == len(having)
    click(page, "#filter-none")
    click(page, "#matrix-table [data-sort='3']")
    cores = [
        int(text) for text in texts(page, "#matrix-table tbody tr td:nth-child(4)") if text != "–"
    ]
    assert cores == sorted(cores)
    click(page, "#matrix-table [data-sort='3']")
    cores = [
        int(text) for text in texts(page, "#matrix-table tbody tr td:nth-child(4)") if text != "–"
    ]
    assert cores == sorted(cores, reverse=True)


def test_a_column_filter_hides_the_other_columns(real: Path, look: Look) -> None:
    page = look(real)
    choose(page, "[data-filter='backend']", "torch")
    heads = texts(page, "#matrix-table thead tr:last-child th.column")
    assert [head.split()[0] for head in heads] == ["torch"]
    assert len(texts(page, "#matrix-table tbody tr")) == 4


def test_a_command_is_copied(real: Path, look: Look) -> None:
    page = look(real)
    permissions = {"origin": "file://", "permissions": ["clipboardReadWrite"]}
    page.execute_cdp_cmd("Browser.grantPermissions", {"permissions": permissions["permissions"]})
    page.execute_script("navigator.clipboard.writeText = text => { window.copied = text; }")
    button = page.find_element("css selector", "#answer-0 details[open] [data-copy]")
    button.click()
    time.sleep(0.2)
    assert button.text == "copied"
    copied = page.execute_script("return window.copied")
    assert copied.startswith("xbackend compare --model cifar10-small")
    assert copied in texts(page, "#answer-0 details[open] pre")


@pytest.mark.parametrize("width", [400, 768, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_the_window(
    real: Path, paper: Path, look: Look, width: int, scheme: str
) -> None:
    for each in (real, paper):
        page = look(each, width, scheme)
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
        assert complaints(page) == []


def test_dark_is_dark_and_print_is_light(real: Path, look: Look) -> None:
    script = "return getComputedStyle(document.body).backgroundColor"
    assert look(real, scheme="dark").execute_script(script) == "rgb(13, 17, 23)"
    assert look(real, scheme="dark", media="print").execute_script(script) == "rgb(255, 255, 255)"


def test_everything_that_can_be_used_has_a_name(real: Path, look: Look) -> None:
    """By the browser's own accessibility tree."""
    page = look(real)
    nodes = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    wanted = {"button", "combobox", "textbox", "searchbox", "spinbutton", "link", "image", "table"}
    unnamed = [
        node["role"]["value"]
        for node in nodes
        if not node.get("ignored")
        and node.get("role", {}).get("value") in wanted - {"table"}
        and not node.get("name", {}).get("value")
    ]
    assert unnamed == []
    assert any(node.get("role", {}).get("value") == "table" for node in nodes)


def test_hostile_names_run_nothing(bench: StoreBuilder, look: Look, tmp_path: Path) -> None:
    layers = [{"tap": HOSTILE, "layer": 0, "operator": HOSTILE}]
    model = {"name": HOSTILE, "digest": "d" * 64, "source": HOSTILE}
    hardware = {"vendor": HOSTILE, "device": HOSTILE, "flags": [HOSTILE]}
    for value in (1.0, 2.0):
        bench.run(
            {HOSTILE: [value]}, {HOSTILE: [value]}, layers=layers, model=model, hardware=hardware,
            platform=HOSTILE, facts={"placement": {HOSTILE[:-1]: HOSTILE[:-1]}},
        )  # fmt: skip
    bench.run({"y": [1.0]}, precision="float64", model=model)
    path = xb.report(xb.compare(store=bench.store), tmp_path / "hostile.html")
    page = look(path)
    for selector in ("[data-step='1']", "[data-zoom='in']", "#filter-none"):
        click(page, selector)
    assert page.execute_script("return window.hit") is None
    assert page.execute_script("return document.images.length") == 0
    (title,) = texts(page, "#layer-title")
    assert "<script>window.hit=1</script>" in title
    assert complaints(page) == []


def test_the_policy_stops_a_script_that_was_slipped_in(
    bench: StoreBuilder, look: Look, tmp_path: Path
) -> None:
    bench.run({"y": [1.0]})
    path = xb.report(xb.compare(store=bench.store), tmp_path / "page.html")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("<main>", "<main><script>window.hit=1</script>"), encoding="utf-8")
    page = look(path)
    assert page.execute_script("return window.hit") is None
    assert any("Content Security Policy" in each for each in complaints(page))


def test_a_large_store_opens_in_three_seconds_within_five_megabytes(
    bench: StoreBuilder, look: Look, tmp_path: Path
) -> None:
    """75 platforms by 226 layers, whose classes part and join all the way."""
    layers = [{"tap": f"block{n // 9}/node_{n}", "layer": n, "operator": "Conv",
               "inputs": [f"block{(n - 1) // 9}/node_{n - 1}"] if n else []}
              for n in range(225)]  # fmt: skip
    layers.append({"tap": "y", "layer": 225, "operator": "Softmax", "inputs": ["block24/node_224"]})
    for platform in range(75):
        taps = {
            row["tap"]: [float((platform * (n // 30)) % (1 + n // 20)), 1.0]
            for n, row in enumerate(layers[:-1])
        }
        bench.run(
            {"y": [float(platform % 7), 1.0]}, taps, layers=layers, platform=f"host{platform}"
        )
    path = xb.report(xb.compare(store=bench.store), tmp_path / "large.html")
    assert path.stat().st_size < 5_000_000
    began = time.monotonic()
    page = look(path)
    took = time.monotonic() - began
    assert len(texts(page, "#matrix-table tbody tr")) == 75
    assert took < 3.0

"""An answer at 80 columns: few rows of many, names that stay apart, tolerances that hold."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.summary import summaries
from xbackend.facts.answer.notable import Fold, NotableLayer, Reason, notable_layers
from xbackend.facts.answer.tolerance import tolerance
from xbackend.reports import terminal
from xbackend.reports.wording.names import short_names
from xbackend.testing.store_builder import StoreBuilder

DRAWS = int(os.environ.get("XBACKEND_DRAWS", "2000")) // 20
PLATFORMS = ["native", "qemu:Haswell", *(f"ssh:machine-{n}" for n in range(10))]
BACKENDS = ("tf", "ort", "torch", "tflite", "fixed")


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def section(bench: StoreBuilder, complete: bool = False) -> list[str]:
    return terminal.render(bench.compare(), complete=complete).splitlines()


def rows_of(lines: list[str], head: str) -> list[str]:
    """Return the rows of the table whose header begins so."""
    start = next(n for n, line in enumerate(lines) if line.lstrip().startswith(head)) + 2
    end = next(n for n in range(start, len(lines)) if not lines[n].strip() or lines[n][0] == "…")
    return lines[start:end]


@pytest.fixture
def fleet(bench: StoreBuilder) -> StoreBuilder:
    """Five backends on twelve platforms, tensors with names of 60 characters, two classes each."""
    layers = [
        {"tap": f"/backbone/backbone.stage{n // 10}/block.{n % 10}/convolution_{n}/Conv_output_0",
         "layer": n, "operator": "Conv", "inputs": [f"x{n}"]}
        for n in range(30)
    ]  # fmt: skip
    name = "a_rather_long_name_of_an_output_that_has_sixty_characters_123"
    for place, platform in enumerate(PLATFORMS):
        for number, backend in enumerate(BACKENDS):
            value = 1.0 + number / 64 + (place >= 6) / 1024
            taps = {layer["tap"]: [value, 1.0] for layer in layers}
            bench.run({name: [value, 0.5]}, taps, platform=platform, backend=backend, layers=layers)
    return bench


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("complete", [False, True])
def test_twelve_platforms_and_five_backends_fit_into_the_terminal(
    fleet: StoreBuilder, monkeypatch: pytest.MonkeyPatch, columns: int, complete: bool
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = [line for line in section(fleet, complete) if "--store" not in line]
    assert max(map(len, lines)) <= columns


def test_sixty_rows_become_one_for_each_backend_and_class(fleet: StoreBuilder) -> None:
    lines = section(fleet)
    text = "\n".join(lines)
    assert re.search(r"tf 1\.0 ×6: native,\s+[\w:-]+\s+and", text)
    assert text.count(" ×6: ") == 10
    assert "\n" + "tf 1.0, ssh:machine-3" not in text
    assert "tf 1.0, ssh:machine-3" in "\n".join(section(fleet, complete=True))


def test_repeats_with_the_same_bits_are_one_row(bench: StoreBuilder) -> None:
    for repeat in range(5):
        bench.run({"y": [1.0, 2.0]}, repeat=repeat)
    (row,) = rows_of(section(bench), "run")
    assert row.split() == ["ort", "1.0", "×5", "1", "1"]


def resnet(bench: StoreBuilder, jump: int) -> None:
    """Write two runs of 200 layers in four parts; of the layer `jump` few bits are left."""
    names = [
        f"/layer{n // 50 + 1}/layer{n // 50 + 1}.{n % 50}/conv/Conv_output_0" for n in range(200)
    ]
    layers = [{"tap": name, "layer": n, "operator": "Conv"} for n, name in enumerate(names)]
    layers.append({"tap": "y", "layer": 200, "operator": "Gemm"})
    for run in range(2):
        far = {n: 2.0**-20 if n < jump else 2.0**-6 for n in range(200)}
        taps = {name: [1.0 + run * far[n] * (n > 0)] for n, name in enumerate(names)}
        bench.run({"y": [1.0 + run / 64]}, taps, layers=layers, backend=("ort", "torch")[run])


def test_two_hundred_layers_fold_into_the_parts_of_the_network(bench: StoreBuilder) -> None:
    resnet(bench, jump=120)
    rows = rows_of(section(bench), "layer")
    cells = [row.split() for row in rows]
    assert [row[0] for row in cells] == [
        "1",
        "2–49",
        "50–99",
        "100–119",
        "120",
        "121–149",
        "150–199",
        "200",
    ]
    assert cells[1][1:4] == ["layer1:", "48", "layers"]
    assert cells[4][1] == "layer3.20/conv"
    assert len(rows_of(section(bench, complete=True), "layer")) == 200


def test_rows_are_of_the_first_difference_the_largest_loss_and_outputs(bench: StoreBuilder) -> None:
    resnet(bench, jump=77)
    (summary,) = summaries(bench.compare())
    found = notable_layers(summary)
    shown = {each.tap.layer: each.reasons for each in found if isinstance(each, NotableLayer)}
    assert shown == {1: (Reason.FIRST,), 77: (Reason.JUMP,), 200: (Reason.OUTPUT,)}
    folded = [tap.layer for each in found if isinstance(each, Fold) for tap in each.taps]
    assert sorted([*folded, *(n for n in shown if n is not None)]) == list(range(1, 201))


def test_names_that_pytorch_exports_keep_what_tells_them_apart() -> None:
    names = [
        f"/layer{n}/layer{n}.{k}/conv{c}/Conv_output_0"
        for n in (1, 2)
        for k in (0, 1)
        for c in (1, 2)
    ]
    assert short_names(names, 14)[:2] == ["layer1.0/conv1", "layer1.0/conv2"]
    assert len(set(short_names(names, 14))) == len(names)
    assert short_names(["conv1", "relu"], 8) == ["conv1", "relu"]


def test_names_that_differ_in_one_place_stay_apart_at_any_place() -> None:
    for seed in range(500):
        pick = random.Random(seed)
        base = "".join(pick.choice("abc/._") for _ in range(60))
        places = [pick.randrange(60) for _ in range(pick.randrange(1, 6))]
        names = list(dict.fromkeys(base[:n] + pick.choice("xyz") + base[n + 1 :] for n in places))
        short = short_names(names, 14)
        assert max(map(len, short)) <= 14
        assert len(set(short)) == len(names), (names, short)


def test_sections_of_one_name_are_told_apart_by_their_files(bench: StoreBuilder) -> None:
    for number in (1, 2):
        model = {"name": "net", "digest": f"{number}" * 64, "source": f"v{number}/net.onnx"}
        bench.run({"y": [1.0]}, model=model)
    titles = [line for line in section(bench) if line.startswith("net, float32")]
    assert ["v1/net.onnx" in title for title in titles] == [True, False]
    assert ["v2/net.onnx" in title for title in titles] == [False, True]


def test_of_one_file_that_was_overwritten_the_digest_is_told(bench: StoreBuilder) -> None:
    for number in (1, 2):
        model = {"name": "net", "digest": f"{number}" * 64, "source": "net.onnx"}
        bench.run({"y": [1.0]}, model=model)
    titles = [line for line in section(bench) if line.startswith("net, float32")]
    assert ["22222222" in title for title in titles] == [False, True]


def written(bench: StoreBuilder, arrays: list[Any]) -> Comparison:
    for number, array in enumerate(arrays):
        bench.run({"y": array}, platform=f"p{number}")
    return bench.compare()


def drawn(pick: np.random.Generator) -> list[Any]:
    """Draw two to five outputs that differ a little, or much, some with zeros and infinities."""
    dtype = pick.choice([np.float32, np.float16, np.float64])
    scale, noise = 10.0 ** pick.integers(-4, 4), 10.0 ** -pick.integers(1, 8)
    base = pick.standard_normal((2, 50)) * scale
    base[:, : pick.integers(0, 20)] = 0.0
    if pick.random() < 0.2:
        base[0, -1] = np.inf
    several = [
        base * (1 + noise * pick.standard_normal(base.shape)) for _ in range(pick.integers(2, 6))
    ]
    if pick.random() < 0.5:
        several = [
            each + noise * scale * 0.01 * pick.standard_normal(base.shape) for each in several
        ]
    return [each.astype(dtype) for each in several]


def test_a_tolerance_that_is_named_holds_for_each_pair_of_runs(tmp_path: Path) -> None:
    named = 0
    for seed in range(DRAWS):
        arrays = drawn(np.random.default_rng(seed))
        bench = StoreBuilder(tmp_path / str(seed))
        (summary,) = summaries(written(bench, arrays))
        found = tolerance(summary, bench.store)
        if found is None:
            continue
        named += 1
        for one in arrays:
            for other in arrays:
                np.testing.assert_allclose(one, other, rtol=found.rtol, atol=found.atol)
    assert named > DRAWS // 4


def test_a_tolerance_is_no_larger_than_needed_by_much(bench: StoreBuilder) -> None:
    """1.001 against 1: a thousandth, with a margin of 5 % the next of 1, 2, 5 is 0.002."""
    (summary,) = summaries(written(bench, [np.float32([[1.0, 2.0]]), np.float32([[1.001, 2.0]])]))
    found = tolerance(summary, bench.store)
    assert found is not None
    assert (found.rtol, found.atol) == (0.002, 0.0)


def test_an_element_near_zero_is_given_an_absolute_tolerance_beside_a_relative_one(
    bench: StoreBuilder,
) -> None:
    """2e-9 against 1e-9 beside 1e-6 of 1: 8 times 1e-6, and what is left of 1e-9."""
    one, other = np.float64([[1.0, 1e-9]]), np.float64([[1.0 + 1e-6, 2e-9]])
    (summary,) = summaries(written(bench, [one, other]))
    found = tolerance(summary, bench.store)
    assert found is not None
    assert (found.rtol, found.atol) == (1e-05, 2e-09)


@pytest.mark.parametrize(
    "arrays",
    [
        [np.float32([[1.0]]), np.float32([[1.0]])],
        [np.float32([[1.0]]), np.float32([[np.nan]])],
        [np.float32([[1.0]]), np.float32([[np.inf]])],
        [np.int64([[1]]), np.int64([[2]])],
        [np.float32([[1.0]]), np.float32([[1.0, 2.0]])],
        [np.float32([[1.0, 2.0]]), np.float32([[1.5, 2.0]])],
        [np.float32([[1.0, 1.0001]]), np.float32([[1.0001, 1.0]])],
    ],
)
def test_no_tolerance_is_named_where_none_holds_or_none_is_needed(
    bench: StoreBuilder, arrays: list[Any]
) -> None:
    (summary,) = summaries(written(bench, arrays))
    assert tolerance(summary, bench.store) is None


def test_the_first_words_are_the_answer(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0, 2.0]})
    assert section(bench)[3].startswith("One run alone: there is nothing to compare it with.")
    bench.run({"y": [1.0, 2.0]}, backend="torch")
    assert section(bench)[3].startswith("SAME BITS. All 2 runs give the same bits")
    bench.run({"y": [1.0, 3.0]}, backend="tf")
    assert section(bench)[3].startswith("OTHER BITS; rounding or a fault is not judged.")

"""Machines in rows and samples in columns: the table, the curves and their layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from xbackend.comparison.machines import MachineCell, machine_table
from xbackend.reports import cumulative, machines
from xbackend.testing.store_builder import StoreBuilder

Run = Callable[..., None]

OLD = {"vendor": "Intel", "microarchitecture": "Sandy Bridge", "cores": 4, "device": "Intel(R) Old"}
NEW = {"vendor": "Intel", "microarchitecture": "Skylake", "cores": 4, "device": "Intel(R) New CPU"}
BIG = {**NEW, "cores": 8}
ZEN = {"vendor": "AMD", "microarchitecture": "Zen 2", "cores": 2, "device": "AMD EPYC"}

SUP = """\
vendor    architecture      cores    GiB  device     platform    A 0    A 1    B 0
--------  --------------  -------  -----  ---------  ----------  -----  -----  -----
AMD       Zen 2                 2    2.0  AMD EPYC   cloud:zen   1      1*     –
Intel     Sandy Bridge          4      –  Intel Old  home:old    2      –      1
Intel     Skylake               4      –  Intel New  home:new    1      2      2

A  net, float32, 2 inputs; classes: 2, 2
B  other, float32, 1 input; classes: 2

The numbers are classes: in one column, the same number is the same bits.
They are numbered from the top.
* not deterministic: a repeat on the same machine gave other bits
"""


@pytest.fixture
def run(bench: StoreBuilder) -> Run:
    """Write a run: what it gave by sample, where, and further keys of its record."""

    def run(place: str, hardware: dict[str, Any], given: dict[str, float], **keys: Any) -> None:
        results = [bench.result(name, {"y": [value]}, {}) for name, value in given.items()]
        full = {"memory_bytes": None, "flags": [], **hardware}
        bench.write(results=results, platform=place, hardware=full, **keys)

    return run


def cells(bench: StoreBuilder, column: int = 0) -> list[MachineCell | None]:
    return list(machine_table(bench.compare()).cells(column))


def test_rows_are_sorted_by_vendor_architecture_and_cores(bench: StoreBuilder, run: Run) -> None:
    for place, hardware in (("c", BIG), ("b", NEW), ("d", {}), ("a", OLD), ("z", ZEN)):
        run(place, hardware, {"0": 1.0})
    table = machine_table(bench.compare())
    assert [row.run.row["platform"] for row in table.rows] == ["z", "a", "b", "c", "d"]


def test_classes_are_numbered_from_the_top_in_every_column(bench: StoreBuilder, run: Run) -> None:
    run("b", NEW, {"0": 7.0, "1": 3.0})
    run("a", OLD, {"0": 8.0, "1": 3.0})
    run("z", ZEN, {"0": 7.0, "1": 4.0})
    assert cells(bench) == [
        MachineCell(1, True, True),
        MachineCell(2, True, True),
        MachineCell(1, True, False),
    ]
    assert cells(bench, 1) == [
        MachineCell(1, True, True),
        MachineCell(2, True, True),
        MachineCell(2, True, False),
    ]


def test_the_first_run_is_numbered_and_a_repeat_with_other_bits_marks_it(
    bench: StoreBuilder, run: Run
) -> None:
    run("z", ZEN, {"0": 9.0}, repeat=1)
    run("z", ZEN, {"0": 1.0}, repeat=0)
    run("a", OLD, {"0": 1.0})
    run("b", NEW, {"0": 2.0})
    assert cells(bench) == [
        MachineCell(1, False, True),
        MachineCell(1, True, False),
        MachineCell(2, True, True),
    ]


def test_repeats_with_the_same_bits_are_one_row_without_a_mark(
    bench: StoreBuilder, run: Run
) -> None:
    for repeat in range(3):
        run("z", ZEN, {"0": 1.0}, repeat=repeat)
    assert cells(bench) == [MachineCell(1, True, True)]


def test_two_processors_or_settings_on_one_platform_are_two_rows(
    bench: StoreBuilder, run: Run
) -> None:
    run("m5", NEW, {"0": 1.0})
    run("m5", {**NEW, "device": "Another"}, {"0": 1.0})
    run("m5", NEW, {"0": 1.0}, settings={"threads": 2})
    assert len(cells(bench)) == 3
    text = machines.render(bench.compare())
    assert "ort 1.0, threads=1" in text
    assert "ort 1.0, threads=2" in text


def test_curves_count_the_classes_so_far_and_samples_alike_are_one_curve(
    bench: StoreBuilder, run: Run
) -> None:
    run("z", ZEN, {"0": 1.0, "1": 1.0, "2": 1.0})
    run("a", OLD, {"0": 2.0, "1": 5.0, "2": 1.0})
    run("c", BIG, {"0": 1.0, "1": 5.0, "2": 3.0})
    run("b", NEW, {"0": 2.0, "1": 1.0})
    one, two = machine_table(bench.compare()).curves()
    assert [column.input for column in one.columns] == ["0", "1"]
    assert one.counts == (1, 2, 2, 2)
    assert [column.input for column in two.columns] == ["2"]
    assert two.counts == (1, 1, None, 2)


def test_the_report_is_the_papers_table(bench: StoreBuilder, run: Run) -> None:
    other = {"model": {"name": "other", "digest": "e" * 64, "source": "x"}}
    run("cloud:zen", {**ZEN, "memory_bytes": 2 << 30}, {"0": 1.0, "1": 1.0})
    run("cloud:zen", {**ZEN, "memory_bytes": 2 << 30}, {"0": 1.0, "1": 9.0}, repeat=1)
    run("home:new", NEW, {"0": 1.0, "1": 3.0})
    run("home:old", OLD, {"0": 2.0})
    run("home:old", OLD, {"0": 5.0}, **other)
    run("home:new", NEW, {"0": 6.0}, **other)
    assert machines.render(bench.compare()) == SUP


def test_the_report_of_curves_has_a_row_for_each_machine(bench: StoreBuilder, run: Run) -> None:
    run("home:new", NEW, {"0": 1.0, "1": 3.0})
    run("home:old", OLD, {"0": 2.0, "1": 4.0})
    text = cumulative.render(bench.compare())
    assert [line.split() for line in text.splitlines()[:4]][2:] == [
        "1 Intel Sandy Bridge, 4 cores, home:old 1".split(),
        "2 Intel Skylake, 4 cores, home:new 2".split(),
    ]
    assert "A  net, float32, input 0,1: 2 classes on 2 machines" in text


@pytest.mark.parametrize("report", [machines, cumulative])
def test_names_cannot_move_the_cursor(bench: StoreBuilder, run: Run, report: Any) -> None:
    hostile = "x\x1b[2J\n$"
    model = {"name": hostile, "digest": "e" * 64, "source": "x"}
    run(hostile, {**NEW, "device": hostile, "vendor": hostile}, {hostile: 1.0}, model=model)
    text = report.render(bench.compare())
    assert all(char.isprintable() or char == "\n" for char in text)


@pytest.mark.parametrize("report", [machines, cumulative])
def test_without_an_output_there_is_a_sentence(bench: StoreBuilder, report: Any) -> None:
    bench.run(None, status="failed", error={"stage": "run", "symptom": "x", "message": "y"})
    assert report.render(bench.compare()).startswith("No run gave outputs")


def test_a_column_far_to_the_right_has_two_letters() -> None:
    assert machines.section_letter(25) == "Z"
    assert machines.section_letter(26) == "AA"
    assert machines.section_letter(52) == "BA"

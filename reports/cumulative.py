"""The report of how the number of classes grows with the machines, as the paper's Figure 1."""

from __future__ import annotations

from tabulate import tabulate

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.machines import CumulativeCurve, MachineRow, machine_table
from xbackend.facts.fleet import curve_facts

from .machines import backend_labels, column_title, section_letters
from .wording.fleet import curve_text
from .wording.formatting import pluralize, printable, shorten

LONGEST = 60
"""Characters of a machine's name that are shown."""
LEGEND = (
    "The numbers are classes seen from the first machine down to this one.\n"
    "Machines are sorted by vendor, architecture and cores."
)
DRAWN = "To draw it: --output figure.svg, .png or .pdf."


def render(comparison: Comparison) -> str:
    """Lay out one table: a row for each machine, a column for each curve."""
    table = machine_table(comparison)
    if not table.rows:
        return "No run gave outputs, so there is no machine to count.\n"
    curves = table.curves()
    models = section_letters([curve.columns[0] for curve in curves])
    headings = [
        f"{letter} {shorten(name_inputs(curve), 12)}"
        for letter, curve in zip(models, curves, strict=True)
    ]
    names = name_machines(table.rows)
    rows = [
        [number, name, *(_text(curve.counts[number - 1]) for curve in curves)]
        for number, name in enumerate(names, 1)
    ]
    text = tabulate(
        rows,
        ["", "machine", *headings],
        disable_numparse=True,
        colalign=["right", "left", *["right"] * len(curves)],
    )
    lines = [
        f"{letter}  {name_curve(curve)}: {curve_text(curve_facts(table, curve))}"
        for letter, curve in zip(models, curves, strict=True)
    ]
    return "\n\n".join([text, "\n".join(lines), f"{LEGEND}\n{DRAWN}"]) + "\n"


def _text(value: int | None) -> str:
    return "–" if value is None else str(value)


def name_inputs(curve: CumulativeCurve) -> str:
    """Return the names of a curve's inputs: `0,1,6`."""
    return printable(",".join(column.input for column in curve.columns))


def name_curve(curve: CumulativeCurve) -> str:
    """Return what a curve is about: `cifar10_small, float32, input 0,1,6`."""
    return f"{column_title(curve.columns[0])}, input {name_inputs(curve)}"


def name_machines(rows: tuple[MachineRow, ...]) -> list[str]:
    """Return a name for each row: `Intel Haswell, 4 cores, aws:t2.xlarge`."""
    means = backend_labels(rows)
    return [_name(row, by) for row, by in zip(rows, means, strict=True)]


def _name(row: MachineRow, by: str) -> str:
    run, hardware = row.run.row, row.run.row["hardware"]
    kind = " ".join(str(hardware[key]) for key in ("vendor", "microarchitecture") if hardware[key])
    cores = hardware["cores"]
    parts = [kind, "" if cores is None else pluralize(cores, "core"), run["platform"], by]
    return shorten(printable(", ".join(part for part in parts if part)), LONGEST)

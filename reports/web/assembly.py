"""The page as a whole: its parts, its data, its scripts, and the policy that allows no others."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xbackend.comparison.comparison import Comparison
from xbackend.errors import UsageError
from xbackend.facts.explanation import CohortExplanation, Explanation, Grade, explain
from xbackend.facts.next_commands import NextCommand
from xbackend.facts.outcome import Outcome
from xbackend.store.store import store_option

from ..explain import Statement, duration_text, graded_statements
from ..html import render_fragment
from ..json import document
from ..machines import section_letter
from ..wording import sentences
from ..wording.cohort_text import notes
from ..wording.formatting import heading, name_row, name_run, pluralize, printable
from . import grades
from .bundle import LICENCES, vega
from .charts import charts
from .data.details import computed_data, details_data
from .data.frontier import frontier, removal_statements
from .data.further import cores, flags, growth, trees
from .data.layers import cohorts_data
from .data.matrix import Cell, Matrix, matrix_of
from .paste import bug_report, python_of
from .provenance import provenance
from .seal import seal

Record = dict[str, Any]
FOLDER = Path(__file__).parent
NEEDED = "A report for a browser needs {name}. Install it with: pip install 'xbackend[report]'"
PARTS = (
    ("answer", "Answer", "answer.html.j2"),
    ("layers", "Layers", "layers.html.j2"),
    ("matrix", "Who agrees", "matrix.html.j2"),
    ("further", "Distances", "further.html.j2"),
    ("runs", "What was run", "runs.html.j2"),
)
"""Id, name and template of each part, from top to bottom."""
SCRIPTS = ("report.js", "layers.js", "detail.js", "further.js", "start.js")
"""The page's own script, which is one."""
HEADS = ("platform", "vendor", "architecture", "cores", "device")
FILTERS = ("vendor", "architecture", "model", "backend", "version", "precision", "threads")
SWITCHES = 4
"""So many statements on two runs that differ in one thing stand before the others are folded."""
HUES = 8
"""Shades of classes before they begin again; the number tells them apart all the same."""


def render(comparison: Comparison) -> str:
    """Lay out a comparison as one HTML page that needs nothing else.

    Raises UsageError where a package of the extra `report` is missing.
    """
    found = explain(comparison)
    summaries = [each.summary for each in found.cohorts]
    matrix = matrix_of(comparison, summaries)
    blocks, left_out = _blocks(comparison, found, matrix)
    mitigated = frontier(comparison.mitigations)
    blocks.append(_block("tried-data", mitigated))
    scripts = [vega(), "".join(map(_asset, SCRIPTS))]
    style = _asset("report.css")
    page: str = _template().render(
        policy=policy(scripts, style),
        style=_safe(style),
        scripts=[_safe(each) for each in scripts],
        blocks=blocks,
        parts=[dict(zip(("id", "name", "template"), part, strict=True)) for part in PARTS],
        title=_title(found),
        lead=_lead(comparison, found),
        stopped=sentences.counts_sentence(found.counts),
        nothing=sentences.NOTHING_COMPARED[Outcome.NO_RUN],
        cohorts=[
            _cohort(each, at, _next(each, store_option(comparison.store)), comparison.mitigations)
            for at, each in enumerate(found.cohorts)
        ],
        grades=[grades.shown(grade) for grade in Grade],
        matrix=_matrix(matrix, found),
        ran=provenance(comparison),
        tables=_safe(render_fragment(comparison)),
        licences=LICENCES,
        flags=flags(comparison),
        cores=cores(comparison),
        left_out=left_out,
        frontier=mitigated,
    )
    return page


def _blocks(comparison: Comparison, found: Explanation, matrix: Matrix) -> tuple[list[Record], int]:
    """Return the data that scripts read, and of how many tensors details are left out."""
    summaries = [each.summary for each in found.cohorts]
    rows = {name: name_row(row) for each in summaries for row in each.rows for name in row.ids}
    names = [rows.get(run.id) or name_run(run) for run in comparison.runs]
    report = document(comparison)
    cohorts = cohorts_data(report, names)
    details, left_out = details_data(report, cohorts)
    return [
        _block(
            "page-data",
            {
                "start": _start(found),
                "seal": seal(comparison),
                "runs": names,
            },
        ),
        _block("cohort-data", cohorts),
        _block("detail-data", {"found": details, "measured": bool(comparison.pairs)}),
        _block("computed-data", computed_data(report, cohorts)),
        _block(
            "further-data",
            {"trees": trees(comparison, summaries), "growth": growth(comparison, summaries)},
        ),
        _block("chart-data", charts()),
        _block("matrix-data", {**matrix.to_dict(), "groups": _groups(matrix)[1]}),
    ], left_out


def _asset(name: str) -> str:
    return (FOLDER / "assets" / name).read_text(encoding="utf-8")


def _template() -> Any:
    try:
        import jinja2
    except ImportError as error:
        raise UsageError(NEEDED.format(name="jinja2")) from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html.j2")


def _safe(text: str) -> Any:
    """Mark text of this package, or escaped already, as what is not to be escaped."""
    from markupsafe import Markup

    return Markup(text)


def policy(scripts: Sequence[str], style: str) -> str:
    """Return what a browser may do: run these scripts, use this style, and nothing else."""
    hashes = " ".join(_hash(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _block(name: str, data: Any) -> Record:
    """Return data for scripts, in which nothing can end the element that holds it."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return {"id": name, "text": _safe(text.replace("<", "\\u003c").replace("&", "\\u0026"))}


def _title(found: Explanation) -> str:
    models = list(dict.fromkeys(printable(e.summary.cohort.model) for e in found.cohorts))
    more = f" and {len(models) - 3} more" if len(models) > 3 else ""
    return (
        f"Which runs of {', '.join(models[:3])}{more} gave the same bits"
        if models
        else ("Nothing was compared")
    )


def _lead(comparison: Comparison, found: Explanation) -> str:
    platforms = {run.row["platform"] for run in comparison.runs}
    backends = {run.row["backend"] for run in comparison.runs}
    return (
        f"{pluralize(len(comparison.runs), 'run')} by {pluralize(len(backends), 'backend')} on "
        f"{pluralize(len(platforms), 'platform')}, compared in "
        f"{pluralize(len(found.cohorts), 'group')} of one model, precision and set of inputs each."
    )


def _next(found: CohortExplanation, store: str) -> list[NextCommand]:
    """Return what to do next, without the place of the store: a page goes elsewhere."""
    return [replace(each, command=each.command.removesuffix(store)) for each in found.next]


def _cohort(
    found: CohortExplanation,
    place: int,
    following: Sequence[NextCommand],
    tried: Sequence[Record],
) -> Record:
    statements = [*graded_statements(found), *removal_statements(found, tried)]
    further = [each for each in statements if each.of_switch][SWITCHES:]
    return {
        "letter": section_letter(place),
        "heading": heading(found.summary),
        "short": sentences.answer(found.facts),
        "statements": [_statement(each) for each in statements if each not in further],
        "further": list(map(_statement, further)),
        "notes": notes(found.summary),
        "bug_report": bug_report(found.summary, statements, following),
        "next": [
            {
                "purpose": each.purpose.value,
                "command": printable(each.command),
                "python": python_of(each.command),
                "took": None if each.seconds is None else duration_text(each.seconds),
            }
            for each in following
        ],
    }


def _statement(found: Statement) -> Record:
    said = {"text": found.text, "grade": found.grade.value, "sides": found.sides}
    return {**said, **grades.shown(found.grade)}


def _start(found: Explanation) -> int:
    """Return the place of the cohort that is shown at first: one that differs, with most layers."""

    def rank(place: int) -> tuple[bool, int, int]:
        facts = found.cohorts[place].facts
        return facts.outcome is Outcome.DIFFERENT_BITS, facts.shared_layers, -place

    return max(range(len(found.cohorts)), key=rank, default=0)


def _groups(matrix: Matrix) -> tuple[list[int | None], list[list[int]]]:
    """Return the cohorts in the order of the columns, and the columns of each."""
    found: dict[int | None, list[int]] = {}
    for place, column in enumerate(matrix.columns):
        found.setdefault(column.cohort, []).append(place)
    return list(found), list(found.values())


def _matrix(matrix: Matrix, found: Explanation) -> Record:
    cohorts, groups = _groups(matrix)
    values = {
        key: dict.fromkeys(
            getattr(each, key) for each in (*matrix.machines, *matrix.columns) if hasattr(each, key)
        )
        for key in FILTERS
    }
    rows = zip(matrix.machines, matrix.cells, strict=True)
    return {
        "heads": HEADS,
        "columns": matrix.columns,
        "flags": sorted({flag for machine in matrix.machines for flag in machine.flags}),
        "filters": [
            {"key": key, "name": key, "choices": sorted(of)}
            for key, of in values.items()
            if len(of) > 1
        ],
        "groups": [
            {"name": _group_name(cohort, found), "width": len(columns)}
            for cohort, columns in zip(cohorts, groups, strict=True)
        ],
        "rows": [
            {
                "heads": ["–" if v is None else v for v in (getattr(m, key) for key in HEADS)],
                "cells": [_cell(cell) for cell in cells],
            }
            for m, cells in rows
        ],
    }


def _group_name(cohort: int | None, found: Explanation) -> str:
    if cohort is None:
        return "gave nothing"
    group = found.cohorts[cohort].summary.cohort
    return f"{section_letter(cohort)} {printable(group.model)}, {group.group['precision']}"


def _cell(cell: Cell | None) -> Record:
    if cell is None:
        return {"text": "–", "meaning": "not run", "kind": "nothing", "number": ""}
    number = cell.classes[0] if cell.classes else None
    kinds = [] if number is None else [f"c{number % HUES}"]
    kinds += ["first"] if cell.first and not cell.by_emulation else []
    kinds += ["unsafe"] if cell.by_emulation else []
    if number is None:
        kinds.append("skipped" if cell.skipped else "stopped")
    return {
        "text": cell.text,
        "meaning": cell.meaning,
        "kind": " ".join(kinds),
        "number": "" if number is None else number,
    }

"""What Python and a notebook show of the values that the functions return: lines, not dumps."""

from __future__ import annotations

import html

import pytest

import xbackend as xb


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> xb.Runs:
    """Two runs of `fixed` in float32, with the same bits."""
    store = tmp_path_factory.mktemp("shown")
    return xb.run(backends="fixed", precisions="float32", threads=[1, 2], store=store)


def test_runs_say_in_one_line_how_many_ended_how_and_where(runs: xb.Runs) -> None:
    assert repr(runs) == f"<Runs: 2 ok, in {runs.store.folder}>"
    assert repr(runs[0:0]) == f"<Runs: none, in {runs.store.folder}>"


def test_a_section_shows_itself_in_one_line_and_prints_its_layers(runs: xb.Runs) -> None:
    (section,) = xb.compare(runs).sections
    assert repr(section) == "<Section cifar10-small in float32; runs: 2, classes: 1>"
    lines = str(section).splitlines()
    assert lines[0] == repr(section)
    assert any("image/Transpose" in line for line in lines)


def test_an_explanation_shows_itself_in_one_line_and_prints_what_the_command_does(
    runs: xb.Runs,
) -> None:
    comparison = xb.compare(runs)
    explained = xb.explain(comparison)
    assert repr(explained) == "<Explanation of cifar10-small: the same bits>"
    assert str(explained) == comparison.render("explain")


def test_a_notebook_gets_what_is_printed_with_every_name_escaped(runs: xb.Runs) -> None:
    comparison = xb.compare(runs)
    assert xb.backends()._repr_html_().startswith("<pre>")
    for shown in (runs, comparison.sections[0], comparison.layers, xb.explain(comparison)):
        assert shown._repr_html_() == f"<pre>{html.escape(str(shown))}</pre>"
    assert "&lt;Section" in comparison.sections[0]._repr_html_()

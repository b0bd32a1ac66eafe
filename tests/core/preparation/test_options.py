"""Options of converters: what is refused, how a kind of conversion is named and kept apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from xbackend.commands.convert import CONVERT_EXAMPLES
from xbackend.commands.main import main
from xbackend.errors import UsageError
from xbackend.plugins import registry
from xbackend.preparation.conversion.options import (
    options_label,
    parse_options,
    reject_unused_options,
)
from xbackend.store.cohort import cohorts
from xbackend.store.records import Run


def test_values_are_those_that_the_converter_lists() -> None:
    texts = ["onnx_to_int8.weight=uint8", "onnx_to_int8.reduce_range=True"]
    assert parse_options(texts) == {"onnx_to_int8": {"weight": "uint8", "reduce_range": True}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("onnx_to_int8.weight", "is not of the form CONVERTER.KEY=VALUE"),
        ("weight=uint8", "is not of the form CONVERTER.KEY=VALUE"),
        ("onnx_to_int9.weight=uint8", "there is no converter 'onnx_to_int9'"),
        ("onnx_to_int8.wieght=uint8", "has no option 'wieght'. Its options: activation, "),
        ("onnx_to_graph.weight=uint8", "has no option 'weight'. Its options: none."),
        ("onnx_to_int8.weight=int4", "'weight' takes int8 or uint8"),
        ("onnx_to_int8.per_channel=1", "'per_channel' takes false or true"),
    ],
)
def test_what_no_converter_has_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_options([text])
    assert said in str(caught.value)


def _in_help(choices: Sequence[Any]) -> str:
    """Return choices as the help writes them, many numbers by the first and the last."""
    if len(choices) > 5:
        assert list(choices) == list(range(choices[0], choices[-1] + 1))
        return f"{choices[0]}..{choices[-1]}"
    return "|".join(str(choice).lower() for choice in choices)


def test_the_help_lists_every_option_with_its_values() -> None:
    listed = {line.split()[0] for line in CONVERT_EXAMPLES.splitlines() if "_to_" in line}
    told = {line for line in listed if "=" in line}
    texts = {f"{spec.name}.{key}" for spec in registry.converters() for key in spec.texts}
    free = {line for line in told if line.partition("=")[0] in texts}
    assert {line.partition("=")[0] for line in free} == texts
    assert told - free == {
        f"{spec.name}.{key}={_in_help(choices)}"
        for spec in registry.converters()
        for key, choices in spec.options.items()
    }


STEPS: list[dict[str, Any]] = [
    {"converter": "onnx_to_int8", "options": {"weight": "uint8", "per_channel": True}},
    {"converter": "onnx_to_graph", "options": {}},
]


def test_a_kind_is_all_that_the_converters_were_told() -> None:
    assert options_label(STEPS) == "onnx_to_int8.per_channel=true,onnx_to_int8.weight=uint8"
    assert options_label(STEPS[1:]) is None


def test_options_that_nothing_takes_are_refused() -> None:
    reject_unused_options({"onnx_to_int8": {"weight": "uint8"}}, STEPS)
    with pytest.raises(UsageError) as caught:
        reject_unused_options({"onnx_to_int8": {"weight": "uint8"}}, STEPS[1:])
    assert str(caught.value) == (
        "'--option onnx_to_int8.weight' has no effect here; what is made takes onnx_to_graph."
    )


def test_a_run_refuses_an_option_without_effect(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "--backends", "fixed", "--precision", "float32", "--store", str(tmp_path)]
    assert main([*command, "--option", "onnx_to_int8.weight=uint8"]) == 2
    assert "has no effect here" in capsys.readouterr().err


def run_of(name: str, conversion: str | None) -> Run:
    row = {"id": name, "model": "m", "model_digest": "d", "precision": "int8", "status": "ok"}
    result = {"input": "a", "outputs": [], "taps": []}
    return Run({**row, "inputs_digest": "i", "conversion": conversion}, (), (result,))


def test_two_kinds_are_never_compared_as_one() -> None:
    unsigned = "onnx_to_int8.weight=uint8"
    found = cohorts([run_of("1", None), run_of("2", unsigned), run_of("3", unsigned)], ())
    assert [[run.id for run in cohort.runs] for cohort in found] == [["1"], ["2", "3"]]
    assert [cohort.group.get("conversion") for cohort in found] == [None, unsigned]

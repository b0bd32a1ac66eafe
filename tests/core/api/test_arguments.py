"""What the functions of `import xbackend` refuse, in one sentence, and what they take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import xbackend as xb
from xbackend.api.arguments import positive_integers
from xbackend.testing.store_builder import StoreBuilder


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"threads": None}, "'threads=None' must be a whole number from 1 on."),
        ({"threads": float("inf")}, "'threads=inf' must be a whole number from 1 on."),
        ({"timeout": "x"}, "'timeout=x' must be more than 0 seconds."),
        ({"timeout": None}, "'timeout=None' must be more than 0 seconds."),
        ({"taps": 3}, "'taps=3' must be a text, or a list of texts."),
        ({"platforms": 3}, "'platforms=3' must be"),
        ({"precisions": 3}, "'precisions=3' must be"),
        ({"precisions": ["float32", None]}, "'precisions=['float32', None]' must be"),
        ({"backends": [1]}, "'backends=[1]' must be"),
        ({"backends": b"ort"}, "'backends=b'ort'' must be"),
        ({"settings": [1]}, "'settings=[1]' must be"),
        ({"settings": {"ort.x": object}}, "must be a text, a number or a truth value."),
        ({"options": 3}, "'options=3' must be"),
        ({"store": 3}, "'store=3' must be the path of a folder."),
        ({"store": b"x"}, "'store=b'x'' must be the path of a folder."),
        ({"store": {}}, "'store={}' must be the path of a folder."),
        ({"progress": 3}, "'progress=3' must be a function that takes a ProgressEvent."),
    ],
)
def test_what_is_of_another_type_is_refused_in_one_sentence(
    tmp_path: Path, keywords: dict[str, Any], words: str
) -> None:
    with pytest.raises(xb.UsageError) as raised:
        xb.run(**{"backends": "fixed", "store": tmp_path / "store", **keywords})
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("given", "numbers"),
    [
        ("12", (12,)),
        ("1,2", (1, 2)),
        (np.int64(3), (3,)),
        (np.array([1, 2]), (1, 2)),
        (range(1, 3), (1, 2)),
    ],
)
def test_numbers_of_threads_are_taken_as_people_write_them(
    given: Any, numbers: tuple[int, ...]
) -> None:
    assert positive_integers("threads=", given) == numbers


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"reference": 64}, "'reference=64' must be a text."),
        ({"model": 3}, "'model=3' must be a text."),
        ({"where": 3}, "'where=3' must be a text, or a list of texts."),
        ({"where": {"backend": []}}, "where= gives no value for 'backend'"),
        ({"runs": []}, "A list holds no run that can be compared."),
        ({"runs": "main"}, "A str is no runs that can be compared."),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_sentence(
    bench: StoreBuilder, keywords: dict[str, Any], words: str
) -> None:
    bench.run({"out": [1.0]})
    with pytest.raises(xb.UsageError) as raised:
        xb.compare(**{"store": bench.store, **keywords})
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "inputs= holds no array. Give one for each input of the model."),
        (np.full((4, 4), np.nan, np.float32), "inputs= holds 16 NaN or infinite values"),
        (np.full((4, 4), np.nan, np.float32), "or pass allow_nonfinite=True to compare"),
        (np.zeros((4, 4)), "inputs= holds float64 for the input 'x'"),
        (
            {"z": np.zeros((4, 4), np.float32)},
            "inputs= holds 'z', but the model's inputs are 'x'. Give a dictionary of arrays by",
        ),
        (
            np.zeros((5, 4), np.float32),
            "(4, 4). One sample is 4 rows along axis 0, so give a multiple of 4, or (?, 4, 4),",
        ),
        (np.zeros((5, 3), np.float32), "the model takes (4, 4). Give that shape, or samples"),
    ],
)
def test_what_is_wrong_with_arrays_is_told_without_a_file_that_is_gone(
    tmp_path: Path, inputs: Any, words: str
) -> None:
    ends = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, (4, 4)) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "r", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(xb.InputError) as raised:
        xb.run(model, backends="fixed", inputs=inputs, store=tmp_path / "store")
    assert words in str(raised.value)
    assert ".np" not in str(raised.value)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> xb.Runs:
    """Two runs of `fixed` in float32, with the same bits."""
    store = tmp_path_factory.mktemp("arguments")
    return xb.run(backends="fixed", precisions="float32", threads="1,2", store=store)


def test_a_slice_of_runs_is_runs_and_some_runs_are_compared_in_their_store(runs: xb.Runs) -> None:
    assert isinstance(runs[0:1], xb.Runs)
    assert [run.id for run in runs[0:1]] == [runs[0].id]
    wanted = [run.id for run in runs]
    assert [run.id for run in xb.compare(runs[0:2]).runs] == wanted
    assert [run.id for run in xb.compare([runs[0], runs[1]], store=runs.store).runs] == wanted


@pytest.mark.parametrize("name", ["certify", "explain", "isolate"])
def test_what_takes_a_comparison_takes_runs(name: str, runs: xb.Runs) -> None:
    function: Callable[..., Any] = getattr(xb, name)
    pair = [[run.id for run in runs]] if name == "isolate" else []
    of_runs, of_comparison = function(runs, *pair), function(xb.compare(runs), *pair)
    assert type(of_runs) is type(of_comparison)
    with pytest.raises(xb.UsageError, match="A int is no runs that can be compared"):
        function(3)


def test_a_rule_that_is_one_text_is_one_rule(runs: xb.Runs) -> None:
    assert xb.compare(runs).broken_gates("output: bits>=23, flips=0") == []


def test_a_study_takes_one_file_and_refuses_what_it_cannot_be_told(tmp_path: Path) -> None:
    with pytest.raises(xb.UsageError, match=r"'--output x\.txt' must end in one of"):
        xb.study("races", output="x.txt", store=tmp_path)
    with pytest.raises(xb.UsageError, match="'size=x' must be one of small, full"):
        xb.study("races", size="x", store=tmp_path)
    with pytest.raises(xb.UsageError, match=r"'config=\[1\]' must be a JSON file or a dict"):
        xb.study("races", config=[1], store=tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["start", "end"])
def test_an_interruption_in_a_progress_function_ends_the_call(tmp_path: Path, kind: str) -> None:
    def interrupt(event: xb.ProgressEvent) -> None:
        if event.kind == kind:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        xb.run(backends="fixed", store=tmp_path / "store", progress=interrupt)

"""What is said of certificates: rounding only, a fault, another format, what was not seen."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.findings import Certificate, LayerCertificate
from xbackend.numerics.bounds.judgement import Judgement, Worst
from xbackend.plugins import registry
from xbackend.store.records import Run
from xbackend.store.store import Store

WEB = pytest.param(
    "html",
    marks=pytest.mark.skipif(
        bool(registry.missing_for("html")), reason="The extra 'report' is not installed."
    ),
)

WORST = Worst((0, 3), 12.0, 13.0, 1e-5)


def judgement(verdict: str = "rounding", **more: Any) -> Judgement:
    """Return a judgement on a sum of 27 terms, with an error of 3.7 of 28 roundings."""
    values: dict[str, Any] = {
        "verdict": verdict, "arithmetic": "float32", "terms": 27, "error": 3.7, "limit": 28.0,
        "usual": 7.2, "unusual": 0, "beyond": 0, "elements": 64, "overflowed": 0, "peak": 0.0,
        "not_finite": 0, "flushed": 0, "worst": None,
    }  # fmt: skip
    return Judgement(**{**values, **more})


def layer(tap: str, place: int, one: Judgement | None, **more: Any) -> LayerCertificate:
    """Return a convolution's certificate."""
    verdict = more.pop("verdict", one.verdict if one else "not judged")
    return LayerCertificate(tap, place, "Conv", verdict, more.pop("reason", ""), one, "0", **more)


def certificate(*layers: LayerCertificate, notes: tuple[str, ...] = ()) -> Certificate:
    """Return the certificate of a run of ONNX Runtime."""
    row = {
        "id": "a-b-0000-ort", "model": "net", "backend": "ort", "backend_version": "1.0",
        "platform": "native", "precision": "float32", "settings": {"threads": 1}, "status": "ok",
        "taps_neutral": True,
    }  # fmt: skip
    return Certificate(Run(row, (), ()), layers, "torch 2.0", 3, notes)


def shown(*found: Certificate, format: str = "") -> str:
    """Return the text for a terminal, its lines joined, or another report."""
    comparison = Comparison((), (), Store(Path("nowhere")), certificates=found)
    if format:
        return registry.report(format)(comparison)
    return " ".join(registry.renderer("certificates")(comparison).split())


def test_rounding_only_tells_the_largest_error_and_its_bound() -> None:
    text = shown(certificate(layer("conv1", 0, judgement()), layer("relu", 1, judgement("exact"))))
    assert (
        "Rounding only: every layer of the run stays within what float32 can do (largest 3.7 u of "
        "28)."
    ) in text
    assert "Not rounding" not in text


def test_exact_layers_alone_have_the_right_bits() -> None:
    assert "No fault: every layer of the run has the right bits." in shown(
        certificate(layer("relu", 0, judgement("exact")))
    )


def test_a_fault_is_told_with_its_layer_its_elements_and_the_worst_of_them() -> None:
    bad = judgement("beyond rounding", beyond=2, worst=WORST)
    text = shown(certificate(layer("conv1", 0, judgement()), layer("conv2", 4, bad)))
    assert (
        "Not rounding: layer 4 (Conv, tap 'conv2') of ort 1.0 (native) is beyond any rounding in 2 "
        "of 64 elements, most at [0, 3] of input '0': 12 instead of 13, where rounding can make "
        "1e-05."
    ) in text
    assert "Rounding only" not in text


def test_a_fault_of_a_source_names_its_row_and_that_the_export_may_be_it() -> None:
    bad = judgement("beyond rounding", beyond=2, worst=WORST)
    found = certificate(layer("conv2", 4, bad))
    row = {**found.run.row, "artifact": {"format": "source-torch"}}
    text = shown(dataclasses.replace(found, run=Run(row, (), ())))
    assert "of ort 1.0, graph=source (native) is beyond any rounding in 2 of 64 elements" in text
    assert "12 instead of 13 of the exported nodes, so that the export may be at fault" in text


def test_what_is_not_known_of_one_run_speaks_of_no_other() -> None:
    unknown = layer("odd", 1, None, reason="no bound is known for Odd")
    assert "no layer of the run could be judged" in shown(certificate(unknown))


def test_what_is_no_number_is_told_of_both_sides() -> None:
    for recorded, exact, said in (
        (3.0, math.nan, "float64 gives NaN, the run 3."),
        (math.nan, 2.5, "float64 gives 2.5, the run NaN."),
        (-math.inf, 0.0, "float64 gives 0, the run -infinity."),
    ):
        worst = Worst((0, 3), recorded, exact, 0.0)
        bad = judgement("beyond rounding", beyond=2, worst=worst)
        text = shown(certificate(layer("conv2", 4, bad)))
        assert f"most at [0, 3] of input '0': {said}" in text
        assert "can make" not in text


def test_what_onnx_does_not_define_is_counted_apart() -> None:
    text = shown(certificate(layer("div", 4, judgement("exact", undefined=2))))
    assert (
        "Not defined by ONNX, such as a whole number divided by zero, so not judged: 2 elements "
        "in 'div'."
    ) in text


def test_one_faulty_run_of_several_is_the_answer_for_all() -> None:
    sound = certificate(layer("conv1", 0, judgement()))
    bad = judgement("beyond rounding", beyond=1, worst=WORST)
    text = shown(sound, certificate(layer("conv1", 0, bad)))
    assert text.count("Not rounding: layer 0") == 2  # its own part, and the answer
    assert "of all runs" not in text


def test_layers_in_another_format_than_asked_for_are_named() -> None:
    narrow = judgement(arithmetic="bfloat16 products")
    text = shown(certificate(layer("conv4", 0, narrow), layer("conv5", 1, judgement())))
    assert (
        "ort 1.0 (native) was asked for float32, but 'conv4' computes in bfloat16 products." in text
    )


def test_what_is_not_judged_is_counted_and_the_answer_says_of_how_many_it_speaks() -> None:
    unknown = layer("odd", 1, None, reason="no bound is known for Odd")
    text = shown(certificate(layer("conv1", 0, judgement()), unknown))
    assert "each of 1 of 2 layers of the run" in text
    assert "Not judged: 1 layer, 'odd': no bound is known for Odd." in text
    assert "Rounding or fault is not known" in shown(certificate(unknown))


def test_of_many_reasons_a_few_are_told_and_equal_ones_once() -> None:
    reasons = [f"no bound is known for Odd{n}" for n in (0, 0, 1, 2, 3, 4)]
    layers = [layer(f"t{n}", n, None, reason=each) for n, each in enumerate(reasons)]
    text = shown(certificate(*layers))
    assert "Not judged: 6 layers, 't0', 't1', 't2' and 3 more: " in text
    assert text.count("Odd0") == 1
    assert "no bound is known for Odd2; and 2 more reasons." in text


def test_layers_that_recording_changed_prove_nothing() -> None:
    blind = layer("conv1", 0, judgement(), verdict="not neutral")
    text = shown(certificate(blind, notes=("Recording changed the bits.",)))
    assert "Rounding or fault is not known" in text
    assert "1 layer prove nothing" not in text
    assert "Recording changed the bits." in text


def test_overflow_nan_flushed_numbers_and_unseen_weights_are_told() -> None:
    one = judgement(overflowed=50, peak=2.1e39, not_finite=50, flushed=3, unusual=1)
    text = shown(certificate(layer("sq", 2, one, makes_nonfinite=True, weights_touched=0.75)))
    assert (
        "The first to make NaN or infinity of finite numbers is layer 2 (Conv, tap 'sq'): 50 of 64 "
        "elements." in text
    )
    assert "'sq' overflows float32 in 50 of 64 elements: 2.1e+39 > 3.4028e+38." in text
    assert "Subnormal numbers are flushed to zero in 'sq': 3 elements." in text
    assert "far above the usual size, so worth a look: 'sq' (first 4 u, usually up to 7)" in text
    assert "weights that met only zeros in 3 samples could hold anything ('sq' 25.0 %)" in text


@pytest.mark.parametrize("format", ["table", WEB, "markdown"])
def test_every_report_has_the_certificates(format: str) -> None:
    text = shown(certificate(layer("conv1", 0, judgement())), format=format)
    assert "Rounding only" in text
    assert "3.7 / 28" in text


def test_json_has_every_number_and_no_infinity() -> None:
    bad = judgement(
        "beyond rounding", beyond=1, worst=dataclasses.replace(WORST, recorded=float("inf"))
    )
    document = json.loads(shown(certificate(layer("conv1", 0, bad)), format="json"))
    (found,) = document["certificates"]
    assert (found["run"], found["faults"], found["samples"]) == ("a-b-0000-ort", ["conv1"], 3)
    (row,) = found["layers"]
    assert (row["tap"], row["verdict"], row["error"], row["limit"]) == (
        "conv1", "beyond rounding", 3.7, 28.0,
    )  # fmt: skip
    assert row["worst"] == {"index": [0, 3], "recorded": "inf", "exact": 13.0, "allowed": 1e-05}


def test_without_certificates_json_has_no_such_key() -> None:
    assert "certificates" not in json.loads(shown(format="json"))

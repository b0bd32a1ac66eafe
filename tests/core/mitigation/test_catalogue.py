"""The built-in mitigations: what each asks of whom, as a model and platforms have it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xbackend.plugins import registry
from xbackend.plugins.mitigation import EVERY, MitigationContext

HERE = MitigationContext(("ort", "tflite"), ("native",), frozenset(), (1,), frozenset({"onnx"}))


@pytest.mark.parametrize(
    ("formats", "converter"),
    [
        ({"onnx"}, "onnx_to_tflite"),
        ({"keras", "onnx", "tflite"}, "keras_to_tflite"),
        ({"savedmodel"}, "keras_to_tflite"),
        ({"callable"}, "onnx_to_tflite"),
    ],
)
def test_16_bit_activations_are_asked_of_the_converter_that_the_model_goes_through(
    formats: set[str], converter: str
) -> None:
    found = {each.name: each for each in registry.mitigations(replace(HERE, formats=formats))}
    assert found["int16x8"].changes["tflite"].options == {converter: {"activation": "int16"}}


def test_names_are_used_once_and_every_option_is_one_that_its_converter_has() -> None:
    found = registry.mitigations(HERE)
    names = [each.name for each in found]
    assert len(set(names)) == len(names)
    known = {spec.name: spec.options for spec in registry.converters()}
    for each in found:
        for change in each.changes.values():
            for converter, options in change.options.items():
                assert {key: value in known[converter][key] for key, value in options.items()} == (
                    dict.fromkeys(options, True)
                )


def test_every_mitigation_changes_or_lacks_something_for_a_backend_that_there_is() -> None:
    words = {*registry.known_backends(), EVERY}
    for each in registry.mitigations(HERE):
        assert {*each.changes, *each.unavailable} <= words
        assert each.changes or each.unavailable

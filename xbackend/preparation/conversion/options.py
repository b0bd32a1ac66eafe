"""Options of converters: reading them from text, refusing those that do nothing, naming them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xbackend.errors import UsageError, did_you_mean
from xbackend.plugins import registry

if TYPE_CHECKING:
    from xbackend.plugins.converter import ConverterSpec

Options = Mapping[str, Mapping[str, Any]]
"""Converter's name to its options."""


def parse_options(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read texts of the form `CONVERTER.KEY=VALUE`. Raises UsageError for what no converter has."""
    specs = {spec.name: spec for spec in registry.converters()} if texts else {}
    chosen: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        converter, dot, key = name.partition(".")
        if not equals or not dot:
            raise UsageError(f"'--option {text}' is not of the form CONVERTER.KEY=VALUE.")
        if converter not in specs:
            raise UsageError(
                f"'--option {text}': there is no converter '{converter}'. "
                f"Converters: {', '.join(specs)}.{did_you_mean(converter, specs)}"
            )
        chosen.setdefault(converter, {})[key] = _value(text, specs[converter], key, value)
    return chosen


def _value(text: str, spec: ConverterSpec, key: str, value: str) -> Any:
    """Return the choice of an option that a text means."""
    if key in spec.texts and value:
        return value
    if key not in spec.options:
        known = ", ".join(sorted([*spec.options, *spec.texts])) or "none"
        raise UsageError(
            f"'--option {text}': {spec.name} has no option '{key}'. Its options: {known}."
            f"{did_you_mean(key, spec.options)}"
        )
    choices = {_text(choice): choice for choice in spec.options[key]}
    if value.lower() not in choices:
        near = did_you_mean(value, choices)
        raise UsageError(f"'--option {text}': '{key}' takes {' or '.join(choices)}.{near}")
    return choices[value.lower()]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def applied_options(steps: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return what steps of an artifact were told, such as `{"onnx_to_int8.weight": "uint8"}`."""
    return {
        f"{step['converter']}.{key}": _text(value)
        for step in steps
        for key, value in sorted(step.get("options", {}).items())
    }


def options_label(steps: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the same as one text, None where no step was told anything.

    >>> options_label([{"converter": "onnx_to_int8", "options": {"reduce_range": True}}])
    'onnx_to_int8.reduce_range=true'
    """
    return ",".join(f"{key}={value}" for key, value in applied_options(steps).items()) or None


def quantizer_of(steps: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the converter that chose the scales of an int8 artifact, None where none did.

    >>> quantizer_of([{"converter": "onnx_to_int8", "from": "onnx", "to": "onnx-int8"}])
    'onnx_to_int8'
    """
    for step in steps:
        source, target = str(step.get("from", "")), str(step.get("to", ""))
        if target.endswith("-int8") and not source.endswith("-int8"):
            return str(step["converter"])
    return None


def reject_unused_options(options: Options, steps: Iterable[Mapping[str, Any]]) -> None:
    """Raise UsageError for options of a converter that none of the steps gave to it."""
    told: dict[str, bool] = {}
    for step in steps:
        told[step["converter"]] = told.get(step["converter"], False) or bool(step.get("options"))
    for converter, chosen in options.items():
        if not told.get(converter):
            taken = f"; what is made takes {', '.join(told)}" if told else ""
            raise UsageError(
                f"'--option {converter}.{next(iter(chosen))}' has no effect here{taken}."
            )

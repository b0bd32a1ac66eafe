"""Settings of backends: `--set word.key=value`, checked and typed after the backend's spec."""

from __future__ import annotations

from collections.abc import Sequence

from xbackend.errors import UsageError
from xbackend.worker.contract import BackendSpec, Setting, SettingValue

TRUE, FALSE = ("true", "on", "yes", "1"), ("false", "off", "no", "0")


def parse_settings(
    texts: Sequence[str], specs: Sequence[BackendSpec]
) -> dict[str, dict[str, SettingValue]]:
    """Return each backend's settings, defaults filled in, by the backend's word.

    Raises UsageError, which lists what there is, for an unknown backend, key or value.
    """
    chosen = {spec.word: spec.defaults() for spec in specs}
    by_word = {spec.word: spec for spec in specs}
    for text in texts:
        name, equals, value = text.partition("=")
        word, dot, key = name.partition(".")
        if not equals or not dot:
            raise UsageError(f"'--set {text}' is not of the form WORD.KEY=VALUE.")
        if word not in by_word:
            raise UsageError(
                f"'--set {text}' is for the backend '{word}', which does not run; "
                f"running are: {', '.join(by_word)}."
            )
        chosen[word][key] = _typed(text, _find(by_word[word], key), value)
    return chosen


def _find(spec: BackendSpec, key: str) -> Setting:
    for setting in spec.settings:
        if setting.key == key:
            return setting
    known = ", ".join(setting.key for setting in spec.settings) or "none"
    raise UsageError(f"The backend '{spec.word}' has no setting '{key}'. Its settings: {known}.")


def _typed(text: str, setting: Setting, value: str) -> SettingValue:
    typed = _convert(text, setting.default, value)
    if setting.choices and typed not in setting.choices:
        choices = ", ".join(str(choice).lower() for choice in setting.choices)
        raise UsageError(f"'--set {text}': the value must be one of {choices}.")
    return typed


def _convert(text: str, default: SettingValue, value: str) -> SettingValue:
    if isinstance(default, bool):
        if value.lower() not in TRUE + FALSE:
            raise UsageError(f"'--set {text}': the value must be true or false.")
        return value.lower() in TRUE
    if isinstance(default, str):
        return value
    try:
        return type(default)(value)
    except ValueError as error:
        kind = "a whole number" if isinstance(default, int) else "a number"
        raise UsageError(f"'--set {text}': the value must be {kind}.") from error

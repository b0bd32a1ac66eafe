"""Settings of backends: `--set word.key=value`, checked and typed after the backend's spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xbackend.errors import UsageError, did_you_mean
from xbackend.plugins import registry
from xbackend.worker.contract import BackendSpec, Setting, SettingValue

TRUE, FALSE = ("true", "on", "yes", "1"), ("false", "off", "no", "0")
NOTHING = ("none", "disabled", "disable", "default", "off", "false", "no", "0")
"""Words for one thing that settings are given: that something is not to be done."""
EVERYTHING = ("all", "full", "max", "on", "true", "yes", "enabled", "enable", "1")


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
            near = did_you_mean(word, by_word, registry.other_words())
            raise UsageError(
                f"'--set {text}' is for the backend '{word}', which does not run; "
                f"running are: {', '.join(by_word)}.{near}"
            )
        chosen[word][key] = _typed(text, _find(by_word[word], key), value)
    return chosen


def _find(spec: BackendSpec, key: str) -> Setting:
    for setting in spec.settings:
        if setting.key == key:
            return setting
    known = ", ".join(setting.key for setting in spec.settings) or "none"
    near = did_you_mean(key, [setting.key for setting in spec.settings])
    raise UsageError(
        f"The backend '{spec.word}' has no setting '{key}'. Its settings: {known}.{near}"
    )


def _typed(text: str, setting: Setting, value: str) -> SettingValue:
    typed = _convert(text, setting.default, value)
    if setting.choices and typed not in setting.choices:
        choices = [str(choice).lower() for choice in setting.choices]
        near = did_you_mean(value, choices, _same_meaning(value, choices))
        raise UsageError(f"'--set {text}': the value must be one of {', '.join(choices)}.{near}")
    return typed


def _same_meaning(value: str, choices: Sequence[str]) -> dict[str, str]:
    """Return the choice that means what a value that is none of them does.

    >>> _same_meaning("none", ["all", "disabled"]), _same_meaning("maybe", ["all"])
    ({'none': 'disabled'}, {})
    """
    for words in (NOTHING, EVERYTHING):
        meant = [choice for choice in words if choice in choices]
        if value.lower() in words and meant:
            return {value.lower(): meant[0]}
    return {}


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


def worker_environment(spec: BackendSpec, settings: Mapping[str, SettingValue]) -> dict[str, str]:
    """Return variables to set before the framework is loaded: the spec's own, and of settings."""
    own = {
        name: text.format(threads=settings["threads"]) for name, text in spec.environment.items()
    }
    chosen = {
        each.variable: str(settings[each.key])
        for each in spec.settings
        if each.variable and settings[each.key] != each.default
    }
    return {**own, **chosen}

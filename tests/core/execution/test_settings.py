"""Settings: typed after their defaults, checked against their choices."""

import pytest

from xbackend.errors import UsageError
from xbackend.execution.backend_settings import parse_settings
from xbackend.worker.contract import BackendSpec, Setting

SPEC = BackendSpec(
    word="fake",
    title="Fake",
    adapter="a:B",
    modules=(),
    distributions=(),
    formats={},
    settings=(
        Setting("mode", "slow", "How.", ("slow", "fast")),
        Setting("deep", False, "Whether."),
        Setting("size", 4, "How many."),
        Setting("rate", 0.5, "How much."),
        Setting("names", "", "Which."),
    ),
)


def _parse(*texts):
    return parse_settings(texts, [SPEC])["fake"]


def test_every_setting_has_its_default_recorded():
    assert _parse() == {"mode": "slow", "deep": False, "size": 4, "rate": 0.5, "names": ""}


def test_values_get_the_type_of_the_default():
    given = _parse("fake.deep=on", "fake.size=8", "fake.rate=1e-3", "fake.names=a,b=c")
    assert given == {"mode": "slow", "deep": True, "size": 8, "rate": 0.001, "names": "a,b=c"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fake.mode=medium", "one of slow, fast"),
        ("fake.deep=perhaps", "true or false"),
        ("fake.size=many", "a whole number"),
        ("fake.rate=much", "a number"),
        ("fake.colour=red", "Its settings: mode, deep, size, rate, names"),
        ("other.mode=slow", "does not run; running are: fake"),
        ("mode=slow", "WORD.KEY=VALUE"),
        ("fake.mode", "WORD.KEY=VALUE"),
    ],
)
def test_what_is_wrong_is_told_with_what_is_right(text, words):
    with pytest.raises(UsageError, match=words):
        _parse(text)

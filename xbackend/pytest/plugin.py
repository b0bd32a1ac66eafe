"""What pytest imports in every environment that has xbackend: an option, a marker, two hooks."""

from __future__ import annotations

import pytest

from xbackend.pytest import current

MARKER_HELP = (
    "xbackend(backends=None, platforms=None, certify=False, ...): what assert_consistent takes "
    "where the test does not say it"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("xbackend").addoption(
        current.UPDATE,
        action="store_true",
        help="write the baselines that assert_consistent is given, or add all classes to them",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER_HELP)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remember which test runs."""
    current.item = item


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Forget it."""
    current.item = None

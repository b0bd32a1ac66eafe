"""What the tests in a browser share: the browser, and reports of real and written stores."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import xbackend as xb
from xbackend.plugins import registry
from xbackend.testing.store_builder import StoreBuilder

BINARIES = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--hide-scrollbars", "--disable-background-networking",
)  # fmt: skip
MADE = "XBACKEND_TEST_STORE"
"""Names a store of the same runs that was made before, which saves minutes."""
PLATFORMS = ("native", "qemu:SandyBridge", "qemu:Haswell", "qemu:max")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium, 1280 pixels wide and light; tests change that and need not care."""
    webdriver = pytest.importorskip("selenium.webdriver")
    binary = next(filter(None, map(shutil.which, BINARIES)), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None or registry.missing_for("html"):
        pytest.skip("A browser needs chromium, chromedriver and the extra 'report'.")
    options = webdriver.ChromeOptions()
    for switch in SWITCHES:
        options.add_argument(switch)
    options.binary_location = binary
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    with webdriver.Chrome(options=options, service=service) as opened:
        opened.set_page_load_timeout(60)
        yield opened


@pytest.fixture
def look(browser: Any) -> Callable[..., Any]:
    """Open a page at a width, in a colour scheme or as printed, and wait until it is drawn."""

    def open_page(page: Path, width: int = 1280, scheme: str = "light", media: str = "") -> Any:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        asked = {"media": media, "features": [feature]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", asked)
        browser.get(page.absolute().as_uri())
        _wait(browser)
        return browser

    return open_page


def _wait(browser: Any) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    drawn = "return document.body.dataset.drawn !== undefined"
    WebDriverWait(browser, 60).until(lambda page: page.execute_script(drawn))


@pytest.fixture(scope="session")
def real_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five backends on this machine and three emulated ones, all layers of cifar10-small."""
    made = os.environ.get(MADE)
    if made:
        return Path(made)
    if shutil.which("qemu-x86_64") is None:
        pytest.skip("Emulated processors need qemu-user.")
    folder = tmp_path_factory.mktemp("real") / "store"
    runs = xb.run("cifar10-small", platforms=PLATFORMS, store=folder, timeout=1500)
    backends = {run.row["backend"] for run in runs if run.ok}
    if not {"tf", "ort", "torch", "tflite", "fixed"} <= backends:
        pytest.skip("Five backends are needed.")
    return folder


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the paper, imported."""
    shared = Path(__file__).resolve().parents[3] / "shared" / "published"
    results = shared / "unaNNticipated" / "results"
    if not results.is_dir():
        pytest.skip("The published results are not in the folder 'shared' beside the project.")
    folder = tmp_path_factory.mktemp("published") / "store"
    xb.import_runs("unannticipated", results, store=folder)
    return folder


@pytest.fixture
def bench(tmp_path: Path) -> StoreBuilder:
    """A store to write runs into by hand."""
    return StoreBuilder(tmp_path / "bench")


def page_of(store: Path, page: Path, **choice: Any) -> Path:
    """Write the report of a store."""
    return xb.report(xb.compare(store=store, **choice), page)

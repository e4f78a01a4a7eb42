"""Debian's chromium, headless, for looking at pages as a reader's browser does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from media_samples import ffmpeg
from numpy.typing import NDArray
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

MUST_HAVE = "VIDTWIN_TEST_BROWSER"
"""Set (by continuous integration) where a missing browser is a failure and no reason to skip."""
_QUIET = ("extensions", "background-networking", "component-update", "sync", "quic", "gpu")


def find_browser() -> tuple[str, str] | None:
    """Paths of chromium and its driver, both from the system."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


def require_browser() -> tuple[str, str]:
    """Skip the test where there is none; fail it where there must be."""
    found = find_browser()
    if found is None:
        said = "no chromium with chromedriver here (Debian: apt-get install chromium chromium-driver)"
        if os.environ.get(MUST_HAVE):
            pytest.fail(said)
        pytest.skip(said)
    return found


@contextmanager
def open_browser(
    profile: Path, *, width: int = 1280, height: int = 900, dark: bool = False
) -> Iterator[webdriver.Chrome]:
    """A browser with a fresh profile, without network, its console kept."""
    browser, driver = require_browser()
    options = Options()
    options.binary_location = browser
    # as root, chromium has no sandbox
    for flag in ("headless", "no-sandbox", "no-first-run", "disable-dev-shm-usage", "hide-scrollbars"):
        options.add_argument(f"--{flag}")
    for feature in _QUIET:
        options.add_argument(f"--disable-{feature}")
    options.add_argument(f"--user-data-dir={profile}")
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    session = webdriver.Chrome(options=options, service=Service(driver))
    try:
        # narrower than the smallest window it would open
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        session.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        session.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        yield session
    finally:
        session.quit()


def pixels(png: bytes) -> NDArray[np.uint8]:
    """A screenshot as uint8 ``[height, width, 3]``."""
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
    raw = ffmpeg("-f", "png_pipe", "-i", "-", "-pix_fmt", "rgb24", "-f", "rawvideo", "-", data=png)
    return np.frombuffer(raw, np.uint8).reshape(height, width, 3)

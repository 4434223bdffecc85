"""Opening a report in headless Chromium."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next((path for path in map(shutil.which, NAMES) if path), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium found; `make browser` installs one")


def open_page(browser: Browser, results: Path, width: int, **context: Any) -> tuple[Page, list[str], list[str]]:
    """The page, what the console said, and every request that was made. context: of playwright's `new_page`."""
    page = browser.new_page(viewport={"width": width, "height": 900}, **context)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((results / "report.html").as_uri())
    return page, said, asked

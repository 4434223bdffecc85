"""The page in a real browser: no errors, no request leaves it, all figures there, no sideways scrolling on a phone."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from reporting.page import write_report
from tests.reporting.browsing import needs_browser, open_page
from tests.reporting.reporting_examples import write_results

pytestmark = needs_browser


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    write_results(folder, targets=9)
    write_report(folder)
    return folder


@pytest.mark.parametrize("width", [1280, 390])
def test_it_is_whole_and_quiet(browser: Browser, results: Path, width: int) -> None:
    page, said, asked = open_page(browser, results, width)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    sizes = page.evaluate(
        "[...document.querySelectorAll('figure img')].map(i => [i.naturalWidth, i.offsetWidth, i.alt])"
    )
    files = {path.stem for path in (results / "figures").glob("*.png")}
    names = page.evaluate("[...document.querySelectorAll('figure')].map(one => one.id)")
    assert set(names) == files
    assert len(names) == len(sizes) == len(files)
    assert all(natural > 500 and shown > 200 and alt for natural, shown, alt in sizes)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.querySelectorAll('figcaption')].every(one => one.innerText.length > 40)")
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in asked if url.startswith("file:")]) == 1
    page.close()


def test_a_figures_data_can_be_saved(browser: Browser, results: Path) -> None:
    page, _, _ = open_page(browser, results, 1280)
    with page.expect_download() as download:
        page.click("figure#tradeoff a.download")
    assert download.value.suggested_filename == "tradeoff.csv"
    assert Path(download.value.path()).read_text() == (results / "figures/tradeoff.csv").read_text()
    page.close()


def test_it_prints(browser: Browser, results: Path) -> None:
    page, _, _ = open_page(browser, results, 1280)
    printed = page.pdf(format="A4")
    assert printed.startswith(b"%PDF")
    assert printed.count(b"/Type /Page\n") >= 2 or printed.count(b"/Type /Page") >= 2
    page.close()

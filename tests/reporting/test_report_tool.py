"""What the page's script does, in headless Chromium: sort, filter, copy, choose, explain, dark, contents; and by hand
the rules of accessibility that a program can check: names, keyboard, contrast, headings, tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page

from reporting.page import write_report
from tests.conftest import no_drawing
from tests.reporting.browsing import needs_browser, open_page
from tests.reporting.reporting_examples import write_results

pytestmark = needs_browser
SHOWN = "e => [...e.querySelectorAll('tbody tr')].filter(r => !r.hidden).map(r => r.cells[0].innerText)"
UTILITY, COMPARED = "#utility ~ .scroll table", "#comparisons ~ .scroll table"
# Of every text that is seen: its contrast with the nearest ground, where that is less than 4.5.
PALE = """() => {
  const paint = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const colour = text => {
    paint.clearRect(0, 0, 1, 1); paint.fillStyle = text; paint.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = paint.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
  };
  const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => [r, g, b].map(v => linear(v / 255))
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = element => {
    for (let e = element; e; e = e.parentElement) {
      const c = colour(getComputedStyle(e).backgroundColor);
      if (c[3] > .99) return c;
    }
    return colour(getComputedStyle(document.documentElement).colorScheme.startsWith('dark') ? '#121212' : '#fff');
  };
  const pale = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!(own || e.matches('input, select')) || !e.checkVisibility() || e.matches('script, option')) continue;
    const style = getComputedStyle(e), text = colour(e.closest('svg') ? style.fill : style.color);
    const [high, low] = [light(text), light(ground(e))].sort((a, b) => b - a);
    if ((high + .05) / (low + .05) < 4.5) pale.push([e.tagName, text, ground(e), e.textContent.slice(0, 40)]);
  }
  return pale;
}"""
# What can be pressed, chosen or scrolled, and has no name or is out of the keyboard's reach.
UNREACHED = """() => [...document.querySelectorAll('a[href], button, select, input, textarea, summary, [tabindex]')]
  .filter(e => e.checkVisibility())
  .filter(e => {
    const name = e.getAttribute('aria-label') || e.innerText || (e.labels && e.labels[0] && e.labels[0].innerText);
    const roving = e.matches('g.row') && document.querySelector('g.row[tabindex="0"]');
    return !(name && name.trim()) || (e.tabIndex < 0 && !roving);
  }).map(e => e.outerHTML.slice(0, 100))"""
HEADINGS = """() => [...document.querySelectorAll('h1, h2, h3, h4')].filter(e => e.checkVisibility())
  .map(e => +e.tagName[1])"""
BARE = """() => [...document.querySelectorAll('table')].filter(t => !t.tHead || [...t.querySelectorAll('th')]
  .some(h => !h.scope || !h.innerText.trim())).map(t => t.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        no_drawing(patch)
        write_results(folder, targets=9)
        rows = pd.read_csv(folder / "comparisons.csv")
        longest = rows.iloc[:1].assign(kind="matched_accuracy", attack="rmia", family="exploratory")
        pd.concat([rows, longest]).to_csv(folder / "comparisons.csv", index=False)
        write_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(browser: Browser, results: Path) -> Iterator[Page]:
    """At 1280 px; each test leaves it as it was."""
    page, said, _ = open_page(browser, results, 1280)
    yield page
    assert said == []
    page.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_it_is_accessible_quiet_and_no_wider_than_the_screen(
    browser: Browser, results: Path, width: int, scheme: Any
) -> None:
    page, said, asked = open_page(browser, results, width, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    for _ in range(2):  # in the scheme that was asked for, then in the other one
        assert page.evaluate(PALE) == []
        page.click("#theme")
    assert page.evaluate(UNREACHED) == []
    assert page.evaluate(BARE) == []
    levels = page.evaluate(HEADINGS)
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.evaluate("[...document.querySelectorAll('img')].every(one => one.alt.length > 10)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    top = page.locator(".headline p").first.bounding_box()
    assert top is not None
    assert top["y"] + top["height"] < 600  # what was found is on the first screen
    inside = """() => [...document.querySelectorAll('.choice text')].every(text => {
        const box = text.getBoundingClientRect(); return box.left >= 0 && box.right <= innerWidth; })"""
    assert page.evaluate(inside)
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert said == []
    page.close()


def test_tables_sort_by_numbers_and_back(page: Page) -> None:
    table, heading = page.locator(UTILITY).first, page.locator(f"{UTILITY} th", has_text="Test acc").first
    column = "e => [...e.tBodies[0].rows].map(row => parseFloat(row.cells[3].innerText))"
    first = table.evaluate(column)
    heading.get_by_role("button").click()
    assert table.evaluate(column) == sorted(first) != first
    assert heading.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")  # the button has the focus
    assert table.evaluate(column) == sorted(first, reverse=True)
    assert heading.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Enter")
    assert table.evaluate(column) == first
    assert heading.get_attribute("aria-sort") is None


def test_groups_keep_their_rows(page: Page) -> None:
    table = page.locator(COMPARED).first
    groups = "e => [...e.tBodies].map(b => [...b.rows].map(r => r.cells[0].innerText))"
    before = table.evaluate(groups)
    button = table.get_by_role("button", name="LiRA, AUC")
    button.click()
    button.click()
    after = table.evaluate(groups)
    assert after != before
    assert [one[0] for one in after] == [one[0] for one in before]
    assert [set(one) for one in after] == [set(one) for one in before]
    assert after[0][1:] == ["Static 95 % - Dense", "Static 80 % - Dense", "DPF 95 % - Dense", "DPF 80 % - Dense"]
    button.click()
    assert table.evaluate(groups) == before


def test_rows_are_filtered_by_their_words(page: Page) -> None:
    table = page.locator(COMPARED).first
    before = table.evaluate(SHOWN)
    tools = page.locator("#comparisons ~ .tools").first
    tools.get_by_label("Filter rows").fill("dpf DENSE")
    assert table.evaluate(SHOWN) == ["Pruned minus dense", "DPF 80 % - Dense", "DPF 95 % - Dense"]
    assert "2 of 10 rows" in tools.inner_text()
    tools.get_by_label("Filter rows").fill("")
    assert table.evaluate(SHOWN) == before


def copied(page: Page, form: str, allowed: bool, place: str = "#comparisons") -> str:
    page.evaluate(
        """allowed => Object.defineProperty(navigator, 'clipboard', {configurable: true, value: {
        writeText: async text => { if (!allowed) throw new Error('no'); window.held = text; }}})""",
        allowed,
    )
    page.locator(f"{place} ~ .tools").first.get_by_role("button", name=f"Copy as {form}").click()
    if allowed:
        text: str = page.evaluate("window.held")
        return text
    area = page.locator("textarea.copied")
    text = area.input_value()
    assert page.evaluate("getSelection().toString()") == text or page.evaluate(
        "(e => e.selectionStart === 0 && e.selectionEnd === e.value.length)(document.activeElement)"
    )
    page.keyboard.press("Escape")
    assert area.count() == 0
    return text


@pytest.mark.parametrize("allowed", [True, False])
def test_tables_are_copied_as_they_are_shown(page: Page, allowed: bool) -> None:
    rows = list(csv.reader(io.StringIO(copied(page, "CSV", allowed))))
    assert rows[0][:3] == ["Group", "LiRA, AUC", "Difference [95 %]"]
    assert rows[1][:3] == ["Pruned minus dense", "Static 80 % - Dense", "-0.050 [-0.070, -0.030]"]
    assert len(rows) == 11
    latex = copied(page, "LaTeX", allowed)
    assert "\\begin{tabular}{lrrrlr}\n\\toprule" in latex
    assert "\\textit{Pruned minus dense}} \\\\\nStatic 80 \\% - Dense & -0.050 [-0.070, -0.030] & $<$ 0.0001" in latex
    markdown = copied(page, "Markdown", allowed).splitlines()
    assert markdown[1] == "|---|---:|---:|---:|---|---:|"
    assert markdown[3].startswith("| Static 80 % - Dense | -0.050 [-0.070, -0.030] | \\< 0.0001 |")
    assert len({line.replace("\\|", "").count("|") for line in markdown}) == 1


def test_the_figure_shows_what_is_chosen(page: Page, results: Path) -> None:
    said = "[...document.querySelectorAll('.choice g.row')].map(one => one.getAttribute('aria-label'))"
    summary = pd.read_csv(results / "summary.csv")

    def expected(attack: str, metric: str, scale: float, digits: int, unit: str) -> list[str]:
        own = summary[(summary["attack"] == attack) & (summary["metric"] == metric)]
        ends = [
            [f"{scale * row[name]:.{digits}f}" for name in ("mean", "ci_low", "ci_high")] for _, row in own.iterrows()
        ]
        return [f": {mean} [{low}, {high}]{unit}" for mean, low, high in ends]

    def figures(rows: list[str]) -> list[str]:
        return [text[text.index(":") :] for text in rows]

    first = page.evaluate(said)
    assert figures(first) == expected("lira", "auc", 1, 3, "")
    page.get_by_role("combobox", name="Attack").select_option("rmia")
    page.get_by_role("combobox", name="Metric").select_option("tpr_at_fpr_0.01")
    assert figures(page.evaluate(said)) == expected("rmia", "tpr_at_fpr_0.01", 100, 2, " %")
    page.get_by_role("combobox", name="Order").select_option("value")
    assert page.evaluate(said)[0].startswith("Dense: ")
    page.get_by_role("combobox", name="Show").select_option("1")
    assert "not known here" in page.locator(".choice [role=status]").inner_text()
    page.get_by_role("combobox", name="Attack").select_option("lira")
    page.get_by_role("combobox", name="Metric").select_option("auc")
    assert page.evaluate(said)[0] == "Static 80 % - Dense: -0.050 [-0.070, -0.030]; first leaks less"
    assert page.locator(".choice .hollow").count() == 0
    page.get_by_role("combobox", name="Show").select_option("0")
    page.get_by_role("combobox", name="Order").select_option("table")
    assert page.evaluate(said) == first
    page.locator(".choice g.row").first.focus()
    page.keyboard.press("ArrowDown")
    assert page.locator("#tip").inner_text() == first[1]
    page.locator(".choice g.row").nth(3).hover()
    assert page.locator("#tip").inner_text() == first[3]
    page.keyboard.press("Escape")


def test_words_are_explained_on_hover_and_focus(page: Page) -> None:
    tip, word = page.locator("#tip"), page.locator(".headline a.term", has_text="AUC")
    meaning = page.locator("#term-auc").inner_text()
    assert not tip.is_visible()
    word.focus()
    assert tip.inner_text() == meaning
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    word.hover()
    assert tip.inner_text() == meaning
    assert word.get_attribute("aria-describedby") == "term-auc"
    page.mouse.move(0, 0)
    tip.wait_for(state="hidden")
    page.locator(f"{UTILITY} th", has_text="Gap").get_by_role("button").focus()
    assert tip.inner_text() == page.locator("#term-gap").inner_text()
    page.keyboard.press("Escape")


def test_the_contents_follow(page: Page) -> None:
    nav, current = page.locator("nav"), page.locator("nav a[aria-current]")
    before = nav.bounding_box()
    assert before is not None
    assert before["x"] + before["width"] <= page.locator("h1").evaluate("e => e.getBoundingClientRect().left")
    for name in ("roc", "settings"):
        page.evaluate(f"document.getElementById('{name}').scrollIntoView()")
        page.wait_for_function(f"document.querySelector('nav a[aria-current]')?.hash === '#{name}'")
        assert current.count() == 1
        assert nav.bounding_box() == before
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_function("!document.querySelector('nav a[aria-current]')")


def test_dark_is_kept_by_the_page_alone(browser: Browser, results: Path) -> None:
    page, _, _ = open_page(browser, results, 1280, color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.click("#theme")
    assert page.evaluate(ground) == "rgb(255, 255, 255)" != dark
    assert page.locator("#theme").inner_text() == "Dark page"
    page.click("#theme")
    assert page.evaluate(ground) == dark
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    under = page.locator("figure .frame").first.evaluate("e => getComputedStyle(e).backgroundColor")
    assert under == "rgb(255, 255, 255)"  # of a figure: its ink is dark in either scheme
    page.emulate_media(media="print")
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    assert not page.locator(".tools:visible, nav:visible, #theme:visible").count()
    page.close()


def test_it_is_whole_without_a_script(browser: Browser, results: Path) -> None:
    page, _, _ = open_page(browser, results, 1280, java_script_enabled=False)
    assert page.locator(UTILITY).first.is_visible()
    assert page.locator("#term-auc").is_visible()
    assert not page.locator(".choice").is_visible()
    assert not page.locator("nav a[href='#choice']").is_visible()
    assert page.locator("button, select, input").count() == 0
    page.locator(".headline a.term", has_text="AUC").click()
    assert page.url.endswith("#term-auc")
    page.close()

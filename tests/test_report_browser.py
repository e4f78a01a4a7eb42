"""The page in a real browser: the divider moves, points can be read, nothing complains."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import open_browser, pixels, require_browser
from comparisons import comparison
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from vidtwin_codec.evaluation.report import render


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    require_browser()
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(comparison()), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def desktop(report: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with open_browser(tmp_path_factory.mktemp("desktop")) as session:
        yield session


@pytest.fixture
def page(desktop: Chrome, report: str) -> Iterator[Chrome]:
    """Freshly loaded; whatever the test does, the console must stay empty."""
    desktop.get(report)
    # without scripts both stay hidden; on a busy machine they may run a little after the page is there
    WebDriverWait(desktop, 30).until(
        lambda _: all(by_id(desktop, name).is_displayed() for name in ("choose", "viewer"))
    )
    yield desktop
    assert desktop.get_log("browser") == []


def by_id(page: Chrome, name: str) -> WebElement:
    return page.find_element(By.ID, name)


def ask(page: Chrome, expression: str, *arguments: Any) -> Any:
    return page.execute_script(f"return {expression}", *arguments)  # type: ignore[no-untyped-call]


def divider_at(page: Chrome) -> int:
    return int(by_id(page, "divider").get_attribute("aria-valuenow") or -1)


def shown_plots(page: Chrome) -> list[WebElement]:
    return page.find_elements(By.CSS_SELECTOR, "figure.curves:not([hidden]) .plot")


def test_the_divider_follows_the_pointer(page: Chrome) -> None:
    stage, divider = by_id(page, "stage"), by_id(page, "divider")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", stage)
    assert divider_at(page) == 50
    quarter = int(stage.rect["width"] / 4)
    ActionChains(page).click_and_hold(divider).move_by_offset(quarter, 3).release().perform()
    assert divider_at(page) == pytest.approx(75, abs=1)
    clip = by_id(page, "image-left").value_of_css_property("clip-path")
    cut = float(clip.removeprefix("inset(0px ").partition("%")[0])
    assert cut == pytest.approx(25, abs=1)
    # letting go is the end of it
    ActionChains(page).move_to_element_with_offset(stage, -quarter, 0).perform()
    assert divider_at(page) == pytest.approx(75, abs=1)


def test_each_side_of_the_divider_shows_its_own_version(page: Chrome) -> None:
    Select(by_id(page, "view-right")).select_by_visible_text("x265 (medium, whole-sequence GOP)")
    divider = by_id(page, "divider")
    for key, at in ((Keys.PAGE_UP, 60), (Keys.PAGE_DOWN, 50)):
        divider.send_keys(key)
        shown = pixels(by_id(page, "stage").screenshot_as_png)
        row = shown[shown.shape[0] // 4]  # below the names, above the knob
        edge = shown.shape[1] * at // 100
        # the made-up frames have their green channel from their codec: vidtwin 0, x265 200
        assert row[10 : edge - 8, 1].max() < 20
        assert row[edge + 8 : -10, 1].min() > 180


def test_the_divider_is_a_slider_for_the_keyboard(page: Chrome) -> None:
    divider = by_id(page, "divider")
    assert divider.get_attribute("role") == "slider"
    divider.send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert divider_at(page) == 48
    divider.send_keys(Keys.PAGE_UP)
    assert divider_at(page) == 58
    divider.send_keys(Keys.END, Keys.ARROW_RIGHT)
    assert divider_at(page) == 100
    divider.send_keys(Keys.HOME)
    assert divider_at(page) == 0
    assert "0 %" in (divider.get_attribute("aria-valuetext") or "")


def test_focus_is_reached_by_tab_and_can_be_seen(page: Chrome) -> None:
    by_id(page, "view-right").send_keys(Keys.TAB)
    assert ask(page, "document.activeElement.id") == "divider"
    knob = page.find_element(By.CSS_SELECTOR, "#divider span")
    assert knob.value_of_css_property("outline-style") == "solid"
    by_id(page, "divider").send_keys(Keys.TAB)
    assert ask(page, "document.activeElement.id") == "frame"


def test_any_two_versions_and_every_frame_can_be_shown(page: Chrome) -> None:
    left, right = Select(by_id(page, "view-left")), Select(by_id(page, "view-right"))
    assert left.first_selected_option.text == "vidtwin"
    assert len(left.options) == 6
    before = by_id(page, "image-right").get_attribute("src")
    right.select_by_visible_text("x265 (medium, closed 16-frame GOPs)")
    assert by_id(page, "image-right").get_attribute("src") != before
    assert "x265" in by_id(page, "facts-right").text
    assert "2.0 kB, 1.00 × vidtwin’s bytes" in by_id(page, "facts-right").text
    assert "PSNR" in by_id(page, "facts-left").text
    seen = set()
    by_id(page, "frame").send_keys(Keys.HOME)
    for _ in range(3):
        seen.add(by_id(page, "image-left").get_attribute("src"))
        seen.add(by_id(page, "frame-name").text)
        by_id(page, "frame").send_keys(Keys.ARROW_RIGHT)
    assert len(seen) == 6
    assert ask(page, "[...document.querySelectorAll('#stage img')].every(i => i.complete && i.naturalWidth === 96)")


def test_hovering_a_point_reads_it(page: Chrome) -> None:
    plot = shown_plots(page)[0]
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    dot = plot.find_element(By.CSS_SELECTOR, ".x265 .dot")
    assert not by_id(page, "tip").is_displayed()
    ActionChains(page).move_to_element(dot).perform()
    tip = by_id(page, "tip")
    assert tip.is_displayed()
    assert tip.text.splitlines() == ["x265", *(dot.get_attribute("data-text") or "").split("|")]
    ActionChains(page).move_to_element(page.find_element(By.TAG_NAME, "h1")).perform()
    assert not tip.is_displayed()


def test_plots_can_be_read_by_keyboard(page: Chrome) -> None:
    plot = shown_plots(page)[0]
    plot.send_keys(Keys.ARROW_LEFT)
    first = by_id(page, "tip").text
    assert first.startswith("vidtwin")
    plot.send_keys(Keys.ARROW_UP)
    assert by_id(page, "tip").text.startswith("x265")
    plot.send_keys(Keys.ARROW_DOWN, Keys.ARROW_LEFT)
    assert by_id(page, "tip").text.startswith("vidtwin")
    assert by_id(page, "tip").text != first
    plot.send_keys(Keys.ESCAPE)
    assert not by_id(page, "tip").is_displayed()


def test_clip_and_way_choose_the_plots(page: Chrome) -> None:
    assert len(shown_plots(page)) == 3
    caption = page.find_element(By.CSS_SELECTOR, "figure.curves:not([hidden]) figcaption")
    assert "All 2 clips" in caption.text
    Select(by_id(page, "clip")).select_by_visible_text("two.mp4")
    page.find_element(By.CSS_SELECTOR, "input[value=medium-clip]").click()
    caption = page.find_element(By.CSS_SELECTOR, "figure.curves:not([hidden]) figcaption")
    assert caption.text.startswith("two.mp4")
    assert "closed 16-frame GOPs" in caption.text
    # the viewer goes along
    assert Select(by_id(page, "view-clip")).first_selected_option.text == "two.mp4"


def test_a_phone_in_the_dark(report: str, tmp_path: Path) -> None:
    with open_browser(tmp_path / "phone", width=390, height=844, dark=True) as phone:
        phone.get(report)
        assert ask(phone, "document.documentElement.scrollWidth") == 390
        assert ask(phone, "getComputedStyle(document.body).backgroundColor") == "rgb(20, 21, 23)"
        # nothing one has to hit is smaller than a fingertip, and labels of plots are not shrunk
        assert by_id(phone, "divider").rect["width"] >= 40
        assert ask(phone, "document.querySelector('figure:not([hidden]) .plot').getScreenCTM().a") > 0.8
        stage = by_id(phone, "stage")
        phone.execute_script("arguments[0].scrollIntoView({block: 'center'})", stage)
        at = {"x": round(stage.rect["width"] * 0.2 + 16), "y": ask(phone, "innerHeight / 2")}
        for kind, points in (("touchStart", [at]), ("touchEnd", [])):
            phone.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        assert divider_at(phone) == pytest.approx(20, abs=3)
        assert phone.get_log("browser") == []


def test_tables_show_where_there_is_more_to_scroll_to(report: str, tmp_path: Path) -> None:
    with open_browser(tmp_path / "narrow", width=390) as narrow:
        narrow.get(report)
        table = narrow.find_element(By.CSS_SELECTOR, "#deltas ~ .scroll")

        def edge(side: int) -> int:
            """How dark the last row is at a side, below its text."""
            shown = pixels(table.screenshot_as_png)
            return 255 - int(shown[-6, side].mean())

        assert edge(-1) > edge(1) + 20, "more to the right"
        narrow.execute_script("arguments[0].scrollLeft = arguments[0].scrollWidth", table)
        assert edge(1) > edge(-1) + 20, "more to the left"


def test_without_scripts_everything_but_the_viewer_is_there(report: str, tmp_path: Path) -> None:
    with open_browser(tmp_path / "bare") as bare:
        bare.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        bare.get(report)
        text = bare.find_element(By.TAG_NAME, "main").text
        assert "beats vidtwin" in text
        assert len([plot for plot in bare.find_elements(By.CSS_SELECTOR, ".plot") if plot.is_displayed()]) == 18
        assert not by_id(bare, "viewer").is_displayed()
        assert "needs JavaScript" in text

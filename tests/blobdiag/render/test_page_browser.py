"""The page in a real browser: headless Chromium, driven by selenium."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sick_runs import SICK

from blobdiag.model.report_files import read_report
from blobdiag.render.html import page

webdriver = pytest.importorskip("selenium.webdriver", reason="needs the extra `browser`: selenium")
if not (shutil.which("chromium") and shutil.which("chromedriver")):
    pytest.skip("needs chromium and chromedriver", allow_module_level=True)

By = pytest.importorskip("selenium.webdriver.common.by").By
GAP = SICK["idle-gap-between-phases"]["between self-play and training"].report()
VERDICT = "no idle gap: 2.8 s between self-play and training, in which the parent saved the weights"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(GAP.model_copy(update={"verdict_text": VERDICT})), "utf-8")
    return path.as_uri()


def _open(browser: Any, address: str, width: int, script: bool = True) -> None:
    size = {"width": width, "height": 640, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not script})
    browser.get(address)


@pytest.mark.parametrize("width", [360, 1280])
def test_the_verdict_is_in_the_first_screen_and_nothing_is_cut_off(
    browser: Any, address: str, width: int
) -> None:
    _open(browser, address, width)
    header = browser.find_element(By.TAG_NAME, "header")
    assert VERDICT in header.text
    assert header.rect["y"] + header.rect["height"] < 640
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    [timeline] = [e for e in browser.find_elements(By.CSS_SELECTOR, "#timeline svg") if _seen(e)]
    assert "SM activity" in timeline.text  # which line is which, also where it is narrow
    letters = timeline.find_elements(By.TAG_NAME, "text")[0]
    assert letters.rect["height"] >= 11  # pixels: not shrunk with the page


def _seen(element: Any) -> bool:
    return bool(element.rect["width"] > 0)


def test_no_error_and_no_request_but_for_the_page(browser: Any, address: str) -> None:
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    _open(browser, address, 1280)
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert address in requests
    assert {url for url in requests if not url.startswith("data:")} == {address}


@pytest.mark.parametrize("width", [360, 1280])
def test_values_are_read_off_by_pointer_and_keys(browser: Any, address: str, width: int) -> None:
    _open(browser, address, width)
    [svg] = [e for e in browser.find_elements(By.CSS_SELECTOR, "#timeline svg") if _seen(e)]
    [gap] = GAP.idle_gaps
    across = svg.rect["width"] / float(svg.get_dom_attribute("viewBox").split()[2])
    left, right, end = (float(svg.get_dom_attribute(f"data-{n}")) for n in ("left", "right", "end"))
    x = across * (left + (right - left) * (gap.start_s + gap.end_s) / 2 / end)
    webdriver.ActionChains(browser).move_to_element_with_offset(
        svg, round(x - svg.rect["width"] / 2), 0
    ).perform()
    readout = browser.find_element(By.CSS_SELECTOR, ".readout")
    assert "GPU 0 utilisation 0 %" in readout.text
    assert "GPU 0 VRAM 7.96 GiB" in readout.text

    chart = browser.find_element(By.ID, "timeline")
    chart.send_keys(webdriver.Keys.HOME)
    assert readout.text.startswith("0.0 s · start-up")
    before = float(chart.get_attribute("aria-valuenow"))
    chart.send_keys(webdriver.Keys.ARROW_RIGHT)
    assert float(chart.get_attribute("aria-valuenow")) > before
    assert "GPU 0 utilisation" in chart.get_attribute("aria-valuetext")


def test_without_its_script_the_page_says_the_same(browser: Any, address: str) -> None:
    _open(browser, address, 1280, script=False)
    [svg] = [e for e in browser.find_elements(By.CSS_SELECTOR, "#timeline svg") if _seen(e)]
    assert "self-play" in svg.text
    assert not browser.find_element(By.CSS_SELECTOR, ".readout").is_displayed()
    browser.find_element(By.TAG_NAME, "summary").click()
    assert "GPU 0 utilisation" in browser.find_element(By.CSS_SELECTOR, "details table").text


REAL = sorted((Path(__file__).parents[3] / "reports").glob("*/*-iteration-*.json"))


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_pages_of_real_iterations(browser: Any, tmp_path: Path, path: Path, width: int) -> None:
    report = read_report(path)
    shown = tmp_path / "report.html"
    shown.write_text(page(report), "utf-8")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    _open(browser, shown.as_uri(), width)
    assert browser.get_log("browser") == []
    header = browser.find_element(By.TAG_NAME, "header")
    assert " ".join(report.verdict_text.split()) in " ".join(header.text.split())
    assert header.rect["y"] + header.rect["height"] < 640
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    if report.training is not None:
        curves = [e for e in browser.find_elements(By.CSS_SELECTOR, "svg") if _seen(e)]
        assert any("Points a deal ahead of: rules" in curve.text for curve in curves)


def test_it_is_dark_where_that_is_preferred_and_prints_light(browser: Any, address: str) -> None:
    def lightness(media: str, scheme: str) -> float:
        preferred = [{"name": "prefers-color-scheme", "value": scheme}]
        emulated = {"media": media, "features": preferred}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", emulated)
        colour = browser.execute_script(
            "return getComputedStyle(document.documentElement).backgroundColor"
        )
        return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3

    _open(browser, address, 1280)
    try:
        assert lightness("screen", "dark") < 60 < 200 < lightness("screen", "light")
        assert lightness("print", "dark") > 200
        width = browser.execute_script("return document.documentElement.scrollWidth")
        assert width <= 1280
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})

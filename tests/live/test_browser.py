"""The operator's page in a real browser: it follows the line, fits a phone, and does what its buttons say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.chromium import CHROMIUM, Chromium
from edge_resad.device.pipeline import Inspection
from edge_resad.recipe import Shelf
from tests.device.test_operator_side import running, station_file
from tests.live.served import BAD, GOOD, Line, served
from tests.mqtt_peers import eventually
from tests.products import stocked

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
]


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with Line(tmp_path) as line:
        yield line


@pytest.fixture
def browser() -> Iterator[Chromium]:
    with Chromium() as browser:
        yield browser
        assert browser.complaints() == []


def test_the_page_follows_the_line(line: Line, browser: Chromium) -> None:
    with served(line.socket) as address:
        browser.open(address)
        browser.until("document.querySelector('h1').innerText === 'NO PART YET'")
        line.judge(GOOD)
        browser.until("document.querySelector('h1').innerText === 'PASS'")
        line.judge(BAD)
        browser.until("document.querySelector('h1').innerText === 'FAIL'")
        browser.until("document.querySelector('.rejects img')?.naturalWidth > 0")
        line.judge(None)
        browser.until("document.querySelector('h1').innerText === 'NOT INSPECTED'")
        assert "Not inspected: 1 picture black" in browser.text("#figures")
        line.board.set_faults({"cam0": ("blurred",)})
        browser.until("document.querySelector('#notices').innerText.includes('Clean the lens')")
        browser.until("document.querySelector('.lights .amber')")
        assert all(asked.startswith((address, "about:")) for asked in browser.addresses())


def test_the_word_is_large_enough_to_be_read_from_across_the_room(line: Line, browser: Chromium) -> None:
    line.judge(GOOD)
    with served(line.socket) as address:
        browser.open(address)
        tall = browser.run("parseFloat(getComputedStyle(document.querySelector('h1')).fontSize)")
    assert tall >= 120  # pixels of a screen 1280 wide: a sixth of its height


@pytest.mark.parametrize("width", [320, 412, 768, 1000, 1280, 1920])
def test_no_word_is_wider_than_its_panel(line: Line, width: int) -> None:
    too_wide = (
        "['h1', '.why', '.about'].map(s => document.querySelector(s)).some(e => e && e.scrollWidth > e.clientWidth)"
    )
    with Chromium(width=width, height=800) as browser, served(line.socket) as address:
        browser.open(address)
        for score, word in ((None, "NOT INSPECTED"), (GOOD, "PASS"), (BAD, "FAIL")):
            line.judge(score)
            browser.until(f"document.querySelector('h1').innerText === '{word}'")
            assert not browser.run(too_wide), word
        line.bypass.begin("a-reason-without-a-single-space-" * 6)
        line.board.touch()
        browser.until("document.querySelector('h1').innerText === 'BYPASS'")
        assert not browser.run(too_wide)


@pytest.mark.parametrize("width", [320, 360, 412, 768])
def test_the_page_fits_a_phone_and_its_buttons_a_thumb(line: Line, width: int) -> None:
    for score in (GOOD, BAD, BAD, None):
        line.judge(score)
    line.board.set_product("cam0", "a-product-with-a-rather-long-name-that-goes-on@12")
    with Chromium(width=width, height=740, mobile=True) as browser, served(line.socket) as address:
        browser.open(address)
        assert browser.run("document.documentElement.scrollWidth") <= width
        small = "[...document.querySelectorAll('button')].filter(b => b.getBoundingClientRect().height < 40).length"
        assert browser.run(small) == 0
        assert browser.run("document.querySelector('h1').getBoundingClientRect().bottom") < 740


def test_a_bypass_is_asked_for_with_a_reason_and_ended(line: Line, browser: Chromium) -> None:
    line.judge(GOOD)
    with served(line.socket) as address:
        browser.open(address)
        browser.click("form[action='do/bypass'] button")  # without a reason nothing is sent
        browser.type("#reason", "lamp <b>7</b>")
        browser.click("form[action='do/bypass'] button")
        browser.until("document.querySelector('h1').innerText === 'BYPASS'")
        assert line.bypass.now is not None
        assert line.bypass.now.reason == "lamp <b>7</b>"
        assert browser.text(".verdict .why") == "lamp <b>7</b>"
        browser.until("document.querySelector('#told').innerText.includes('without inspection')")
        browser.click("form[action='do/resume'] button")
        browser.until("document.querySelector('h1').innerText === 'PASS'")
    assert line.bypass.now is None


def test_a_button_under_a_finger_is_pressed_although_what_is_around_it_changes(line: Line, browser: Chromium) -> None:
    with served(line.socket) as address:
        browser.open(address)
        with browser.pressing("form[action='do/clear'] button"):
            line.judge(BAD)
            browser.until("document.querySelector('h1').innerText === 'FAIL'")
            assert browser.text("form[action='do/acknowledge']") == "Seen: 0 new"
        browser.until("document.querySelector('#told').innerText.includes('begin at zero')")
        browser.until("document.querySelector('form[action=\"do/acknowledge\"]').innerText.includes('1 new')")


def test_no_button_slips_away_when_something_happens(line: Line, browser: Chromium) -> None:
    where = (
        "JSON.stringify([...document.querySelectorAll('.actions button')]"
        ".map(b => [b.closest('form').getAttribute('action'), b.getBoundingClientRect().top + scrollY]))"
    )
    line.judge(GOOD)
    with served(line.socket) as address:
        browser.open(address)
        browser.until("document.querySelector('h1').innerText === 'PASS'")
        before = browser.run(where)
        assert "do/bypass" in before
        line.judge(BAD)
        browser.until("document.querySelector('.rejects img')?.naturalWidth > 0")
        browser.until("document.querySelector('form[action=\"do/acknowledge\"]').innerText.includes('1 new')")
        line.judge(None)
        line.board.set_faults({"cam0": ("blurred", "dark")})
        browser.until("document.querySelector('#notices').innerText.includes('Clean the lens')")
        browser.click("form[action='do/clear'] button")
        browser.until("document.querySelector('#told').innerText.includes('begin at zero')")
        assert browser.run(where) == before


def test_one_tap_marks_a_false_reject(line: Line, browser: Chromium) -> None:
    line.judge(BAD)
    with served(line.socket) as address:
        browser.open(address)
        browser.click("form[action='do/label'] button")
        browser.until("document.querySelector('.rejects .label')?.innerText === 'marked as a false reject'")
    assert json.loads(line.labels.read_text())["frame_id"] == 0


def test_a_product_is_chosen_and_the_line_changes_over(tmp_path: Path, browser: Chromium) -> None:
    shelf = Shelf(tmp_path / "products")
    for name in ("cap", "flange"):
        stocked(shelf, name)
    shelf.use(shelf.find("flange"))
    with Line(tmp_path, shelf=shelf) as line, served(line.socket) as address:
        browser.open(address)
        assert browser.run("document.querySelector('#use').value") == "flange@1"
        browser.run("document.querySelector('#use').value = 'cap@1'")
        browser.click("form[action='do/product'] button")
        browser.until("document.querySelector('#told').innerText.includes('changes with the next part')")
    assert str(shelf.in_use()) == "cap@1"


def test_a_station_that_goes_and_comes_back_is_shown(tmp_path: Path) -> None:
    with Chromium() as browser, served(tmp_path / "control.sock") as address:
        browser.open(address)
        browser.until("document.querySelector('h1').innerText === 'NO STATION'")
        with Line(tmp_path) as line:
            line.judge(GOOD)
            browser.until("document.querySelector('h1').innerText === 'PASS'")
            browser.until("document.querySelector('form[action=\"do/bypass\"]')")
        browser.until("document.querySelector('h1').innerText === 'NO STATION'")
        assert not browser.run("Boolean(document.querySelector('form'))")


def test_a_page_whose_program_has_ended_says_that_what_it_shows_is_old(line: Line) -> None:
    with Chromium() as browser:
        with served(line.socket) as address:
            browser.open(address)
            browser.until("document.body.dataset.shown")
        browser.until("!document.querySelector('#lost').hidden")
        assert "what it shows is old" in browser.text("#lost")


def test_without_scripts_the_page_says_the_same(line: Line) -> None:
    line.judge(BAD)
    with Chromium() as browser, served(line.socket) as address:
        browser.send("Emulation.setScriptExecutionDisabled", value=True)
        browser.send("Page.navigate", url=address)
        browser.until("document.querySelector('h1')?.innerText === 'FAIL'")
        browser.until("document.querySelector('#figures').innerText.includes('failed')")


def test_a_whole_station_its_page_and_a_browser(tmp_path: Path) -> None:
    seen = list[Inspection]()
    with (
        running(station_file(tmp_path), seen=seen.append),
        served(tmp_path / "control.sock", answers_within_s=60.0) as address,
        Chromium() as browser,
    ):
        browser.open(address)
        browser.until("['PASS', 'FAIL'].includes(document.querySelector('h1').innerText)")
        browser.until("document.querySelector('.rejects img')?.naturalWidth > 0")
        browser.type("#reason", "new lamp")
        browser.click("form[action='do/bypass'] button")
        browser.until("document.querySelector('h1').innerText === 'BYPASS'")
        assert eventually(lambda: seen[-1].not_inspected == "bypassed")
        browser.until("document.querySelector('.reasons')?.innerText.includes('bypass')")
        browser.click("form[action='do/resume'] button")
        assert eventually(lambda: seen[-1].verdict is not None)
        browser.click("form[action='do/self-test'] button")
        told = "document.querySelector('#told').innerText === 'The engine computes what it should.'"
        browser.until(told, within_s=60.0)
        # A picture may be none of the last ones any more when the browser asks for it.
        assert [said for said in browser.complaints() if "/reject/" not in said] == []

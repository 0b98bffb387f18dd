"""The shot page in a real browser: every frame that it says it shows is the one it shows, however it is shown."""

import json
from pathlib import Path
from typing import Any

import pytest
from pages import Visitor

from dubbing.decisions import DecisionLog

pytestmark = pytest.mark.xdist_group("review page")
KEY = ("film", "hi", "shot_0002")  # frames 12 to 83


def test_every_step_shows_the_frame_that_it_names_on_both_sides(ana: Visitor) -> None:
    page = ana.shot(*KEY)
    frame = 12
    assert ana.bars() == (12, [12, 12])
    steps = [".", ".", "ArrowRight", ",", "Shift+ArrowRight", ".", "End", ".", "ArrowLeft", "Home", ","]
    moves = [1, 1, 1, -1, 10, 1, 0, 1, -1, 0, -1]
    for key, by in zip(steps, moves, strict=True):
        frame = {"End": 83, "Home": 12}.get(key, frame + by)
        frame = min(83, frame)  # the film ends with the shot
        page.keyboard.press(key)
        ana.at(frame)
        assert ana.bars() == (frame, [frame, frame]), key
    assert page.inner_text("#frame") == "11" and page.inner_text("#frame-of") == "before the shot"
    assert page.inner_text("#timecode") == "01:00:00:11"
    for _ in range(9):  # faster than frames can be sought
        page.keyboard.press(".")
    ana.at(20)
    assert ana.bars() == (20, [20, 20])


def test_while_it_plays_what_is_drawn_is_what_is_named_and_the_loop_holds(ana: Visitor) -> None:
    page = ana.shot(*KEY)
    page.keyboard.press("End")
    ana.at(83)
    page.keyboard.press("Space")
    seen = []
    drawn = 83
    for _ in range(12):
        ana.moved(drawn)
        drawn, bars = ana.bars()
        assert bars == [drawn, drawn]
        seen.append(drawn)
    page.keyboard.press("k")
    assert len(set(seen)) > 4 and min(seen) >= 12 and seen[1] < 83, seen
    page.wait_for_selector('#play[data-now="play"]')
    ana.pictures(20)
    still = ana.bars()
    ana.pictures(20)
    assert ana.bars() == still
    page.keyboard.press("j")
    ana.moved(still[0])
    page.keyboard.press("k")
    ana.pictures(20)
    drawn, bars = ana.bars()
    assert bars == [drawn, drawn] and drawn != still[0]


def test_wipe_flicker_difference_and_zoom_are_drawn_of_the_same_frame(ana: Visitor) -> None:
    page = ana.shot(*KEY)
    page.keyboard.press("Shift+ArrowRight")
    ana.at(22)
    page.keyboard.press("2")
    for _ in range(15):
        page.keyboard.press("[")
    assert page.inner_text("#adjust-value") == "0 %"
    assert ana.bars() == (22, [22])  # B alone
    page.keyboard.press("3")
    page.keyboard.press("x")
    assert ana.bars() == (22, [22])
    page.keyboard.press("4")
    assert ana.bars() == (22, [0])  # the bars are alike on both sides: black
    bright = page.evaluate("""() => {
      const c = document.querySelector("#picture");
      const r = JSON.parse(c.dataset.rects).find((r) => r.region === "mouth");
      const k = c.width / c.clientWidth;
      const d = c.getContext("2d").getImageData(r.x * k, r.y * k, r.w * k, r.h * k).data;
      let n = 0;
      for (let i = 0; i < d.length; i += 4) if (d[i] + d[i + 1] + d[i + 2] > 60) n += 1;
      return n / (d.length / 4);
    }""")
    assert bright > 0.02  # the mouth is not alike
    page.keyboard.press("m")
    page.keyboard.press("m")
    regions = {r["region"] for r in json.loads(page.get_attribute("#picture", "data-rects"))}
    assert regions == {"mouth"}
    assert page.get_attribute('[data-mode="difference"]', "aria-pressed") == "true"


def test_single_letters_can_be_turned_off(ana: Visitor, reviewed: Path) -> None:
    page = ana.shot(*KEY)
    page.keyboard.press("?")
    page.uncheck("#help-on")
    page.keyboard.press("Escape")
    page.wait_for_selector("#help", state="hidden")
    page.wait_for_function("() => !document.activeElement.closest('dialog')")  # the browser gives the focus back later
    page.keyboard.press("a")
    page.keyboard.press("ArrowRight")
    ana.at(13)
    assert not DecisionLog(reviewed).records()


def test_curves_overlays_and_numbers_are_there_for_the_eye_and_in_words(ana: Visitor) -> None:
    page = ana.shot(*KEY)
    page.wait_for_selector("#offset-words:has-text('dub')")
    inked = page.evaluate("""() => {
      const c = document.querySelector("#timeline");
      const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
      let n = 0;
      for (let i = 3; i < d.length; i += 4) if (d[i]) n += 1;
      return n;
    }""")
    assert inked > 5000
    before = page.evaluate("() => document.querySelector('#picture').toDataURL()")
    page.keyboard.press("b")
    page.keyboard.press("v")
    # outlines are fetched when they are first wanted
    page.wait_for_function("was => document.querySelector('#picture').toDataURL() !== was", arg=before)
    table = page.inner_text(".numbers")
    assert "LSE-D" in table and "≤ +1.5" in table and ("within" in table or "▲ over" in table)
    slider = page.locator("#timeline")
    slider.focus()
    page.keyboard.press("ArrowRight")
    ana.at(13)
    assert slider.get_attribute("aria-valuenow") == "13"
    assert "01:00:00:13" in (slider.get_attribute("aria-valuetext") or "")
    box = slider.bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] - 10, box["y"] + 60)
    ana.at(83)


def test_until_the_moving_picture_is_made_stills_are_stepped_through(ana: Visitor) -> None:
    page = ana.page
    finished = []

    def unfinished(route: Any) -> None:
        if finished:
            route.continue_()
            return
        told = route.fetch()
        route.fulfill(response=told, json={**told.json(), "state": "making", "progress": 0.4})

    page.route("**/api/proxy/**", unfinished)
    page.goto(f"{ana.base}/shot/{'/'.join(KEY)}")
    ana.at(12)
    assert ana.bars() == (12, [12, 12])
    assert "40 %" in page.inner_text("#making")
    page.keyboard.press(".")
    page.keyboard.press(".")
    ana.at(14)
    assert ana.bars() == (14, [14, 14]) and page.inner_text("#timecode") == "01:00:00:14"
    finished.append(True)
    ana.shown()
    page.wait_for_selector("#making", state="hidden")
    ana.at(14)
    assert ana.bars() == (14, [14, 14])


@pytest.mark.parametrize(("width", "height"), [(720, 450), (400, 700)])
def test_in_a_small_window_or_at_twice_the_size_nothing_is_out_of_reach(ana: Visitor, width: int, height: int) -> None:
    page = ana.page
    page.set_viewport_size({"width": width, "height": height})
    ana.shot(*KEY)
    wide = "document.documentElement.scrollWidth"
    assert page.evaluate(wide) == width
    for name in ("#matte", "#speed", "[data-sound=dub]", "[data-decide=approve]", "#do-undo", "#takes input"):
        page.locator(name).first.click(trial=True)  # fails where something else lies over it
    ana.queue()
    assert page.evaluate(wide) == width
    page.locator("#sort").click(trial=True)
    page.click("#filters")
    filters = page.locator("#facets input:visible")
    filters.first.check()
    page.wait_for_selector("#chips button")
    page.click("#filters")
    assert filters.count() == 0 and page.get_attribute("#filters", "aria-expanded") == "false"
    page.set_viewport_size({"width": 1440, "height": 900})


def test_a_video_that_was_left_is_let_go_with_its_sound(ana: Visitor) -> None:
    """An hour of review plays hundreds of them in one page."""
    ana.context.add_init_script("""
      window.connected = new Set();
      const { connect, disconnect } = AudioNode.prototype;
      AudioNode.prototype.connect = function (...to) { connected.add(this); return connect.apply(this, to); };
      AudioNode.prototype.disconnect = function (...to) { connected.delete(this); return disconnect.apply(this, to); };
    """)
    page = ana.shot(*KEY)
    page.keyboard.press("Space")
    page.wait_for_function("connected.size > 0")
    one = page.evaluate("connected.size")
    for _ in range(2):
        page.keyboard.press("k")
        page.evaluate("() => delete document.documentElement.dataset.shown")
        page.keyboard.press("y")  # other sides: another video
        ana.shown()
        page.keyboard.press("Space")
        page.wait_for_selector('#play[data-now="pause"]')  # plays
    assert page.evaluate("connected.size") == one


def test_another_shot_shows_nothing_of_the_last_one_while_it_is_loaded(ana: Visitor) -> None:
    page = ana.shot("film", "hi", "shot_0001")
    page.wait_for_selector("#timeline[data-state='drawn']")
    page.wait_for_selector("#previous:not([disabled])")
    held: list[Any] = []
    page.route("**/api/shot/**", lambda route: held.append(route))  # as on a slow machine
    page.keyboard.press("p")
    page.wait_for_selector("aside[aria-busy='true']")
    assert page.inner_text("#where-shot") == "shot 0002" and page.inner_text("#offset-words") == ""
    assert page.get_attribute("#timeline", "data-state") == "reading"
    for route in held:
        route.continue_()
    page.unroute("**/api/shot/**")
    page.wait_for_selector("aside:not([aria-busy])")
    ana.shown()
    page.wait_for_selector("#timeline[data-state='drawn']")
    page.wait_for_selector("#offset-words:has-text('dub')")

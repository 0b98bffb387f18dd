"""The shot page in a real browser: every frame it says it shows is the one it shows, and what is decided is kept."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from films import Finished
from pages import Visitor, browser, served

from dubbing.decisions import FILE, DecisionLog

pytestmark = pytest.mark.xdist_group("review page")
KEY = ("film", "hi", "shot_0002")  # frames 12 to 83
NOTHING_NEW = {"log_seq": 0, "shots": [], "reruns": [], "tables": "", "tables_changed": False, "more": False}


@pytest.fixture(scope="module")
def out(numbered: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that may be written to."""
    return shutil.copytree(numbered.out, tmp_path_factory.mktemp("page") / "out")


@pytest.fixture(scope="module")
def url(out: Path) -> Iterator[str]:
    with served(out) as at:
        yield at


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture
def ana(chromium: Any, url: str, out: Path) -> Iterator[Visitor]:
    """A reviewer of shots that nobody has decided on yet."""
    (out / FILE).unlink(missing_ok=True)
    visitor = Visitor(chromium, url)
    yield visitor
    visitor.end()


def kinds(out: Path) -> list[str]:
    return [r.kind for r in DecisionLog(out).records()]


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
    for _ in range(12):
        page.wait_for_timeout(120)
        drawn, bars = ana.bars()
        assert bars == [drawn, drawn]
        seen.append(drawn)
    page.keyboard.press("k")
    assert len(set(seen)) > 4 and min(seen) >= 12 and seen[1] < 83, seen
    page.wait_for_selector('#play[data-now="play"]')
    still = ana.bars()
    page.wait_for_timeout(300)
    assert ana.bars() == still
    page.keyboard.press("j")
    page.wait_for_timeout(600)
    page.keyboard.press("k")
    page.wait_for_timeout(300)
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


def test_a_verdict_by_key_is_kept_and_taken_back(ana: Visitor, out: Path) -> None:
    page = ana.shot(*KEY)
    take = json.loads(page.evaluate("async () => (await fetch('/api/shot/film/hi/shot_0002')).text()"))["takes"][0][
        "id"
    ]
    page.keyboard.press("a")
    page.wait_for_selector("#verdict.approved")
    assert "approved · Ana" in page.inner_text("#verdict")
    record = DecisionLog(out).records()[0]
    assert (record.kind, record.take, record.reviewer) == ("approve", take, "Ana")
    ana.shot(*KEY)
    assert page.get_attribute('[data-decide="approve"]', "aria-pressed") == "true"
    page.keyboard.press("z")
    page.wait_for_selector("#verdict.open")
    page.keyboard.press("o")
    page.wait_for_selector("#verdict.original")
    page.keyboard.press("r")
    page.wait_for_selector("#verdict.rejected")
    assert kinds(out) == ["approve", "undo", "original", "reject"]


def test_after_a_decision_the_next_shot_comes_and_undo_goes_back(ana: Visitor, out: Path) -> None:
    page = ana.queue()
    page.keyboard.press("Enter")
    ana.shown()
    page.keyboard.press("p")
    page.wait_for_selector("text=no other shot")
    page.check("#advance")
    page.locator("#advance").blur()
    page.keyboard.press("a")
    page.wait_for_url("**/shot_0001")
    ana.shown()
    assert ana.bars() == (0, [0, 0])
    page.keyboard.press("z")
    page.wait_for_url("**/shot_0002")
    page.wait_for_selector("#verdict.open")
    assert kinds(out) == ["approve", "undo"]
    page.keyboard.press("q")
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.evaluate("() => document.activeElement.closest('.card').dataset.key") == "film/hi/shot_0002"
    assert page.inner_text("#progress-text") == "2 of 2 seen · 0 decided"


def test_a_comment_stands_at_its_frame_with_its_severity(ana: Visitor, out: Path) -> None:
    page = ana.shot(*KEY)
    page.keyboard.press("Shift+ArrowRight")
    ana.at(22)
    page.keyboard.press("c")
    page.keyboard.type("The lower lip jumps <here>")
    page.check("input[value=blocker]")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".comment.of-blocker")
    record = DecisionLog(out).records()[0]
    assert (record.frame, record.severity, record.text) == (22, "blocker", "The lower lip jumps <here>")
    ana.shot(*KEY)
    assert "The lower lip jumps <here>" in page.inner_text(".comment p")
    page.click(".comment-head .mono")
    ana.at(22)
    page.click('[aria-label="Take this comment back"]')
    page.wait_for_selector("text=None yet.")


def test_a_rerun_makes_a_take_that_is_compared_and_chosen(ana: Visitor, out: Path) -> None:
    page = ana.shot(*KEY)
    page.keyboard.press("g")
    page.fill("#setting-opening", "5")
    page.keyboard.press("Control+Enter")
    assert page.evaluate("() => document.querySelector('#setting-opening').validity.rangeOverflow")
    page.fill("#setting-opening", "1.6")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#jobs .job")
    page.wait_for_selector(".toast:has-text('New: take 2')", timeout=45_000)
    page.keyboard.press("u")
    page.wait_for_selector('.take.looked-at:has-text("opening 1.6")')
    ana.shown()
    page.wait_for_selector("#making", state="hidden")
    page.keyboard.press(".")
    ana.at(13)
    assert ana.bars() == (13, [13, 13])
    assert "take 2" in page.get_attribute("#picture", "aria-label")
    assert page.inner_text("#numbers-of").startswith("of take 2")
    page.keyboard.press("t")
    page.wait_for_selector(".take:has-text('opening 1.6') .tag:has-text('chosen')")
    chosen = DecisionLog(out).records()[-1]
    assert chosen.kind == "choose" and chosen.generator == {"name": "rewrite", "opening": 1.6}
    ana.shot(*KEY)
    assert page.inner_text(".tag:has-text('chosen')") == "chosen"


def test_two_reviewers_at_once_lose_nothing(ana: Visitor, chromium: Any, url: str, out: Path) -> None:
    page = ana.shot(*KEY)
    page.route("**/api/changes*", lambda r: r.fulfill(json=NOTHING_NEW))  # she hears of nothing
    ben = Visitor(chromium, url, "Ben")
    try:
        other = ben.shot(*KEY)
        other.keyboard.press("r")
        other.wait_for_selector("#verdict.rejected")
        page.keyboard.press("a")
        page.wait_for_selector("#conflict:not([hidden])")
        told = page.inner_text("#conflict")
        assert "Ben has rejected meanwhile" in told and "rejected by Ben" in told and "not recorded" in told
        assert "rejected · Ben" in page.inner_text("#verdict") and kinds(out) == ["reject"]
        page.click("#conflict >> text=Approve all the same")
        page.wait_for_selector("#verdict.approved")
        other.wait_for_selector("#verdict.approved")  # he is told, without asking
        assert "Ana: approved." in other.inner_text("#notices")
        assert kinds(out) == ["reject", "approve"]
    finally:
        ben.end()


def test_the_name_is_asked_once_and_nothing_is_decided_without(ana: Visitor, out: Path) -> None:
    page = ana.shot(*KEY)
    page.evaluate("() => localStorage.removeItem('dub.reviewer')")
    page.keyboard.press("a")
    page.wait_for_selector("#name[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("#name", state="hidden")
    assert kinds(out) == []
    page.keyboard.press("a")
    page.fill("#name-input", "Chandra")
    page.keyboard.press("Enter")
    page.wait_for_selector("#verdict.approved")
    page.keyboard.press("r")
    page.wait_for_selector("#verdict.rejected")
    assert [r.reviewer for r in DecisionLog(out).records()] == ["Chandra", "Chandra"]


def test_the_sheet_lists_keys_and_they_can_be_turned_off(ana: Visitor, out: Path) -> None:
    page = ana.shot(*KEY)
    page.keyboard.press("?")
    listed = set(page.locator("#help-keys kbd").all_inner_texts())
    assert listed >= {*"jklsmhbvfnpqaorgctzyux1234,.[]-=?", "Space", "←", "→", "Home", "End"}
    page.uncheck("#help-on")
    page.keyboard.press("Escape")
    page.wait_for_selector("#help", state="hidden")
    page.keyboard.press("a")
    page.keyboard.press("ArrowRight")
    ana.at(13)
    assert kinds(out) == []


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
    assert page.evaluate("() => document.querySelector('#picture').toDataURL()") != before
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

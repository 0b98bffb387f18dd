"""Deciding on the shot page in a real browser: what is said is kept, taken back, and never lost between two people."""

import json
from pathlib import Path
from typing import Any

import pytest
from pages import Visitor

from dubbing.decisions import DecisionLog

pytestmark = pytest.mark.xdist_group("review page")
KEY = ("film", "hi", "shot_0002")  # frames 12 to 83
NOTHING_NEW = {"log_seq": 0, "shots": [], "reruns": [], "tables": "", "tables_changed": False, "more": False}


def kinds(out: Path) -> list[str]:
    return [r.kind for r in DecisionLog(out).records()]


def test_a_verdict_by_key_is_kept_and_taken_back(ana: Visitor, reviewed: Path) -> None:
    page = ana.shot(*KEY)
    take = json.loads(page.evaluate("async () => (await fetch('/api/shot/film/hi/shot_0002')).text()"))["takes"][0][
        "id"
    ]
    page.keyboard.press("a")
    page.wait_for_selector("#verdict.approved")
    assert "approved · Ana" in page.inner_text("#verdict")
    record = DecisionLog(reviewed).records()[0]
    assert (record.kind, record.take, record.reviewer) == ("approve", take, "Ana")
    ana.shot(*KEY)
    assert page.get_attribute('[data-decide="approve"]', "aria-pressed") == "true"
    page.keyboard.press("z")
    page.wait_for_selector("#verdict.open")
    page.keyboard.press("o")
    page.wait_for_selector("#verdict.original")
    page.keyboard.press("r")
    page.keyboard.press("2")
    page.keyboard.press("6")
    page.keyboard.press("1")
    page.keyboard.press("1")  # and off again
    page.keyboard.press("Enter")
    page.wait_for_selector("#verdict.rejected")
    assert kinds(reviewed) == ["approve", "undo", "original", "reject"]
    assert DecisionLog(reviewed).records()[-1].reasons == ("jaw", "seam")
    assert "rejected this (jaw, seam)" in page.inner_text("#stand")


def test_after_a_decision_the_next_shot_comes_and_undo_goes_back(ana: Visitor, reviewed: Path) -> None:
    page = ana.queue()
    page.keyboard.press("Enter")
    ana.shown()
    page.keyboard.press("p")
    page.wait_for_selector("text=no other shot")
    page.check("#advance")
    page.locator("#advance").blur()
    page.keyboard.press("a")
    page.wait_for_url("**/shot_0001*")
    ana.shown()
    assert ana.bars() == (0, [0, 0])
    page.keyboard.press("z")
    page.wait_for_url("**/shot_0002*")
    page.wait_for_selector("#verdict.open")
    assert kinds(reviewed) == ["approve", "undo"]
    page.keyboard.press("q")
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.evaluate("() => document.activeElement.closest('.card').dataset.key") == "film/hi/shot_0002"
    assert page.inner_text("#progress-text") == "2 of 2 seen · 0 decided"


def test_a_comment_stands_at_its_frame_with_its_severity(ana: Visitor, reviewed: Path) -> None:
    page = ana.shot(*KEY)
    page.keyboard.press("Shift+ArrowRight")
    ana.at(22)
    page.keyboard.press("c")
    page.keyboard.type("The lower lip jumps <here>")
    page.check("input[value=blocker]")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".comment.of-blocker")
    record = DecisionLog(reviewed).records()[0]
    assert (record.frame, record.severity, record.text) == (22, "blocker", "The lower lip jumps <here>")
    ana.shot(*KEY)
    assert "The lower lip jumps <here>" in page.inner_text(".comment p")
    page.click(".comment-head .mono")
    ana.at(22)
    page.click('[aria-label="Take this comment back"]')
    page.wait_for_selector("text=None yet.")


def test_a_rerun_that_runs_is_cancelled_on_its_line(ana: Visitor, reviewed: Path) -> None:
    page = ana.shot(*KEY)
    page.keyboard.press("g")
    page.fill("#setting-opening", "1.4")
    page.keyboard.press("Control+Enter")
    page.click('#jobs .job [aria-label^="Cancel: Rendering"]')
    page.wait_for_selector("#jobs .job:has-text('cancelled · by Ana')")
    assert not page.query_selector("#jobs .job button")
    page.wait_for_selector("#jobs", state="hidden")
    takes = page.evaluate("async () => (await (await fetch('/api/shot/film/hi/shot_0002')).json()).takes.length")
    assert takes == 1 and kinds(reviewed) in ([], ["rerun"])


def test_a_rerun_makes_a_take_that_is_compared_and_chosen(ana: Visitor, reviewed: Path) -> None:
    page = ana.shot(*KEY)
    page.keyboard.press("g")
    page.fill("#setting-opening", "5")
    page.keyboard.press("Control+Enter")
    assert page.evaluate("() => document.querySelector('#setting-opening').validity.rangeOverflow")
    page.fill("#setting-opening", "1.6")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#jobs .job")
    page.wait_for_selector(".toast:has-text('New: take 2')", timeout=180_000)
    page.keyboard.press("u")
    page.wait_for_selector('.take.looked-at:has-text("opening 1.6")')
    ana.shown()
    page.wait_for_selector("#making", state="hidden")
    page.keyboard.press(".")
    ana.at(13)
    assert ana.bars() == (13, [13, 13])
    assert "take 2" in page.get_attribute("#picture", "aria-label")
    assert page.inner_text("#numbers-of").startswith("of take 2")
    page.keyboard.press("r")  # of a take that is not delivered: said, and said what is delivered all the same
    page.keyboard.press("Enter")
    page.wait_for_selector(".toast:has-text('take 2; the delivered take stays')")
    assert page.inner_text("#stand").endswith("That was said of take 2; take 1 is delivered.")
    page.keyboard.press("t")
    page.wait_for_selector(".take:has-text('opening 1.6') .tag:has-text('chosen')")
    chosen = DecisionLog(reviewed).records()[-1]
    assert chosen.kind == "choose" and chosen.generator == {"name": "rewrite", "opening": 1.6}
    ana.shot(*KEY)
    assert page.inner_text(".tag:has-text('chosen')") == "chosen"
    assert page.inner_text("#verdict").startswith("take chosen · Ana")
    assert page.inner_text("#stand").startswith("Ana has chosen take 2, ")
    ana.queue()
    assert page.inner_text("#progress-text").endswith(" 1 decided")
    assert "take chosen · Ana" in page.inner_text('.card[data-key="film/hi/shot_0002"]')
    page.click("label.value:has-text('take chosen')")
    assert page.inner_text("#count") == "1 of 2 shots"


def test_a_choice_that_ends_what_another_decided_says_so(ana: Visitor, chromium: Any, review_url: str) -> None:
    ben = Visitor(chromium, review_url, "Ben")
    try:
        other = ben.shot(*KEY)
        other.keyboard.press("o")
        other.wait_for_selector("#verdict.original")
        page = ana.shot(*KEY)
        page.keyboard.press("t")
        page.wait_for_selector(".toast:has-text('It takes the place of “original kept” by Ben.')")
        other.wait_for_selector("#notices :text('Ana: take chosen.')")
        other.wait_for_selector("#verdict.chosen")
    finally:
        ben.end()


def test_two_reviewers_at_once_lose_nothing(ana: Visitor, chromium: Any, review_url: str, reviewed: Path) -> None:
    page = ana.shot(*KEY)
    page.route("**/api/changes*", lambda r: r.fulfill(json=NOTHING_NEW))  # she hears of nothing
    ben = Visitor(chromium, review_url, "Ben")
    try:
        other = ben.shot(*KEY)
        other.keyboard.press("r")
        other.keyboard.press("Enter")
        other.wait_for_selector("#verdict.rejected")
        page.keyboard.press("a")
        page.wait_for_selector("#conflict:not([hidden])")
        told = page.inner_text("#conflict")
        assert "Ben rejected meanwhile" in told and "rejected by Ben" in told and "not recorded" in told
        assert "rejected · Ben" in page.inner_text("#verdict") and kinds(reviewed) == ["reject"]
        page.click("#conflict >> text=Approve all the same")
        page.wait_for_selector("#verdict.approved")
        other.wait_for_selector("#verdict.approved")  # he is told, without asking
        assert "Ana: approved." in other.inner_text("#notices")
        assert kinds(reviewed) == ["reject", "approve"]
    finally:
        ben.end()


def test_the_name_is_asked_once_and_nothing_is_decided_without(ana: Visitor, reviewed: Path) -> None:
    page = ana.shot(*KEY)
    page.evaluate("() => localStorage.removeItem('dub.reviewer')")
    page.keyboard.press("a")
    page.wait_for_selector("#name[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("#name", state="hidden")
    assert kinds(reviewed) == []
    page.keyboard.press("a")
    page.fill("#name-input", "Chandra")
    page.keyboard.press("Enter")
    page.wait_for_selector("#verdict.approved")
    page.keyboard.press("r")
    page.keyboard.press("Enter")
    page.wait_for_selector("#verdict.rejected")
    assert [r.reviewer for r in DecisionLog(reviewed).records()] == ["Chandra", "Chandra"]

"""The queue page in a real browser: 2,000 shots, found, filtered, decided on together, by two people at once."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from films import Finished
from pages import Visitor

from dubbing.decisions import DecisionLog
from dubbing.shot_table import SCHEMA, read_rows, write_rows
from dubbing.store import Store
from dubbing.words import Word, write_words

pytestmark = pytest.mark.xdist_group("review page")
SHOTS = 1000  # of each of two dubs
DOT = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)


@pytest.fixture(scope="module")
def reviewed(numbered: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which the tables tell of 2,000 shots; the first two of the Hindi dub are really there."""
    made = shutil.copytree(numbered.out, tmp_path_factory.mktemp("queue") / "out")
    run = json.loads((made / "run.json").read_text("utf-8"))
    dubs = run["manifest"]["titles"][0]["dubs"]
    dubs.append({**dubs[0], "language": "ta"})
    (made / "run.json").write_text(json.dumps(run), "utf-8")
    table = made / "film" / "hi" / "shots.parquet"
    real = read_rows(table)
    said = {k.decode(): v.decode() for k, v in pq.read_schema(table).metadata.items() if k not in (b"schema", b"check")}
    for language in ("hi", "ta"):
        rows = [*real] if language == "hi" else []
        rows += [like(real[n % 2], n, language) for n in range(len(rows), SHOTS)]
        target = made / "film" / language / "shots.parquet"
        target.parent.mkdir(exist_ok=True)
        write_rows(Store(made), target, [{c: r[c] for c in SCHEMA.names} for r in rows], **said)
    write_words(Store(made), made / "film" / "analysis", "film", None, [Word("Zebrastreifen.", 0.1, 0.2, 0.9, "de")])
    return made


def like(row: dict[str, Any], n: int, language: str) -> dict[str, Any]:
    """One more shot of two seconds, worse the higher its number; every tenth failed to reach the threshold."""
    minute, second = divmod(2 * n, 60)
    told = f"01:{minute:02d}:{second:02d}"
    more: dict[str, Any] = {
        "shot": f"shot_{n + 1:04d}",
        "language": language,
        "start_tc": f"{told}:00",
        "end_tc": f"{told}:24",
    }
    if row["status"] == "dubbed":
        over = (n % 100) / 50
        more |= {"lse_d": row["source_lse_d"] + 1.5 * over, "needs_review": over > 1, "lse_offset_frames": 0.0}
    return {**row, **more}


@pytest.fixture
def queue(ana: Visitor) -> Visitor:
    """A reviewer to whom every shot has a picture."""
    ana.page.route("**/api/thumb/**", lambda r: r.fulfill(body=DOT, content_type="image/gif"))
    return ana


def count(page: Any) -> str:
    return str(page.inner_text("#count"))


def listed(page: Any) -> list[str]:
    """Keys of the cards that exist, in the order of the list."""
    found: list[str] = page.evaluate("""() => [...document.querySelectorAll(".card:not([hidden])")]
      .sort((a, b) => a.dataset.n - b.dataset.n).map((c) => c.dataset.key)""")
    return found


def test_two_thousand_shots_are_usable_within_a_second_and_few_exist_at_once(queue: Visitor) -> None:
    page = queue.queue()
    assert count(page) == "2,000 shots"
    loads = [1000]
    while min(loads) >= 1000:  # the machine may be busy with other tests
        assert len(loads) < 12, loads
        queue.queue()
        loads.append(int(page.get_attribute("html", "data-ready") or 0))
    nodes = "() => document.querySelectorAll('*').length"
    before = page.evaluate(nodes)
    assert before < 3000
    for _ in range(3):
        page.keyboard.press("End")
        page.wait_for_selector('.card.focused[data-n="1999"]')
        page.keyboard.press("Home")
        page.wait_for_selector('.card.focused[data-n="0"]')
    page.evaluate("async () => { const s = document.querySelector('#scroller'); for (let y = 0; y < 40000; y += 900) "
                  "{ s.scrollTop = y; await new Promise(requestAnimationFrame); } }")  # fmt: skip
    assert page.evaluate(nodes) < before + 1500
    cards = page.locator(".card:not([hidden])")
    assert cards.count() < 80
    assert cards.first.get_attribute("aria-setsize") == "2000"


def test_worst_come_first_and_other_orders_are_kept_in_the_address(queue: Visitor) -> None:
    page = queue.queue()
    worst = page.locator(".card.focused")
    assert worst.locator(".grade").inner_text() == "▲ over" and float(worst.locator(".score").inner_text()) > 1.9
    assert "severity" in (worst.locator("a").get_attribute("aria-label") or "")
    page.select_option("#sort", "film")
    assert "sort=film" in page.url
    assert listed(page)[:3] == ["film/hi/shot_0001", "film/hi/shot_0002", "film/hi/shot_0003"]
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.input_value("#sort") == "film" and listed(page)[0] == "film/hi/shot_0001"


def test_filters_count_combine_and_live_in_the_address(queue: Visitor) -> None:
    page = queue.queue()
    page.check(".value:has-text('· ta') input")
    assert count(page) == "1,000 of 2,000 shots"
    page.check(".value:has-text('left alone') input")
    assert count(page) == "500 of 2,000 shots"
    assert page.inner_text(".value:has-text('dubbed') .n") == "500"  # were it asked for too
    assert page.inner_text(".value:has-text('over a limit') .n") == "0"
    page.goto(page.url)
    page.wait_for_selector("html[data-ready]", state="attached")
    assert count(page) == "500 of 2,000 shots"
    page.click(".chip:has-text('left alone')")
    assert count(page) == "1,000 of 2,000 shots"
    page.keyboard.press("/")
    page.keyboard.type("01:00:08:12")
    page.keyboard.press("Enter")
    assert count(page) == "1 of 2,000 shots" and listed(page) == ["film/ta/shot_0005"]
    page.locator("#search").fill("nothing is called so")
    page.wait_for_selector("#nothing:not([hidden])")
    page.locator("#search").fill("zebra")  # a word that is said in it
    page.wait_for_selector("#nothing", state="hidden")
    assert count(page) == "500 of 2,000 shots" and listed(page)[0].startswith("film/ta/")
    page.locator("#search").fill("nothing is called so")
    page.wait_for_selector("#nothing:not([hidden])")
    page.click("#nothing-clear")
    assert count(page) == "2,000 shots" and "?" not in page.url


def test_a_range_is_brushed_over_the_histogram_or_typed(queue: Visitor) -> None:
    page = queue.queue()
    box = page.locator("#histogram canvas").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 20, steps=4)
    page.mouse.up()
    assert "r.severity=" in page.url
    low, high = (float(page.input_value(f"#histogram input >> nth={n}")) for n in (0, 1))
    shown = [float(t) for t in page.locator(".card:not([hidden]) .score").all_inner_texts()]
    assert 0 < low < high and shown and all(low - 0.01 <= s <= high + 0.01 for s in shown)
    page.click("#histogram button:has-text('Clear')")
    page.select_option("#histogram select", "over")
    page.fill("#histogram input >> nth=0", "2.22")
    page.keyboard.press("Enter")
    assert "r.over=2.22.." in page.url
    assert (
        count(page) == f"{2 * sum(1 for n in range(2, SHOTS) if n % 2 and (n % 100) / 50 * 1.5 >= 2.22)} of 2,000 shots"
    )


def test_several_are_selected_and_approved_together_and_one_is_taken_back(queue: Visitor, reviewed: Path) -> None:
    page = queue.queue("?language=hi&sort=film")
    page.keyboard.press("x")
    page.keyboard.press("Shift+ArrowRight")
    assert page.inner_text("#selected-count") == "2 shots selected"
    page.keyboard.press("a")
    page.wait_for_selector("text=Approved 2 shots.")
    made = DecisionLog(reviewed).records()
    assert {(r.shot, r.kind) for r in made} == {("shot_0001", "approve"), ("shot_0002", "approve")}
    assert page.locator(".verdict.approved:visible").count() == 2
    assert "2 decided" in page.inner_text("#progress-text")
    page.keyboard.press("z")
    page.wait_for_selector("text=Taken back")
    assert [r.kind for r in DecisionLog(reviewed).records()] == ["approve", "approve", "undo"]
    page.keyboard.press("g")
    page.wait_for_selector("#rerun[open]")
    assert "shot_000" in page.inner_text("#rerun-about")


def test_what_another_decides_appears_without_moving_the_list(queue: Visitor, chromium: Any, review_url: str) -> None:
    page = queue.queue("?decision=open&language=hi&sort=film")
    page.evaluate("() => { document.querySelector('#scroller').scrollTop = 3000; }")
    page.wait_for_selector('.card[data-n="52"]:not([hidden])')
    before = listed(page)
    top = page.evaluate("() => document.querySelector('#scroller').scrollTop")
    ben = Visitor(chromium, review_url, "Ben")
    try:
        ben.page.evaluate("""async () => {
          const key = ["film", "hi", "shot_0001"];
          const body = JSON.stringify({ key, kind: "original", reviewer: "Ben", revision: 0 });
          await fetch("/api/decide", { method: "POST", headers: { "Content-Type": "application/json" }, body });
        }""")
    finally:
        ben.end()
    page.wait_for_selector("#fresh:not([hidden])")
    assert listed(page) == before and page.evaluate("() => document.querySelector('#scroller').scrollTop") == top
    assert "1 decided" in page.inner_text("#progress-text")
    page.keyboard.press("Home")
    assert "original kept · Ben" in page.inner_text('.card[data-key="film/hi/shot_0001"]')
    assert "no longer fits" in page.inner_text('.card[data-key="film/hi/shot_0001"]')
    page.keyboard.press("u")
    assert listed(page)[0] == "film/hi/shot_0002"


def test_the_keyboard_alone_reaches_everything(queue: Visitor) -> None:
    page = queue.queue()
    focused = "() => document.activeElement.closest('.card')?.dataset.n"
    assert page.evaluate(focused) == "0"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "1"
    page.keyboard.press("j")
    row = int(page.evaluate(focused))
    assert row > 1
    page.keyboard.press("k")
    assert page.evaluate(focused) == "1"
    page.keyboard.press("f")
    assert page.evaluate("() => document.activeElement.closest('#facets') !== null")
    page.keyboard.press("h")
    assert page.evaluate("() => document.activeElement.closest('#histogram') !== null")
    page.keyboard.press("Tab")
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.press("?")
    assert "select all that are listed" in page.inner_text("#help-keys")
    unnamed = page.evaluate("""() => [...document.querySelectorAll("button, input, select, a, canvas[role]")]
      .filter((e) => e.checkVisibility() && !e.getAttribute("aria-label") && !e.title)
      .filter((e) => !e.textContent.trim() && !e.labels?.length)
      .map((e) => e.outerHTML)""")
    assert unnamed == []

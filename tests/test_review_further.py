"""Beyond one shot of one dub, in a real browser: all languages in step, the film across its cuts, the timeline from
near, a frame in the address, a drawing kept with its comment, the dashboard; and that all of it can be read."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from films import Finished
from pages import BAR_PX, BITS, LEFT_PX, TOP_PX, Visitor

from dubbing.decisions import DecisionLog
from dubbing.shot_table import read_rows, write_rows
from dubbing.store import Store

pytestmark = pytest.mark.xdist_group("review page")
KEY = ("film", "hi", "shot_0002")  # frames 12 to 83; shot_0001 has 0 to 11

# The number that stands in a small picture of a whole frame.
READ_SMALL = """([selector, left, top, side, bits, width]) => {
  const canvas = document.querySelector(selector);
  const k = canvas.width / width;
  let number = 0;
  for (let n = 0; n < bits; n++) {
    const at = [(left + side * n + side / 2) * k, (top + side / 2) * k].map(Math.round);
    const [r, g, b] = canvas.getContext("2d").getImageData(...at, 1, 1).data;
    number = number * 2 + (r + g + b > 384 ? 1 : 0);
  }
  return number;
}"""


@pytest.fixture(scope="module")
def reviewed(numbered: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a second dub, of the same sound: its takes are the first's."""
    made = shutil.copytree(numbered.out, tmp_path_factory.mktemp("tongues") / "out")
    run = json.loads((made / "run.json").read_text("utf-8"))
    dubs = run["manifest"]["titles"][0]["dubs"]
    dubs.append({**dubs[0], "language": "ta"})
    (made / "run.json").write_text(json.dumps(run), "utf-8")
    shutil.copytree(made / "film" / "hi", made / "film" / "ta")
    path = made / "film" / "ta" / "shots.parquet"
    said = {k.decode(): v.decode() for k, v in pq.read_schema(path).metadata.items() if k not in (b"schema", b"check")}
    write_rows(Store(made), path, [{**row, "language": "ta"} for row in read_rows(path)], **said)
    return made


def small(page: Any, selector: str) -> int:
    return int(page.evaluate(READ_SMALL, [selector, LEFT_PX, TOP_PX, BAR_PX, BITS, 480]))


def test_all_languages_show_the_same_frame(ana: Visitor) -> None:
    page = ana.shot(*KEY)
    page.click("#all-languages")
    page.wait_for_selector("html[data-ready]", state="attached")
    names = ("source", "hi", "ta")
    for press, frame in (("Home", 12), (".", 13), ("Shift+ArrowRight", 23), ("End", 83)):
        page.keyboard.press(press)
        for name in names:
            page.wait_for_selector(f'[data-language={name}] canvas[data-drawn="{frame}"]')
        assert [small(page, f"[data-language={name}] canvas") for name in names] == [frame] * 3
    page.keyboard.press("Space")
    page.wait_for_function("() => +document.querySelector('[data-language=ta] canvas').dataset.drawn > 30")
    apart = page.evaluate("""async () => {
      const of = (name) => +document.querySelector(`[data-language=${name}] canvas`).dataset.drawn;
      const apart = [];
      for (let n = 0; n < 40; n++) {
        await new Promise(requestAnimationFrame);
        apart.push(Math.abs(of("hi") - of("ta")));
      }
      return apart.sort((a, b) => a - b)[20];
    }""")
    assert apart <= 8  # a third of a second at most, on a machine that is busy with other things
    page.keyboard.press("Space")
    stopped = int(page.get_attribute("[data-language=hi] canvas", "data-drawn"))
    page.wait_for_selector(f'[data-language=ta] canvas[data-drawn="{stopped}"]')
    assert small(page, "[data-language=ta] canvas") == stopped
    assert page.get_attribute("[data-language=ta] a", "href") == "/shot/film/ta/shot_0002"


def test_the_film_plays_on_across_a_cut_with_the_sound_that_was_chosen(ana: Visitor) -> None:
    ana.shot(*KEY)  # its proxy is made: a cut waits for one that is not
    page = ana.shot("film", "hi", "shot_0001")
    page.keyboard.press("s")
    page.evaluate("""() => {
      window.drawn = [];
      const canvas = document.querySelector("#picture");
      const note = () => drawn.push(+(canvas.dataset.drawn ?? -1));
      new MutationObserver(note).observe(canvas, { attributes: true, attributeFilter: ["data-drawn"] });
    }""")
    page.keyboard.press("w")
    page.wait_for_url("**/shot_0002*")
    page.wait_for_function("() => +document.querySelector('#picture').dataset.drawn > 20")
    assert page.get_attribute("[data-sound=source]", "aria-pressed") == "true"
    page.keyboard.press("k")
    drawn, bars = ana.bars()
    assert bars == [drawn, drawn]
    seen = page.evaluate("drawn")
    assert seen == sorted(seen) and -1 not in seen  # no black between, and no frame of a handle
    page.keyboard.press("End")
    ana.at(83)
    page.keyboard.press("Shift+ArrowLeft")
    ana.at(73)
    page.keyboard.press("Space")
    page.wait_for_selector(".toast:has-text('The film ends here.')")


def test_the_address_names_the_frame_and_leads_back_to_it(ana: Visitor) -> None:
    page = ana.shot(*KEY)
    page.keyboard.press("Shift+ArrowRight")
    ana.at(22)
    page.wait_for_function("() => location.hash === '#f22'")
    page.goto(f"{ana.base}/shot/film/hi/shot_0002#f40")  # written by hand: the page stays
    ana.at(40)
    page.goto("about:blank")
    page.goto(f"{ana.base}/shot/film/hi/shot_0002#f40")
    ana.shown()
    ana.at(40)
    assert ana.bars() == (40, [40, 40])
    page.goto("about:blank")
    page.goto(f"{ana.base}/shot/film/hi/shot_0002#f999999")
    ana.shown()
    ana.at(83)


def test_the_timeline_grows_shows_pictures_and_the_frame_under_the_pointer(ana: Visitor) -> None:
    page = ana.shot(*KEY)
    line = page.locator("#timeline")
    box = line.bounding_box()
    at = box["x"] + 92 + (box["width"] - 100) * 0.756  # the middle of a frame
    page.mouse.move(at, box["y"] + 40)
    page.wait_for_selector("#hover-picture[data-drawn]")
    frame = int(page.get_attribute("#hover-picture", "data-drawn"))
    assert small(page, "#hover-picture") == frame and f" · {frame}" in page.inner_text("#hover-text")
    assert frame > 55 and ana.bars()[0] == 12  # what is looked at stays
    for _ in range(4):
        page.mouse.wheel(0, -120)
    page.wait_for_function("() => document.querySelector('#timeline').dataset.range.split(' ')[0] > 20")
    low, high = (float(v) for v in line.get_attribute("data-range").split())
    assert low <= frame <= high and high - low < 0.5 * 83
    page.mouse.click(at, box["y"] + 100)
    ana.at(frame)  # the frame under the pointer stayed there
    page.mouse.move(0, 0)
    page.wait_for_selector("#hover", state="hidden")
    page.keyboard.press("Home")
    ana.at(12)
    low, high = (float(v) for v in line.get_attribute("data-range").split())
    assert low <= 12 < high  # it follows the playhead
    inked = page.evaluate("""() => {
      const c = document.querySelector("#timeline");
      const k = c.width / c.clientWidth;
      const d = c.getContext("2d").getImageData(100 * k, 30 * k, (c.clientWidth - 120) * k, 25 * k).data;
      let n = 0;
      for (let i = 0; i < d.length; i += 4) if (d[i + 3] === 255) n += 1;
      return n / (d.length / 4);
    }""")
    assert inked > 0.8


def test_a_drawing_is_kept_with_its_comment_and_shown_at_its_frame_only(ana: Visitor, reviewed: Path) -> None:
    page = ana.shot(*KEY)
    pink = """() => {
      const c = document.querySelector("#picture");
      const k = c.width / c.clientWidth;
      return JSON.parse(c.dataset.rects).filter((r) => r.region === "full").map((r) => {
        const d = c.getContext("2d").getImageData(r.x * k, (r.y + r.h * 0.55) * k, r.w * k, r.h * 0.1 * k).data;
        let n = 0;
        for (let i = 0; i < d.length; i += 4) if (d[i] > 220 && d[i + 1] < 130 && d[i + 2] > 120) n += 1;
        return n;
      });
    }"""
    page.keyboard.press("Shift+ArrowRight")
    ana.at(22)
    assert page.evaluate(pink) == [0, 0]
    page.keyboard.press("d")
    ana.stroke(0.3, 0.6)
    assert min(page.evaluate(pink)) > 20  # on both sides
    page.keyboard.press("c")
    page.wait_for_selector("#comment[open]")
    assert page.inner_text("#comment-drawing") == "with your drawing of 1 stroke"
    page.keyboard.type("the jaw, here")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".comment")
    (record,) = DecisionLog(reviewed).records()
    (stroke,) = record.drawing
    assert record.frame == 22 and stroke[0] == pytest.approx((0.3, 0.6), abs=0.01)
    assert stroke[-1] == pytest.approx((0.5, 0.6), abs=0.01)
    page.keyboard.press(".")
    ana.at(23)
    assert page.evaluate(pink) == [0, 0]
    ana.shot(*KEY)
    page.click(".comment-head .mono")
    ana.at(22)
    assert min(page.evaluate(pink)) > 20
    page.keyboard.press("m")
    page.keyboard.press("m")  # the mouth alone: the same place of the picture
    page.wait_for_function("() => JSON.parse(document.querySelector('#picture').dataset.rects)[0].region === 'mouth'")


def test_the_dashboard_counts_reasons_and_leads_to_the_shots(ana: Visitor, reviewed: Path) -> None:
    log = DecisionLog(reviewed)
    take = next((reviewed / "film" / "hi" / "takes" / "shot_0002").iterdir()).name
    log.append(KEY, "reject", "Ana", take=take, reasons=("teeth",))
    log.append(("film", "ta", "shot_0002"), "reject", "Ana", take=take, reasons=("teeth", "seam"))
    gone = log.append(("film", "ta", "shot_0001"), "reject", "Ana", take="0123456789ab", reasons=("jaw",))
    log.append(("film", "ta", "shot_0001"), "undo", "Ana", undoes=gone.seq)
    page = ana.queue()
    page.click("text=Dashboard")
    page.wait_for_selector("html[data-ready]", state="attached")
    counts = page.locator("table tbody tr").all_inner_texts()
    assert [row.split() for row in counts] == [["rewrite", "2", "0", "0", "0", "0", "1", "0", "2"]]
    assert [t.split()[0] for t in page.locator(".charts figcaption").all_inner_texts()] == ["hi", "ta"]
    told = page.locator(".charts svg").first.get_attribute("aria-label")
    assert told.startswith("hi, LSE-D") and "takes: 1 shot" in told and "the original: 1 shot" in told
    page.select_option("#by", "reason")
    page.wait_for_url("**by=reason*")
    names = [t.split()[0] for t in page.locator(".charts figcaption").all_inner_texts()]
    assert names == ["teeth", "seam"]
    page.select_option("#score", "sharpness")
    page.wait_for_url("**score=sharpness*")
    page.click(".charts a:has-text('teeth')")
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.inner_text("#count") == "2 of 4 shots"
    page.goto(f"{ana.base}/dashboard?by=nose")
    assert "grouped by language, character, reason, title" in page.inner_text("body")


LOOKS = """() => {
  const light = (c) => c.slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const colour = (text) => {
    const c = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
    c.fillStyle = text;
    c.fillRect(0, 0, 1, 1);
    return [...c.getImageData(0, 0, 1, 1).data];
  };
  const behind = (e) => {
    for (let at = e; at; at = at.parentElement) {
      const found = colour(getComputedStyle(at).backgroundColor);
      if (found[3] > 150) return found;
    }
    return [255, 255, 255, 255];
  };
  const bad = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.closest(":disabled, .unseen, .skip, svg, option")) continue;
    const style = getComputedStyle(e);
    let shade = 1;
    for (let at = e; at; at = at.parentElement) shade *= +getComputedStyle(at).opacity;
    const under = behind(e);
    const ink = colour(style.color).map((v, n) => shade * v + (1 - shade) * under[n]);
    const [a, b] = [light(ink), light(under)].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    const small = parseFloat(style.fontSize) < 11;
    if (contrast < 4.5 || small) bad.push([e.className, e.textContent.slice(0, 30), style.fontSize, contrast]);
  }
  return bad;
}"""

# Waits until no colour changes any more.
STILL = """() => Promise.all(document.getAnimations()
  .filter((a) => a instanceof CSSTransition).map((a) => a.finished.catch(() => null)))"""

OUTSIDE = """() => [...document.querySelectorAll("header *, .card .line *")].filter((e) => {
  if (!e.checkVisibility() || getComputedStyle(e.parentElement).textOverflow === "ellipsis") return false;
  const box = e.getBoundingClientRect();
  const room = (e.closest(".card") ?? document.documentElement).getBoundingClientRect();
  return box.right > room.right + 0.5 || box.left < room.left - 0.5;
}).map((e) => e.outerHTML.slice(0, 80))"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everything_that_is_written_can_be_read(ana: Visitor, reviewed: Path, theme: str) -> None:
    log = DecisionLog(reviewed)
    log.append(("film", "ta", "shot_0002"), "comment", "Ana", text="look", severity="blocker", frame=20)
    page = ana.queue()
    page.evaluate("t => localStorage.setItem('dub.theme', JSON.stringify(t))", theme)
    for path in ("/", "/?decision=open", "/shot/film/ta/shot_0002", "/shot/film/hi/shot_0001", "/dashboard",
                 "/languages/film/shot_0002"):  # fmt: skip
        page.goto(f"{ana.base}{path}")
        page.wait_for_selector("html[data-ready], html[data-shown]", state="attached")
        if path == "/?decision=open":
            page.keyboard.press("o")
            page.wait_for_selector(".card.stale")
        page.evaluate("() => document.querySelector('#notices').replaceChildren()")
        page.evaluate(STILL)
        assert page.evaluate(LOOKS) == [], path


@pytest.mark.parametrize("width", [390, 1024, 1440])
@pytest.mark.parametrize("name", ["", "Maximiliane Oberhuber-Schwarzenberger"])
def test_headers_and_cards_clip_nothing(ana: Visitor, reviewed: Path, width: int, name: str) -> None:
    log = DecisionLog(reviewed)
    for n in range(12):
        log.append(KEY, "comment", "Ana", text=f"look {n}", severity="blocker", frame=20)
    page = ana.page
    page.set_viewport_size({"width": width, "height": 844})
    page.evaluate("name => localStorage.setItem('dub.reviewer', JSON.stringify(name))", name)
    page.goto(f"{ana.base}/shot/{'/'.join(KEY)}")
    ana.shown()
    assert page.evaluate(OUTSIDE) == []
    ana.queue("?decision=open")
    if name:
        page.keyboard.press("a")  # now the card says "no longer fits" too
        page.wait_for_selector(".card.stale")
    assert page.evaluate(OUTSIDE) == []
    page.set_viewport_size({"width": 1440, "height": 900})
    page.evaluate("() => localStorage.setItem('dub.reviewer', JSON.stringify('Ana'))")


def test_where_there_are_several_titles_every_card_names_its_own(ana: Visitor) -> None:
    page = ana.page

    def two(route: Any) -> None:
        told = route.fetch()
        info = told.json()
        route.fulfill(response=told, json={**info, "dubs": [*info["dubs"], {**info["dubs"][0], "title": "second"}]})

    assert ana.queue().inner_text('.card[data-key="film/hi/shot_0002"] .lang') == "hi"
    page.route("**/api/info", two)
    page = ana.queue()
    assert page.inner_text('.card[data-key="film/hi/shot_0002"] .lang') == "film · hi"
    assert "film" in page.get_attribute('.card[data-key="film/hi/shot_0002"] a', "aria-label")

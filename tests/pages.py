"""What tests of the review page share: a film that carries its frame numbers, a server, a browser, a way to read both.

Each frame's number stands in the picture as black and white bars, so that what a browser shows can be read back from
its pixels. Knows no single test.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dubbing import media
from dubbing.media import ClipWriter

BITS = 8
BAR_PX = 20  # side of one bar
LEFT_PX, TOP_PX = 8, 6  # of the first bar
WHITE, BLACK = 230, 20
ARGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows", "--disable-background-timer-throttling",
    "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip

# The numbers that stand in the panes of whole pictures, left to right, with the frame that the page says it draws.
READ_BARS = """([left, top, side, bits, width, height]) => {
  const canvas = document.querySelector("#picture");
  const context = canvas.getContext("2d");
  const ratio = canvas.width / canvas.clientWidth;
  const read = (r) => {
    let number = 0;
    for (let n = 0; n < bits; n++) {
      const x = r.x + ((left + side * n + side / 2) / width) * r.w;
      const y = r.y + ((top + side / 2) / height) * r.h;
      const [red, green, blue] = context.getImageData(Math.round(x * ratio), Math.round(y * ratio), 1, 1).data;
      number = number * 2 + (red + green + blue > 384 ? 1 : 0);
    }
    return number;
  };
  const panes = JSON.parse(canvas.dataset.rects ?? "[]").filter((r) => r.region === "full");
  return { drawn: Number(canvas.dataset.drawn), bars: panes.map(read) };
}"""


def with_bars(bgr_HWC: np.ndarray, number: int) -> np.ndarray:
    """A picture that carries a number: the highest bit at the left."""
    out = bgr_HWC.copy()
    for n in range(BITS):
        x = LEFT_PX + n * BAR_PX
        lit = number >> (BITS - 1 - n) & 1
        out[TOP_PX : TOP_PX + BAR_PX, x : x + BAR_PX] = WHITE if lit else BLACK
    return out


def numbered(film: Path, folder: Path, language: str) -> Path:
    """A copy of a manifest's film that carries frame numbers, with one of its dubs. Returns its manifest."""
    source = film.parent / "film.mp4"
    line = media.timeline(source)
    sound = media.read_sound(source, 48_000)
    pictures = media.read(source, line)
    first = next(pictures)
    height, width = first.bgr().shape[:2]
    made = folder / "film.mp4"
    with ClipWriter(made, width, height, line.rate, sample_rate_hz=48_000, channels=1, timecode=line.start_tc) as clip:
        clip.frame(with_bars(first.bgr(), 0))
        for picture in pictures:
            clip.frame(with_bars(picture.bgr(), picture.frame))
        clip.sound(sound)
    shutil.copy(film.parent / f"film.{language}.flac", folder)
    title = {"id": "film", "video": "film.mp4", "dubs": [{"language": language, "audio": f"film.{language}.flac"}]}
    (folder / "job.yaml").write_text(json.dumps({"version": 1, "titles": [title]}), encoding="utf-8")
    return folder / "job.yaml"


def chromium() -> str:
    """The path of an installed Chromium; skips where there is none."""
    pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'dubbing[dev]'")
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return found
    pytest.skip("needs a Chromium on the PATH (chromium, chromium-browser or google-chrome)")


@contextmanager
def browser() -> Iterator[Any]:
    """A Chromium without a window."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=list(ARGS))
        yield started
        started.close()


@contextmanager
def served(out: Path) -> Iterator[str]:
    """`dub review` of a folder as a process of its own: its URL, token included."""
    command = [sys.executable, "-m", "dubbing", "review", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


class Visitor:
    """One reviewer's own browser window. Nothing that the page throws or is refused goes unseen: see `end`."""

    def __init__(self, browser: Any, url: str, name: str = "Ana", **options: Any) -> None:
        self.base = url.split("/?")[0]
        self.context = browser.new_context(viewport={"width": 1440, "height": 900}, **options)
        self.context.set_default_timeout(60_000)  # a net: a busy machine must not come near it
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("console", lambda m: self._said(m))
        self.page.goto(url)
        self.page.evaluate("name => localStorage.setItem('dub.reviewer', JSON.stringify(name))", name)
        self.page.evaluate("() => localStorage.setItem('dub.advance', 'false')")

    def _said(self, message: Any) -> None:
        if "Content Security Policy" in message.text or "SyntaxError" in message.text:
            self.errors.append(message.text)

    def queue(self, query: str = "") -> Any:
        """The queue page, once its list can be used."""
        self.page.goto(f"{self.base}/{query}")
        self.page.wait_for_selector("html[data-ready]", state="attached")
        return self.page

    def shot(self, *key: str) -> Any:
        """The shot page, once its first frame is on the screen."""
        self.page.goto(f"{self.base}/shot/{'/'.join(key)}")
        self.page.bring_to_front()  # a window behind another draws nothing
        self.shown()
        return self.page

    def shown(self) -> None:
        """Waits for the first frame of the moving picture."""
        self.page.wait_for_selector("html[data-shown]", state="attached")

    def at(self, frame: int) -> None:
        """Waits until this frame is drawn."""
        self.page.wait_for_selector(f'#picture[data-drawn="{frame}"]')

    def moved(self, frame: int) -> int:
        """Waits until another frame than this is drawn: which."""
        self.page.wait_for_function("f => Number(document.querySelector('#picture').dataset.drawn) !== f", arg=frame)
        return int(self.page.get_attribute("#picture", "data-drawn"))

    def pictures(self, count: int) -> None:
        """Waits until the browser has painted the page so many times."""
        self.page.evaluate(
            """n => new Promise((done) => {
          const painted = () => (n-- > 0 ? requestAnimationFrame(painted) : done());
          painted();
        })""",
            count,
        )

    def bars(self, width: int = 480, height: int = 270) -> tuple[int, list[int]]:
        """The frame that the page says it draws, and the numbers read from the pixels of its panes."""
        told = self.page.evaluate(READ_BARS, [LEFT_PX, TOP_PX, BAR_PX, BITS, width, height])
        return told["drawn"], told["bars"]

    def stroke(self, x: float, y: float) -> None:
        """Draws a short line to the right with the pointer, from a place in parts of A's whole picture."""
        pane = next(r for r in json.loads(self.page.get_attribute("#picture", "data-rects")) if r["region"] == "full")
        box = self.page.locator("#picture").bounding_box()
        at = (box["x"] + pane["x"] + x * pane["w"], box["y"] + pane["y"] + y * pane["h"])
        self.page.mouse.move(*at)
        self.page.mouse.down()
        self.page.mouse.move(at[0] + 0.2 * pane["w"], at[1], steps=8)
        self.page.mouse.up()

    def end(self) -> None:
        """Closes the window; fails where the page had an error."""
        self.context.close()
        assert self.errors == []

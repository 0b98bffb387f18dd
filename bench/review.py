"""How quick the review page is on a finished run: the queue with 2,000 shots, and from shot to shot.

    python -m bench.review OUT [--shots 2000] [--json]

OUT is copied (links where it can be), so that nothing is written into it; the copy's tables are filled up to --shots
rows. Needs playwright and a Chromium on the PATH. Prints, as one line of JSON with --json:

    queue_ready_ms      from the start of the navigation until the list can be used; the page's own clock
    heap_mb             of JavaScript, collected, at first and after scrolling to the end and back ten times
    nodes               elements of the page, likewise
    first_picture_ms    of a shot that nobody has opened: until a still is on the screen
    first_frame_ms      until its moving picture is
    again_ms            the same shot once more, its proxy made
    next_ms             to the next shot by key, prepared while this one was looked at
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dubbing.review.library import Library
from dubbing.shot_table import SCHEMA, read_rows

_ARGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync",
         "--enable-precise-memory-info")  # fmt: skip
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_MIB = 1 << 20
_SCROLL = """async (down) => {
  const s = document.querySelector("#scroller");
  const step = down ? 700 : -700;
  for (let was = -1; was !== s.scrollTop; ) {
    was = s.scrollTop;
    s.scrollTop += step;
    await new Promise(requestAnimationFrame);
  }
}"""


def main() -> None:
    """Measures, and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a run's --out")
    parser.add_argument("--shots", type=int, default=2000, help="rows of all tables together")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-review-", dir=given.out.resolve().parent) as folder:
        found = measure(given.out, Path(folder), given.shots)
    lines = [json.dumps(found)] if given.json else [f"{name:18} {value}" for name, value in found.items()]
    sys.stdout.write("\n".join(lines) + "\n")


def measure(out: Path, folder: Path, shots: int) -> dict[str, Any]:
    """All numbers of one run. folder: for copies, on the run's own disk."""
    found: dict[str, Any] = {}
    worst = sorted((r for r in Library(out).rows() if r["status"] == "dubbed"), key=lambda r: -r["severity"])
    if len(worst) < 2:
        raise SystemExit(f"{str(out)!r} has fewer than two dubbed shots.")
    with _browser() as browser:
        with _served(_copied(out, folder / "many", shots)) as url:
            found |= _queue(browser, url)
        with _served(_copied(out, folder / "few", 0)) as url:
            found |= _shot(browser, url, worst[0])
    return found


def _queue(browser: Any, url: str) -> dict[str, Any]:
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.route("**/api/thumb/**", lambda route: route.abort())  # of shots that are not there
    page.goto(url)
    loads = []
    for _ in range(5):
        page.goto(url.split("?")[0])
        page.wait_for_selector("html[data-ready]", state="attached")
        loads.append(int(page.get_attribute("html", "data-ready")))
    tools = page.context.new_cdp_session(page)
    before = _weight(page, tools)
    for _ in range(10):
        page.evaluate(_SCROLL, True)
        page.evaluate(_SCROLL, False)
    after = _weight(page, tools)
    count = page.inner_text("#count")
    page.context.close()
    return {
        "shots": count, "queue_ready_ms": sorted(loads)[len(loads) // 2], "heap_mb": [before[0], after[0]],
        "nodes": [before[1], after[1]],
    }  # fmt: skip


def _weight(page: Any, tools: Any) -> tuple[float, int]:
    tools.send("HeapProfiler.collectGarbage")
    page.wait_for_timeout(300)
    heap = page.evaluate("() => performance.memory.usedJSHeapSize")
    return round(heap / _MIB, 1), page.evaluate("() => document.querySelectorAll('*').length")


def _shot(browser: Any, url: str, row: dict[str, Any]) -> dict[str, Any]:
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.goto(url)
    at = f"{url.split('/?')[0]}/shot/{row['title']}/{row['language']}/{row['shot']}"
    clock = "n => Number(document.documentElement.dataset[n] ?? NaN)"

    def opened() -> tuple[int, int]:
        page.goto(at)
        page.wait_for_selector("html[data-shown]", state="attached", timeout=300_000)
        return page.evaluate(clock, "still"), page.evaluate(clock, "shown")

    still, frame = opened()
    again = opened()[1]
    page.wait_for_timeout(30_000)  # somebody looks at it
    page.keyboard.press("n")
    page.wait_for_url(lambda now: now != at)
    page.wait_for_selector("html[data-shown]", state="attached", timeout=300_000)
    after = page.evaluate(clock, "shown")
    page.context.close()
    return {"first_picture_ms": still, "first_frame_ms": frame, "again_ms": again, "next_ms": after}


def _copied(out: Path, to: Path, shots: int) -> Path:
    """A copy without what reviewers left; its tables hold `shots` rows together, or what they held."""
    shutil.copytree(out, to, copy_function=_linked, ignore=shutil.ignore_patterns("review", ".lock", "shots.parquet"))
    tables = sorted(out.glob("*/*/shots.parquet"))
    for table in tables:
        rows, wanted = read_rows(table), shots // len(tables)
        more = [{**rows[n % len(rows)], "shot": f"shot_{n + 1:04d}"} for n in range(len(rows), wanted)]
        columns = {c: [r[c] for r in [*rows, *more]] for c in SCHEMA.names}
        schema = SCHEMA.with_metadata(pq.read_schema(table).metadata)
        pq.write_table(pa.table(columns, schema), to / table.relative_to(out))
    return to


def _linked(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


@contextmanager
def _browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = next((p for name in _NAMES if (p := shutil.which(name))), None)
    if path is None:
        raise SystemExit(f"No Chromium is on the PATH ({', '.join(_NAMES)}); install one.")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(_ARGS))
        yield browser
        browser.close()


@contextmanager
def _served(out: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "dubbing", "review", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


if __name__ == "__main__":
    main()

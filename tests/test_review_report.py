"""The review's report: one page to mail, that shows what was measured, decided and seen, and needs nothing else."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
from datetime import datetime
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from films import Finished

from dubbing.clock import Timeline
from dubbing.engine import run_job
from dubbing.errors import MediaError
from dubbing.job import Job
from dubbing.records import Track
from dubbing.review import moments
from dubbing.review.charts import distribution, edges
from dubbing.review.library import Library
from dubbing.review.report import report
from dubbing.stages.lipsync import Lipsync

# -- distributions ----------------------------------------------------------------------------


def counts(svg: str, css: str) -> int:
    return sum(int(n) for n in re.findall(rf'class="{css}" x=.*?<title>[^<]*: (\d+) shots?</title>', svg))


@pytest.mark.parametrize("values", [[6.5], [0.0, 0.0], [-3.0, -1.0, 2.0], [5.216, 6.9, 8.784], list(range(1000))])
def test_bins_hold_every_value_at_round_edges(values: list[float]) -> None:
    bins = edges(values)
    assert np.histogram(values, bins)[0].sum() == len(values)
    assert np.allclose(np.diff(bins), bins[1] - bins[0]) and 2 <= len(bins) <= 22
    assert f"{bins[1] - bins[0]:.0e}"[0] in "1235"


def test_a_distribution_counts_every_shot_and_says_so_in_words() -> None:
    take, source = [6.2, 6.4, 6.5, 8.3], [5.0, 6.9, 6.95]
    svg = distribution("reel <fr>", take, source, edges([*take, *source]))
    assert counts(svg, "take") == 4 and counts(svg, "source") == 3
    told = re.search(r'role="img" aria-label="([^"]*)"', svg)
    assert told and told[1] == (
        "reel &lt;fr&gt;; takes: 4 shots, from 6.20 to 8.30, median 6.45; "
        "the original: 3 shots, from 5.00 to 6.95, median 6.90"
    )
    assert "takes, median 6.45" in svg and "original, median 6.90" in svg
    assert "not measured" in distribution("reel", [], [], edges([]))


# -- the moment to look at ---------------------------------------------------------------------


def test_a_loop_lasts_a_second_inside_its_track_also_at_variable_rate() -> None:
    pts = np.cumsum(np.tile([50, 25], 100)) - 50  # frames of 1/20 and 1/40 s in turn
    line = Timeline(pts, Fraction(1, 1000), int(pts[-1]) + 25, Fraction(25))
    track = Track("t", np.arange(20, 120, dtype=np.int32), np.zeros((100, 478, 3), np.float32), np.ones(100, bool),
                  np.zeros(100, np.float32), 100.0)  # fmt: skip
    for at in (20, 21, 60, 118, 119):
        first, last = moments.around(at, line, track)
        assert 20 <= first <= at < last <= 120
        assert 0.9 <= float(line.time(last) - line.time(first)) <= 1.05  # a frame more or less


# -- the page ----------------------------------------------------------------------------------

SAID = "<script>alert(1)</script> & “lips” छोटे"


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "rect", "line"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "line"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def pictures(self, what: str) -> list[np.ndarray]:
        return [cv2.imdecode(np.frombuffer(d, np.uint8), cv2.IMREAD_COLOR) for d in self.data(what)]

    def data(self, what: str) -> list[bytes]:
        """The bytes of pictures whose description holds some words."""
        found = [a["src"] for tag, a in self.tags if tag == "img" and what in a["alt"]]
        return [base64.b64decode(uri.split(",", 1)[1]) for uri in found]


@pytest.fixture(scope="module")
def out(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a short film, in Hindi and Tamil, on which something was said."""
    where = shutil.copytree(finished.out, tmp_path_factory.mktemp("out") / "out")
    library = Library(where)
    hi, ta = (("film", language, "shot_0002") for language in ("hi", "ta"))
    library.log.append(hi, "approve", "ana", take=library.find(*hi).takes[0].id)
    library.log.append(hi, "comment", "ben & co", text=SAID, frame=40, severity="issue")
    library.log.append(ta, "comment", "ana", text="the jaw", frame=41, severity="blocker")
    return where


@pytest.fixture(scope="module")
def html(out: Path) -> str:
    return report(Library(out))


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_it_needs_nothing_from_outside_and_runs_no_script(html: str, page: Page) -> None:
    assert "://" not in html and "@import" not in html and "url(" not in html
    assert page.open == []  # every element is closed
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "base", "form")
        assert not any(name.startswith("on") or name == "href" for name in attributes)
        if "src" in attributes:
            assert attributes["src"].startswith("data:image/")
        if tag in ("img", "svg"):
            assert attributes.get("alt") or attributes.get("aria-label")
    assert len(html) < 2e6 and "prefers-color-scheme: dark" in html and "@media print" in html


def test_choices_and_reasons_are_there(out: Path, tmp_path: Path) -> None:
    library = Library(shutil.copytree(out, tmp_path / "out"))
    for language, kind, reasons in (("hi", "choose", ()), ("ta", "reject", ("wrong_face", "seam"))):
        key = ("film", language, "shot_0002")
        library.log.append(key, kind, "cy", take=library.find(*key).takes[0].id, reasons=reasons)
    text = " ".join(Page(report(library)).text.split())
    assert re.search("1 ?take chosen", text) and "◆ take chosen" in text and "✕ rejected wrong face, seam" in text


def test_every_dub_and_its_worst_shot_is_there_with_its_numbers(out: Path, page: Page) -> None:
    rows = [r for r in Library(out).rows() if r["status"] == "dubbed"]
    assert {r["language"] for r in rows} == {"hi", "ta"}
    for row in rows:
        assert f"film {row['language']}" in page.text
        assert f"{row['lse_d']:.2f} original {row['source_lse_d']:.2f}" in page.text
        assert f"severity {row['severity']:.2f}" in page.text
        assert len(page.data(f"film/{row['language']}/shot_0002 at ")) == 4  # whole and mouth, of source and take
    labels = [a["aria-label"] for tag, a in page.tags if tag == "svg"]
    assert [label.split(";")[0] for label in labels] == [
        f"film {language}, {score}" for language in ("hi", "ta")
        for score in ("LSE-D, lower is better", "LSE-C, higher is better")
    ]  # fmt: skip


def test_what_was_said_is_shown_as_it_was_said(page: Page) -> None:
    assert page.text.count(SAID) == 2  # beside its shot, and among the comments
    assert page.text.index("the jaw", page.text.rindex("Comments")) < page.text.rindex(SAID)  # the gravest first
    assert "✓ approved" in page.text and "ben & co" in page.text and "01:00:01:16" in page.text


def test_stills_show_source_and_take_and_differ_at_the_mouth(page: Page) -> None:
    for language in ("hi", "ta"):
        before, after = page.pictures(f"film/{language}/shot_0002 at ")[:2]
        assert before.shape == after.shape == (270, 480, 3)
        far = np.abs(before.astype(int) - after).max(2) > 40
        assert 20 < far.sum() < 0.1 * far.size  # the mouth, and nothing else
        mouths = page.pictures("mouth, ")[:2]
        assert [m.shape for m in mouths] == [(280, 280, 3)] * 2
        assert (np.abs(mouths[0].astype(int) - mouths[1]).max(2) > 40).mean() > 0.005


def test_a_loop_is_a_second_of_both(page: Page) -> None:
    from PIL import Image

    for data in page.data("loop of the mouth"):
        picture = Image.open(io.BytesIO(data))
        lasts = []
        for n in range(picture.n_frames):
            picture.seek(n)
            picture.load()
            lasts.append(picture.info["duration"])
        assert picture.format == "WEBP" and picture.info["loop"] == 0 and picture.size == (566, 280)
        assert 950 <= sum(lasts) <= 1005 and len(lasts) >= 12
    assert len(page.data("loop of the mouth")) == 2


def test_how_it_is_measured_is_said(page: Page) -> None:
    for words in ("Severity is the largest of the four", "review.max_silence_motion", "lips@", "mediapipe", "numpy"):
        assert words in page.text


def test_a_failed_shot_is_shown_and_one_without_pictures_says_why(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a made-up <fault>")

    library = Library(out)
    where = tmp_path / "out"
    shutil.copytree(out / "film" / "analysis", where / "film" / "analysis")
    monkeypatch.setattr(Lipsync, "process", fail)
    run_job(Job(library.run_file.manifest, where, library.config), "local", lambda e: None)
    monkeypatch.undo()
    page = Page(report(Library(where)))
    assert page.text.count("a made-up <fault>") == 4  # two shots of two dubs
    assert len(page.data("source picture")) == 4 and not page.data("take")
    whole = tmp_path / "whole"
    shutil.copytree(out, whole)
    for patch in whole.glob("film/ta/takes/shot_0002/*/patch/face_1/patch.nut"):
        patch.unlink()
    damaged = Page(report(Library(whole)))
    assert "No pictures: " in damaged.text and damaged.data("film/hi") and not damaged.data("film/ta")


def test_it_says_when_each_master_was_made_not_when_a_run_ended(out: Path, tmp_path: Path) -> None:
    where = shutil.copytree(out, tmp_path / "out")
    for language, at in (("hi", "2026-01-02T03:04:05+00:00"), ("ta", "2026-02-03T04:05:06+00:00")):
        seconds = datetime.fromisoformat(at).timestamp()
        os.utime(where / "film" / language / f"film.{language}.mp4", (seconds, seconds))
    text = Page(report(Library(where))).text
    assert "The newest master was made 2026-02-03 04:05 UTC." in text and "2026-01-02 03:04" in text
    for master in where.glob("film/*/film.*.mp4"):
        master.unlink()
    assert "No master is made yet." in Page(report(Library(where))).text


def test_without_its_film_it_says_so(out: Path, tmp_path: Path) -> None:
    where = tmp_path / "out"
    shutil.copytree(out, where)
    run = (where / "run.json").read_text().replace("film.mp4", "gone.mp4")
    (where / "run.json").write_text(run)
    with pytest.raises(MediaError, match="gone.mp4"):
        report(Library(where))

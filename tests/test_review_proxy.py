"""Proxies: every frame its own on both sides, at its time, with its sound; made once, kept, and removed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numbered_frames
import numpy as np
import pytest
from numbered_frames import CURRENT, OFFSETS, OTHER, NumberedFilm
from waiting import until

from dubbing import media
from dubbing.errors import InputError
from dubbing.media.colour import Colour, Layout, planes_of
from dubbing.review.kept import HALF, Kept
from dubbing.review.library import Shown
from dubbing.review.panes import DIFF_GAIN, FULL_PX, MOUTH_WH, layout_of
from dubbing.review.proxy import Proxies

NTSC = Fraction(24000, 1001)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> NumberedFilm:
    return numbered_frames.make(tmp_path_factory.mktemp("barred"))


@pytest.fixture
def proxies(film: NumberedFilm, tmp_path: Path) -> Iterator[Proxies]:
    made = Proxies(film, tmp_path / "proxies")  # type: ignore[arg-type]
    yield made
    made.close()


def pictures(proxies: Proxies, said: dict[str, Any]) -> list[tuple[float, np.ndarray]]:
    """(seconds, BGR) of every frame of a proxy that is ready, in the colours its tags say."""
    assert said["state"] == "ready", said["error"]
    file = proxies.path(said["url"].rsplit("/", 1)[-1])
    with av.open(str(file)) as f:
        stream = f.streams.video[0]
        ctx = stream.codec_context
        assert ctx.pix_fmt == "yuv420p" and ctx.color_range == 1 and ctx.width % 2 == ctx.height % 2 == 0
        found = []
        for frame in f.decode(stream):
            assert frame.key_frame
            colour = Colour.of(frame.colorspace, frame.color_range, frame.height, "yuv420p")
            found.append((float(frame.pts * stream.time_base), colour.bgr(planes_of(frame), Layout((1, 1), 8))))
        return found


def pane(said: dict[str, Any], name: str, packed: np.ndarray) -> np.ndarray:
    x, y, w, h = said["layout"]["panes"][name]
    return packed[y : y + h, x : x + w]


def read(said: dict[str, Any], name: str, packed: np.ndarray) -> tuple[int | None, int | None]:
    """The numbers in a pane's upper and middle strip."""
    whole = pane(said, name, packed)
    strip = len(whole) // 4
    return numbered_frames.number(whole[2 : strip - 4]), numbered_frames.number(whole[strip + 4 : 2 * strip - 4])


RNG = np.random.default_rng(3)
KINDS: dict[str, dict[str, Any]] = {
    "24000/1001": {},
    "variable": {"name": "film.mkv", "steps": [int(s) for s in RNG.choice([20, 33, 40, 55, 83], 70)]},
    "rotated": {"rotation_deg": 90, "size": (640, 360)},
    "odd size": {"size": (1001, 203), "pix_fmt": "yuv444p", "name": "film.mkv"},
    "ten bits": {"codec": "libx265", "pix_fmt": "yuv420p10le"},
    "program stream": {"name": "film.mpg", "codec": "mpeg2video", "crf": None, "rate": Fraction(25),
                       "options": {"b": "8M"}},
}  # fmt: skip


@pytest.mark.parametrize("kind", [k if n < 2 else pytest.param(k, marks=pytest.mark.long) for n, k in enumerate(KINDS)])
def test_every_frame_is_its_own_on_both_sides_at_its_own_time(kind: str, tmp_path: Path) -> None:
    made = numbered_frames.make(tmp_path, cuts=(0, 28, 36, 70), **KINDS[kind])
    proxies = Proxies(made)  # type: ignore[arg-type]
    shown = made.find("film", "fr", "shot_0002")
    said = proxies.wait(shown, "source", OTHER)
    found = pictures(proxies, said)
    proxies.close()
    first, last = said["first"], said["last"]
    assert first < 28 and last > 36 and len(found) == last - first == len(said["pts_s"])
    times = [float(made.line.time(n) - made.line.time(first)) for n in range(first, last)]
    assert said["pts_s"] == pytest.approx(times, abs=1e-5)
    assert [t for t, _ in found] == pytest.approx(times, abs=1e-4)
    assert said["duration_s"] == pytest.approx(float(made.line.time(last) - made.line.time(first)), abs=1e-5)
    for n, (_, packed) in zip(range(first, last), found, strict=True):
        assert read(said, "full_a", packed) == (n, None)
        take = OTHER if 28 <= n < 36 else CURRENT
        assert read(said, "full_b", packed) == (n, n + OFFSETS[take])


def test_handles_reach_a_second_and_stay_inside_the_film(film: NumberedFilm, proxies: Proxies) -> None:
    spans = {}
    for shot in film.shots:
        said = proxies.ask(film.find("film", "fr", shot.id), background=True)
        spans[shot.id] = (said["first"], said["last"])
    assert spans == {"shot_0001": (0, 64), "shot_0002": (16, 84), "shot_0003": (36, 100)}


def test_a_side_that_is_no_source_shows_the_master_beside_the_shot(film: NumberedFilm, proxies: Proxies) -> None:
    film.shown["shot_0003"] = numbered_frames.rejected(kept := film.shown["shot_0003"])
    try:
        said = proxies.wait(film.find("film", "fr", "shot_0002"), "current", OTHER)
    finally:
        film.shown["shot_0003"] = kept
    for n, (_, packed) in zip(range(said["first"], said["last"]), pictures(proxies, said), strict=True):
        beside = n + OFFSETS[CURRENT] if n < 40 else None  # the third shot delivers the source's own picture
        assert read(said, "full_a", packed) == (n, n + OFFSETS[CURRENT] if 40 <= n < 60 else beside)
        assert read(said, "full_b", packed) == (n, n + OFFSETS[OTHER] if 40 <= n < 60 else beside)


def heard(proxies: Proxies, said: dict[str, Any]) -> np.ndarray:
    """float32 (T, 2) at 48 kHz, from the first picture on."""
    file = proxies.path(said["url"].rsplit("/", 1)[-1])
    assert file is not None
    return media.read_sound(file, 48_000, mono=False)


@pytest.mark.parametrize("kind", ["24000/1001", "variable", "program stream"])
def test_clicks_are_heard_with_their_frames_each_on_its_own_side(kind: str, tmp_path: Path) -> None:
    made = numbered_frames.make(tmp_path, cuts=(0, 90, 110, 150), clicks=(100, 105), **KINDS[kind] | (
        {"steps": [40, 21] * 75} if kind == "variable" else {}))  # fmt: skip
    proxies = Proxies(made)  # type: ignore[arg-type]
    said = proxies.wait(made.find("film", "fr", "shot_0002"))
    wave_TC = heard(proxies, said)
    proxies.close()
    assert said["first"] > 50  # so that sound is sought, where it can be
    assert len(wave_TC) == pytest.approx(said["duration_s"] * 48_000, abs=1100)
    for side, frame in ((0, 100), (1, 105)):
        at = float(np.abs(wave_TC[:, side]).argmax()) / 48_000
        start = said["pts_s"][frame - said["first"]]
        assert start - 0.002 <= at <= start + 0.012
        other = np.abs(wave_TC[int((start - 0.02) * 48_000) : int((start + 0.03) * 48_000), 1 - side]).max()
        assert np.abs(wave_TC[:, side]).max() > 0.3 and other < 0.01


def test_a_tone_on_one_side_does_not_leak_to_the_other(tmp_path: Path) -> None:
    """Measured: nothing at all into silence, -136 dB under another tone, -116 dB under music that both sides share."""
    time_s = np.arange(96_000) / 48_000
    tone, other = (0.2 * np.sin(2 * np.pi * f * time_s) for f in (700, 1750))
    music = sum(0.05 * np.sin(2 * np.pi * f * time_s + f) for f in (110, 220, 331, 523, 880, 1333, 2093, 3135, 5000))
    for both, right, beside in ((0, 0 * tone, "silence"), (0, other, "a tone"), (music, 0 * tone, "music")):
        blocks = np.stack([both + tone, both + right], 1).astype(np.float32)
        with media.PackedWriter(
            tmp_path / "tones.mp4", 64, 64, pts=np.arange(50), end_pts=50, time_base=Fraction(1, 25),
            rate=Fraction(25), sound=iter([blocks]),
        ) as writer:  # fmt: skip
            for _ in range(50):
                writer.frame(np.zeros((64, 64, 3), np.uint8))
        wave_TC = media.read_sound(tmp_path / "tones.mp4", 48_000, mono=False)[24_000:72_000]
        power = np.abs(np.fft.rfft(wave_TC * np.hanning(48_000)[:, None], axis=0))
        leak_db = 20 * np.log10(power[690:711, 1].max() / power[690:711, 0].max() + 1e-9)
        assert leak_db < -100, (beside, leak_db)


def test_a_packed_picture_must_be_even(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not 65x64"):
        media.PackedWriter(tmp_path / "odd.mp4", 65, 64, pts=np.arange(2), end_pts=2, time_base=Fraction(1, 25),
                           rate=Fraction(25))  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_a_film_without_sound_is_silent_on_the_left(tmp_path: Path) -> None:
    made = numbered_frames.make(tmp_path, sound=False)
    proxies = Proxies(made)  # type: ignore[arg-type]
    wave_TC = heard(proxies, proxies.wait(made.find("film", "fr", "shot_0002")))
    proxies.close()
    assert np.abs(wave_TC[:, 0]).max() < 1e-4 and np.abs(wave_TC[:, 1]).max() > 0.3


def test_what_differs_is_bright_and_the_rest_black(film: NumberedFilm, proxies: Proxies) -> None:
    said = proxies.wait(film.find("film", "fr", "shot_0002"), "source", CURRENT)
    gain = 8 / said["layout"]["diff_gain"]
    for _, packed in pictures(proxies, said)[30:40:3]:
        shown = np.clip(pane(said, "diff", packed) * gain, 0, 255)
        strip = len(shown) // 4
        assert shown[strip + 4 : 2 * strip - 4].min() > 200
        assert max(shown[: strip - 4].max(), shown[2 * strip + 4 :].max()) <= 24
        assert shown[2 * strip + 4 :].mean() < 0.5
    assert DIFF_GAIN == said["layout"]["diff_gain"]


def test_the_mouth_pane_follows_the_face_smoothly_at_native_resolution(film: NumberedFilm, proxies: Proxies) -> None:
    shown = film.find("film", "fr", "shot_0003")
    said = proxies.wait(shown)
    boxes = np.array(said["mouth_boxes"])
    assert len(boxes) == said["last"] - said["first"] and said["layout"]["mouth_scale"] == 1.0
    assert len({(w, h) for _, _, w, h in boxes.tolist()}) == 1
    assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= said["size"]).all()
    before = 62 - said["first"] + 1  # the face appears two frames after the cut
    assert (boxes[:before, :2] == boxes[before, :2]).all()
    steps = np.abs(np.diff(boxes[before:, :2], axis=0))
    assert steps.max() <= 2 and boxes[-1, 0] - boxes[before, 0] >= 15  # the mesh alone jumps by more, and drifts by 24
    source = {p.frame: p.bgr() for p in media.read(shown.title.video, film.line, 70, 90)}
    for n in (70, 80, 89):
        x, y, w, h = boxes[n - said["first"]]
        mouth = pane(said, "mouth_a", pictures(proxies, said)[n - said["first"]][1]).astype(int)
        assert mouth.shape[:2] == (h, w)
        off = [np.abs((mouth - source[n][y + d : y + d + h, x + d : x + d + w]).mean(2)).mean() for d in (0, -1, 1)]
        assert off[0] < 4 and min(off[1:]) > 2 * off[0]


@pytest.mark.parametrize("size", [(3840, 2160), (2160, 3840), (1280, 720), (720, 576), (853, 481), (96, 64)])
def test_panes_fit_are_even_and_lie_apart(size: tuple[int, int]) -> None:
    layout = layout_of(
        size, Fraction(64, 45) if size == (720, 576) else Fraction(1), (1400, 1050) if size[0] > 2000 else (60, 44)
    )
    boxes = list(layout.panes.values())
    assert layout.width % 2 == layout.height % 2 == 0 and layout.width <= 2400
    for n, (x, y, w, h) in enumerate(boxes):
        assert x % 16 == y % 16 == w % 2 == h % 2 == 0 and x + w <= layout.width and y + h <= layout.height
        for left, top, wide, high in boxes[:n]:
            assert x >= left + wide + 1 or left >= x + w + 1 or y >= top + high + 1 or top >= y + h + 1
    _, _, w, h = layout.panes["full_a"]
    assert (
        max(w, h) <= FULL_PX and layout.panes["mouth_a"][2] <= MOUTH_WH[0] and layout.panes["mouth_a"][3] <= MOUTH_WH[1]
    )
    shape = {(720, 576): 16 / 9}.get(size, size[0] / size[1])
    assert w / h == pytest.approx(shape, rel=0.03)


def test_asked_twice_made_once_and_found_again(
    film: NumberedFilm, proxies: Proxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = film.find("film", "fr", "shot_0001")
    made = []
    plain = media.PackedWriter
    monkeypatch.setattr(media, "PackedWriter", lambda part, *a, **k: made.append(part) or plain(part, *a, **k))
    asked = [proxies.ask(shown), proxies.ask(shown)]
    assert {a["state"] for a in asked} == {"making"} and asked[0]["url"] == asked[1]["url"]
    said = proxies.wait(shown)
    assert said["state"] == "ready" and said["progress"] == 1.0 and len(made) == 1
    name = said["url"].removeprefix("/proxy/")
    file = proxies.path(name)
    assert file is not None and proxies.path(name.removesuffix(".mp4")) == file
    data = file.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # plays before all of it has come
    again = Proxies(film, proxies.folder)  # type: ignore[arg-type]
    assert again.ask(shown)["state"] == "ready" and len(made) == 1
    assert proxies.ask(shown, "source", OTHER)["url"] != said["url"]
    for bad in ("../" + name, "x", name.upper(), "0" * 24 + ".mp4", name + ".json", ""):
        assert proxies.path(bad) is None
    with pytest.raises(InputError, match="has no take"):
        proxies.ask(shown, "source", "0123456789ab")


def test_the_least_recently_used_go_but_none_that_is_streamed(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "kept", ".mp4", 1000)

    def put(name: str, age_s: float) -> None:
        with kept.new(name) as part:
            part.write_bytes(b"x" * 400)
        os.utime(tmp_path / "kept" / f"{name}.used", (time.time() - age_s,) * 2)

    put("old", 300)
    put("older", 600)
    put("now", 10)
    assert sorted(p.stem for p in (tmp_path / "kept").glob("*.mp4")) == ["now", "old"]
    assert kept.get("old")  # used again: now it is in use
    put("new", 0)
    assert sorted(p.stem for p in (tmp_path / "kept").glob("*.mp4")) == ["new", "now", "old"]
    os.utime(tmp_path / "kept" / "old.used", (time.time() - 100,) * 2)
    put("newer", 0)
    assert sorted(p.stem for p in (tmp_path / "kept").glob("*.mp4")) == ["new", "newer", "now"]


def test_what_is_being_written_is_left_to_its_writer(tmp_path: Path) -> None:
    kept = Kept(tmp_path, ".json", 1000)
    (tmp_path / f"{HALF}{os.getpid()}-of-an-earlier-process").write_text("x")
    (tmp_path / f"{HALF}1-of-a-living-one").write_text("x")
    with kept.new("mine") as part:
        part.write_text("{}")
        Kept(tmp_path, ".json", 1000)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{HALF}1-of-a-living-one", "mine.json", "mine.used"]
    with pytest.raises(ZeroDivisionError), kept.new("other") as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert kept.get("other") is None and not list(tmp_path.glob(f"{HALF}{os.getpid()}*"))


def test_proxies_keep_to_their_limit(film: NumberedFilm, tmp_path: Path) -> None:
    proxies = Proxies(film, tmp_path, 1)  # type: ignore[arg-type]
    first = proxies.wait(film.find("film", "fr", "shot_0001"))
    os.utime(tmp_path / first["url"].split("/")[-1].replace(".mp4", ".used"), (time.time() - 100,) * 2)
    second = proxies.wait(film.find("film", "fr", "shot_0002"))
    assert [p.name for p in tmp_path.glob("*.mp4")] == [second["url"].split("/")[-1]]
    proxies.close()


def test_a_damaged_source_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    made = numbered_frames.make(tmp_path)
    proxies = Proxies(made)  # type: ignore[arg-type]
    shown = made.find("film", "fr", "shot_0002")
    good = (tmp_path / "film.mp4").read_bytes()
    hole = len(good) // 2
    (tmp_path / "film.mp4").write_bytes(good[:hole] + b"\0" * 4000 + good[hole + 4000 :])
    said = proxies.wait(shown)
    assert said["state"] == "failed" and "damaged" in said["error"] and "(frame " in said["error"]
    assert not list(proxies.folder.glob("*"))
    assert proxies.ask(shown)["state"] == "failed"
    proxies.close()
    (tmp_path / "film.mp4").unlink()
    gone = Proxies(made)  # type: ignore[arg-type]
    said = gone.ask(shown)
    assert said["state"] == "failed" and "film.mp4" in said["error"]
    gone.close()


KILLED = """
import sys; sys.path.insert(0, {tests!r})
from pathlib import Path
import numbered_frames
from dubbing.review.proxy import Proxies
made = numbered_frames.make(Path({folder!r}), cuts=(0, 10, 400))
proxies = Proxies(made, Path({cache!r}))
proxies.ask(made.find("film", "fr", "shot_0002"))
print("asked", flush=True)
proxies.wait(made.find("film", "fr", "shot_0002"))
"""


def test_killed_or_closed_half_way_leaves_nothing(tmp_path: Path, film: NumberedFilm) -> None:
    cache = tmp_path / "cache"
    text = KILLED.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "film"), cache=str(cache))
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"asked\n"
        until(lambda: list(cache.glob(f"{HALF}*")), process.poll)
        process.send_signal(signal.SIGKILL)
    assert len(list(cache.glob(f"{HALF}*"))) == 1 and not list(cache.glob("*.mp4"))
    proxies = Proxies(film, cache)  # type: ignore[arg-type]
    assert not list(cache.glob("*"))
    proxies.ask(film.find("film", "fr", "shot_0001"))
    proxies.close()
    assert not list(cache.glob(f"{HALF}*"))


def test_what_is_watched_comes_before_what_is_prepared(tmp_path: Path) -> None:
    made = numbered_frames.make(tmp_path, cuts=(0, 300, 304, 308))
    proxies = Proxies(made)  # type: ignore[arg-type]
    long, short = (made.find("film", "fr", f"shot_000{n}") for n in (1, 3))
    proxies.ask(long, background=True)
    assert proxies.wait(short)["state"] == "ready"
    before = proxies.ask(long, background=True)
    assert before["state"] == "making" and before["progress"] < 0.9
    proxies.ask(long)  # now it is watched
    assert proxies.wait(long)["state"] == "ready"
    proxies.close()


def decoded(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def test_a_still_is_the_proxys_frame_before_there_is_one(film: NumberedFilm, proxies: Proxies) -> None:
    shown: Shown = film.find("film", "fr", "shot_0002")
    still = decoded(proxies.still(shown, "source", OTHER, 47))
    said = proxies.wait(shown, "source", OTHER)
    assert still.shape == (said["layout"]["height"], said["layout"]["width"], 3)
    assert read(said, "full_a", still) == (47, None) and read(said, "full_b", still) == (47, 47 + OFFSETS[OTHER])
    packed = pictures(proxies, said)[47 - said["first"]][1]
    assert np.abs(still.astype(int) - packed).mean() < 3
    assert read(said, "full_a", decoded(proxies.still(shown)))[0] == 40
    with pytest.raises(InputError, match="Frame 99 is not in the proxy"):
        proxies.still(shown, frame=99)


def test_a_thumb_is_small_and_shows_the_current_take(film: NumberedFilm, proxies: Proxies) -> None:
    shown = film.find("film", "fr", "shot_0002")
    thumb = proxies.thumb(shown)
    picture = decoded(thumb)
    strip = len(picture) // 4
    assert (
        picture.shape[1] == 320 and numbered_frames.number(picture[strip + 4 : 2 * strip - 4]) == 50 + OFFSETS[CURRENT]
    )
    assert proxies.thumb(shown) == thumb and len(list(proxies.folder.glob("thumbs/*.jpg"))) == 1
    assert proxies.thumb(numbered_frames.rejected(shown)) != thumb

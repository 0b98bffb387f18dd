"""Masters in parts: what windows of a long film leave, and what is joined of it."""

import os
import shutil
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from command import Dub
from films import Finished, run
from test_master import H, W, dub, film, patches, payloads_of, same_picture_tags, same_sound, same_time, scene

from dubbing import config, media
from dubbing.analysis import windows
from dubbing.clock import Timeline
from dubbing.engine import Event
from dubbing.errors import StageError
from dubbing.master_choice import MasterChoice
from dubbing.media.colour import planes_of
from dubbing.stages import master as master_stage

COUNT = 64
EDGES = (0, 21, 40, COUNT)
PATCHED = range(15, 30)  # over an edge


def test_a_film_is_divided_by_its_own_cuts_and_never_by_who_works_on_it() -> None:
    """After 10 s at the next cut, after 20 s anywhere; a short rest belongs to the part before it."""
    rate = Fraction(25)
    assert windows.film_windows([0, 300, 600], 30 * 25, rate) == [(0, 30 * 25)]
    found = windows.film_windows([0, 240, 260, 700, 1500, 4950], 5000, rate)
    assert [a for a, _ in found] == [0, 260, 700, 1200, 1500, 2000, 2500, 3000, 3500, 4000, 4500]
    assert [b for _, b in found] == [*(a for a, _ in found[1:]), 5000]


def parts_of(
    source: Path, line: Timeline, folder: Path, drawn: Sequence[Path], choices: Sequence[MasterChoice],
    edges: Sequence[int] = EDGES, **more: Any,
) -> list[Path]:  # fmt: skip
    """Made in any order."""
    made = [folder / f"part_{n}" for n in range(len(edges) - 1)]
    for n in reversed(range(len(made))):
        made[n].mkdir(parents=True)
        told: list[int] = []
        media.make_part(source, line, drawn, choices, made[n], edges[n], edges[n + 1], progress=told.append, **more)
        assert sum(told) == edges[n + 1] - edges[n]
    return made


def pictures_of(path: Path, threads: int = 0) -> list[list[np.ndarray]]:
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_type = "AUTO" if threads == 0 else "NONE"
        return [[plane.copy() for plane in planes_of(frame)] for frame in container.decode(video=0)]


def pictures_of_parts(folders: Sequence[Path], codec: str) -> list[list[np.ndarray]]:
    """Each part decoded by itself."""
    found = []
    for folder in folders:
        index, data = np.load(folder / "picture_0.npz"), (folder / "picture_0.packets").read_bytes()
        decoder: Any = av.CodecContext.create(codec, "r")
        decoder.extradata, decoder.width, decoder.height = index["header"].tobytes() or None, W, H
        frames, at = [], 0
        for size in index["sizes"].tolist():
            frames += decoder.decode(av.Packet(data[at : at + size]))
            at += size
        found += frames + decoder.decode(None)
    return [[plane.copy() for plane in planes_of(frame)] for frame in found]


H264, DEEP = {"crf": 18}, {"codec": "libx265", "pix_fmt": "yuv420p10le"}
PRORES = {"codec": "prores_ks", "pix_fmt": "yuv422p10le", "crf": None, "options": {"profile": "hq", "vendor": "apl0"}}
FFV1 = {"codec": "ffv1", "crf": None, "options": {"level": "3", "slices": "16", "slicecrc": "1", "g": "1"}}


@pytest.mark.parametrize(
    ("name", "settings", "asked", "codec"),
    [
        ("film.mp4", H264, {}, "h264"),
        ("film.mkv", H264, {"preset": "medium"}, "h264"),
        ("film.mp4", DEEP, {}, "hevc"),
        ("film.mp4", DEEP, {"preset": "fast"}, "hevc"),
        ("film.mp4", H264, {"codec": "av1"}, "libdav1d"),
        ("film.mp4", H264, {"codec": "ffv1", "container": "mkv"}, "ffv1"),
        ("film.mp4", H264, {"codec": "prores", "container": "mxf"}, "prores"),
    ],
)
def test_joined_parts_show_what_each_shows_by_itself(
    tmp_path: Path, name: str, settings: dict[str, Any], asked: dict[str, Any], codec: str
) -> None:
    source = film(tmp_path / name, COUNT, timecode="01:00:00:00", **settings)
    line, choice = media.timeline(source), MasterChoice(**asked)
    sound = dub(tmp_path / ("d.wav" if asked.get("container") == "mxf" else "d.flac"), COUNT * 1920)
    drawn = [patches(tmp_path / "p", PATCHED)]
    folders = parts_of(source, line, tmp_path, drawn, [choice])
    target = tmp_path / f"m{media.delivery(media.probe(source), media.probe(sound), None, choice).extension}"
    (done,) = media.encode_masters(source, line, [], sound, {target: choice}, language="fr", parts=folders)
    assert done.frames == COUNT and os.sched_getscheduler(0) == os.SCHED_OTHER
    same_time(line, media.timeline(target))
    same_sound(sound, target)
    whole, by_themselves = pictures_of(target), pictures_of_parts(folders, codec)
    assert len(whole) == len(by_themselves) == COUNT
    for a, b, c in zip(whole, by_themselves, pictures_of(target, 1), strict=True):
        assert all(np.array_equal(x, y) and np.array_equal(x, z) for x, y, z in zip(a, b, c, strict=True))
    assert media.compare_pictures(source, target, drawn).psnr_db > 40
    alone = tmp_path / f"alone{target.suffix}"
    media.encode_masters(source, line, drawn, sound, {alone: choice}, language="fr")
    same_picture_tags(alone, target)
    with (
        av.open(str(target)) as one,
        av.open(str(alone)) as other,
    ):  # decoded in the same steps as what one encoder made
        steps = [[(p.dts, p.pts is None) for p in c.demux(video=0)] for c in (one, other)]
    assert steps[0] == steps[1]


@pytest.mark.parametrize(("name", "settings"), [("film.mov", PRORES), ("film.mkv", FFV1)])
def test_of_pictures_that_stand_alone_parts_hold_the_new_ones_and_the_master_is_the_same(
    tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    """Beside it a second master, which is encoded; both of one decoding, and both cut shorter."""
    source, sound = film(tmp_path / name, COUNT, **settings), dub(tmp_path / "d.wav", COUNT * 1920)
    line, drawn = media.timeline(source), [patches(tmp_path / "p", PATCHED)]
    asked = [MasterChoice(), MasterChoice(codec="prores", profile="lt", container="mov", suffix="lt")]
    for way, frames in (("whole", None), ("shorter", 51)):
        edges = (*EDGES[:-1], frames or COUNT)
        folders = parts_of(source, line, tmp_path / way, drawn, asked, edges)
        new = [n for f in folders for n in np.load(f / "picture_0.npz")["numbers"].tolist()]
        assert new == list(PATCHED)
        joined = {tmp_path / way / f"{n}{name[4:] if n == 0 else '.mov'}": choice for n, choice in enumerate(asked)}
        media.encode_masters(source, line, [], sound, joined, language="fr", frames=frames, parts=folders)
        alone = {p.with_name(f"alone-{p.name}"): choice for p, choice in joined.items()}
        media.encode_masters(source, line, drawn, sound, alone, language="fr", frames=frames)
        for one, other in zip(joined, alone, strict=True):
            assert one.read_bytes() == other.read_bytes(), one.name
    was, now = ([data for *_, data in payloads_of(p, "video")] for p in (source, tmp_path / "whole" / f"0{name[4:]}"))
    assert [n for n in range(COUNT) if was[n] != now[n]] == list(PATCHED)


def test_parts_with_another_header_are_not_joined(tmp_path: Path) -> None:
    source, sound = film(tmp_path / "film.mp4", 8), dub(tmp_path / "d.flac", 8 * 1920)
    line = media.timeline(source)
    folders = parts_of(source, line, tmp_path, [], [MasterChoice()], (0, 4, 8))
    index = folders[1] / "picture_0.npz"
    held = dict(np.load(index))
    np.savez(index, **{**held, "header": held["header"][:-1]})
    with pytest.raises(StageError, match=r"The parts of m.mp4 do not fit together: .*please report"):
        media.encode_masters(source, line, [], sound, {tmp_path / "m.mp4": MasterChoice()}, parts=folders)
    assert not (tmp_path / "m.mp4").exists()


def test_uneven_times_and_a_film_that_is_cut_shorter_are_kept(tmp_path: Path) -> None:
    source, sound = tmp_path / "film.mp4", dub(tmp_path / "d.flac", 96_000)
    steps = np.random.default_rng(0).choice([256, 512, 1024, 1537], COUNT - 1)
    pts = 7777 + np.concatenate([[0], np.cumsum(steps)])
    with media.ClipWriter(source, 128, 96, Fraction(25), time_base=Fraction(1, 12800)) as clip:
        for n, at in enumerate(pts.tolist()):
            clip.frame(scene(n, 128, 96), at)
    line, drawn = media.timeline(source), [patches(tmp_path / "p", PATCHED)]
    folders = parts_of(source, line, tmp_path, drawn, [MasterChoice()], (0, 21, 40, 50))
    media.encode_masters(source, line, [], sound, {tmp_path / "m.mp4": MasterChoice()}, frames=50, parts=folders)
    made = media.timeline(tmp_path / "m.mp4")
    assert [p * made.time_base for p in made.pts.tolist()] == [p * line.time_base for p in line.pts[:50].tolist()]
    assert made.end_pts * made.time_base == int(line.pts[50]) * line.time_base


@pytest.fixture
def windowed(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run of the short film, whose masters are to be made again in seven windows of 12
    frames."""
    monkeypatch.setattr(windows, "FILM_S", 0.25)
    return shutil.copytree(finished.out, tmp_path / "out")


def masters(out: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(out.glob("film/*/film.*.mp4"))}


def test_a_long_master_is_made_in_windows_and_what_is_done_is_not_done_again(
    finished: Finished, windowed: Path, dub: Dub, tmp_path: Path
) -> None:
    shown: list[Event] = []

    def stop(event: Event) -> None:
        shown.append(event)
        if event.kind == "finished" and event.task_id == "master film/hi/window_3":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(finished.film, windowed, show=stop)
    began = {e.task_id for e in shown if e.kind == "started"}
    assert began == {"master film/hi/window_1", "master film/hi/window_2", "master film/hi/window_3"}
    shown.clear()
    assert run(finished.film, windowed, show=shown.append).exit_code in (0, 3)
    again = [e.task_id for e in shown if e.kind == "started" and e.stage == "master"]
    assert len(again) == len({*again} - began) == 4 + 1 + 7 + 1, "each window once, and a master of each language"
    frames = sum(e.frames for e in shown if e.kind == "frames" and e.stage == "master")
    totals = next(e.totals["master"] for e in shown if e.kind == "planned")
    assert totals[0] == 2 and totals[2] == 2 * 84 and totals[3] + frames == 2 * 84
    assert not list(windowed.glob("film/*/windows/*")), "what was joined is not kept twice"
    made, whole = masters(windowed), masters(finished.out)
    assert made.keys() == whole.keys() and all(made[name] != whole[name] for name in made)
    for name in made:
        master = next(windowed.glob(f"film/*/{name}"))
        assert dub("verify", master, "--source", finished.film.parent / "film.mp4")[0] == 0
    other = shutil.copytree(finished.out, tmp_path / "other")
    run(finished.film, other)
    assert masters(other) == made
    assert run(finished.film, windowed).run_json["done_now"] == 0


def test_a_window_that_fails_fails_its_master_with_one_sentence(
    finished: Finished, windowed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = master_stage.make_part

    def breaks(
        source: Path, line: Timeline, drawn: Any, asked: Any, out: Path, first: int, last: int, **more: Any
    ) -> Any:
        if first == 24 and "hi" in out.parts:
            raise StageError("no pictures came")
        return make(source, line, drawn, asked, out, first, last, **more)

    monkeypatch.setattr(master_stage, "make_part", breaks)
    said: list[str] = []
    done = run(finished.film, windowed, show=lambda e: said.append(e.text) if e.kind == "failed" else None)
    assert done.exit_code == 1 and said == ["StageError: no pictures came"]
    hindi, tamil = done.summary
    assert hindi["master"] is None and "no pictures came" in hindi["error"] and tamil["master"]


@pytest.mark.ray
def test_windows_of_many_workers_make_the_same_master(finished: Finished, windowed: Path, tmp_path: Path) -> None:
    alone = shutil.copytree(finished.out, tmp_path / "alone")
    run(finished.film, alone)
    settings = config.load().model_copy(update={"engine": config.Engine(workers=2)})
    run(finished.film, windowed, "ray", settings)
    assert masters(windowed) == masters(alone)

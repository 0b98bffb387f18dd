"""Films whose pictures are not what they seem: carried as fields, or with pixels that are not square."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from command import Dub
from films import Finished, of_hindi, run
from test_master import dub as sound
from test_master import master, patches, payloads_of, same_time

from dubbing import media
from dubbing.errors import UnsupportedMedia
from dubbing.experts.crop import published_bgr
from dubbing.shot_table import read_rows

W, H = 160, 96
PAN_PX = 3  # from one moment to the next
TFF = {"flags": "+ildct+ilme", "x264-params": "tff=1"}
WOVEN = np.arange(H)[:, None, None] % 2 == 1  # lines of the second field


def moments(count: int, pan_px: int = PAN_PX, grain: float = 0) -> list[np.ndarray]:
    """A pan over something with detail, uint8 (H, W, 3); grain: standard deviation of each moment's own noise."""
    rng = np.random.default_rng(1)
    field = cv2.GaussianBlur(rng.normal(0, 1, (H, W + count * max(1, pan_px), 3)), (0, 0), 3)
    wide = 120 + 50 * field / field.std()
    seen = [wide[:, n * pan_px : n * pan_px + W] for n in range(count)]
    return [np.clip(s + rng.normal(0, grain, s.shape), 0, 255).astype(np.uint8) for s in seen]


def woven(fields: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """Pictures whose even lines show one moment, and whose odd lines another."""
    return [np.where(WOVEN, second, first) for first, second in fields]


def telecined(film: list[np.ndarray]) -> list[np.ndarray]:
    """Five pictures of every four, as 3:2 pulldown makes them."""
    made = []
    for a, b, c, d in zip(*(film[n::4] for n in range(4)), strict=False):
        made += woven([(a, a), (b, b), (b, c), (c, d), (d, d)])
    return made


def written(path: Path, pictures: list[np.ndarray], codec: str = "libx264", **settings: Any) -> Path:
    given: dict[str, Any] = {"crf": 16, "options": TFF, **settings}
    with media.ClipWriter(path, W, H, Fraction(25), codec, **given) as clip:
        for picture in pictures:
            clip.frame(picture)
    return path


@pytest.mark.parametrize(
    ("pictures", "kind", "said"),
    [
        (moments(30), "progressive", "PsF"),
        (moments(30, grain=6), "progressive", "PsF"),
        (woven(list(zip(*(moments(60)[n::2] for n in (0, 1)), strict=True))), "interlaced", "50 pictures a second"),
        (telecined(moments(32, 6)), "telecined", "inverse telecine, to 20"),
        (moments(30, 0), "unsure", "too little moves"),
        (moments(30, 0, grain=3), "unsure", "too little moves"),
    ],
    ids=["psf", "grainy", "interlaced", "telecined", "still", "grain"],
)
def test_what_fields_hold_is_found_by_looking_at_them(
    tmp_path: Path, pictures: list[np.ndarray], kind: str, said: str
) -> None:
    path = written(tmp_path / "film.mov", pictures)
    found = media.carriage(path)
    assert found.kind == kind, found
    if kind in ("interlaced", "telecined"):
        with pytest.raises(UnsupportedMedia, match=said):
            found.said(path, Fraction(25))
    else:
        assert said in found.said(path, Fraction(25)) and "keeps the marks" in found.said(path, Fraction(25))


FIRST = {"bottom.mp4": "bottom", "studio.mov": "bottom", "fine.mov": "bottom"} | dict.fromkeys(
    ("top.mov", "deep.mkv", "whole.mov"), "top"
)  # prores_ks takes a picture that says nothing for one whose bottom field is first


@pytest.mark.parametrize(
    ("name", "codec", "settings", "copied"),
    [
        ("top.mov", "libx264", {}, 0),
        ("bottom.mp4", "libx264", {"options": {"x264-params": "fake-interlaced=1:bff=1"}}, 0),
        ("deep.mkv", "libx264", {"pix_fmt": "yuv422p10le"}, 0),
        ("studio.mov", "prores_ks", {"pix_fmt": "yuv422p10le", "options": {"flags": "+ildct"}}, 6),
        ("whole.mov", "prores_ks", {"pix_fmt": "yuv422p10le", "options": {"field_order": "tt"}}, 6),
        ("fine.mov", "prores_ks", {"pix_fmt": "yuv444p10le", "options": {"flags": "+ildct", "profile": "4444"}}, 6),
    ],
)
def test_the_marks_of_fields_are_kept(
    tmp_path: Path, name: str, codec: str, settings: dict[str, object], copied: int
) -> None:
    source = written(tmp_path / name, moments(10), codec, **settings)
    target, line = master(source, sound(tmp_path / "d.flac", 19_200), [folder(source, tmp_path / "p", range(3, 7))])
    same_time(line, media.timeline(target))
    a, b = media.probe(source).video, media.probe(target).video
    assert a is not None and b is not None and a.interlaced and b.interlaced
    assert a.first_field == b.first_field == FIRST[name]
    assert [c.status for c in media.check_picture(a, b)] == ["equal"] * 3
    for path in (source, target):
        with av.open(str(path)) as container:
            said = {frame.interlaced_frame for frame in container.decode(video=0)}
        assert said == {name != "whole.mov"}, "where only the container says so, pictures do not"
    same = [
        one[2] == other[2]
        for one, other in zip(payloads_of(source, "video"), payloads_of(target, "video"), strict=True)
    ]
    assert sum(same) == copied


def folder(source: Path, into: Path, frames: range) -> Path:
    """Patches of a film as deep as it is: grey."""
    into.mkdir()
    line = media.timeline(source)
    pictures = list(media.read(source, line, frames.start, frames.stop))
    matte = np.full((24, 32), 255, np.uint8)
    with media.PatchWriter(into, 32, 24, transfer=0 if pictures[0].deep else None) as writer:
        for picture in pictures:
            grey = np.full_like(picture.own_bgr((20, 16, 32, 24)), 128)
            writer.write(media.patch_of(picture.frame, 20, 16, grey, matte))
    return into


# -- pixels that are not square ------------------------------------------------------------------


def shaped(path: Path, pictures: list[np.ndarray], aspect: Fraction, degrees: int = 0) -> Path:
    """A film with pixels of that width over height, which is shown by a clockwise turn."""
    fine = {"preset": "ultrafast"}
    return written(path, pictures, crf=1, pix_fmt="yuv444p", options=fine, rotation_deg=degrees, sample_aspect=aspect)


SHAPES = [(Fraction(64, 45), (228, 96)), (Fraction(8, 9), (160, 108))]


@pytest.mark.parametrize(("aspect", "square"), SHAPES)
@pytest.mark.parametrize("degrees", [0, 90])
def test_patches_are_drawn_in_square_pixels_and_nothing_else_changes(
    tmp_path: Path, aspect: Fraction, square: tuple[int, int], degrees: int
) -> None:
    source = shaped(tmp_path / "film.mp4", moments(4), aspect, degrees)
    line = media.timeline(source)
    picture = next(media.read(source, line))
    assert picture.size == (square[::-1] if degrees else square) == media.probe(source).upright_size
    whole = picture.bgr()
    assert whole.shape[1::-1] == picture.size == published_bgr(picture).shape[1::-1]
    assert np.array_equal(picture.bgr((30, 21, 41, 33)), whole[21:54, 30:71])
    assert np.abs(published_bgr(picture).astype(int) - whole).mean() < 3

    red = patches(tmp_path / "red", range(1, 3), 40, 30)
    (before, after) = (list(media.pasted_frames(source, line, f)) for f in ([], [red]))
    (patch, _) = media.read_patches(red)
    covered = np.zeros(picture.size[::-1], np.float32)
    covered[30 : 30 + len(patch.matte_HW), 40 : 40 + patch.matte_HW.shape[1]] = patch.matte_HW > 0
    reach = cv2.resize(np.rot90(covered, degrees // 90).copy(), (W, H), interpolation=cv2.INTER_LINEAR)
    reach = cv2.dilate(reach, np.ones((3, 3))) > 0
    for a, b in zip(before[1], after[1], strict=True):
        assert np.array_equal(a[~reach], b[~reach])
    assert (before[1][2] != after[1][2])[reach].mean() > 0.5

    target, _ = master(source, sound(tmp_path / "d.flac", 7_680), [red], crf=1)
    seen = next(media.read(target, line, 1)).bgr().astype(int)
    # a pixel inside its edge, where an encoder blurs
    assert np.abs(seen[39:45, 51:61] - (30, 30, 220)).max() < 16, "the patch is where it was drawn, and as large"
    found = media.compare_pictures(source, target, [red])
    assert found.masked == 2 and found.worst_db is not None and found.worst_db > 40

    own = tmp_path / "own"
    own.mkdir()
    with media.PatchWriter(own, 64, 48) as writer:
        writer.write(media.patch_of(0, 24, 30, picture.bgr((24, 30, 64, 48)), np.full((48, 64), 255, np.uint8)))
    back = next(media.pasted_frames(source, line, [own]))
    assert max(np.abs(a.astype(int) - b).max() for a, b in zip(before[0], back, strict=True)) <= 4


STUDIO = {"codec": "prores_ks", "options": {"vendor": "apl0"}, "pix_fmt": "yuv422p10le", "crf": None}


def test_pictures_that_are_copied_keep_the_shape_of_their_pixels(tmp_path: Path) -> None:
    source = written(tmp_path / "film.mov", moments(4), sample_aspect=Fraction(4, 3), **STUDIO)
    target, _ = master(source, sound(tmp_path / "d.wav", 7_680), [folder(source, tmp_path / "p", range(1, 2))])
    a, b = media.probe(source).video, media.probe(target).video
    assert a is not None and b is not None and a.sample_aspect == b.sample_aspect == Fraction(4, 3)
    pairs = zip(payloads_of(source, "video"), payloads_of(target, "video"), strict=True)
    assert [one[2] == other[2] for one, other in pairs] == [True, False, True, True]


def test_a_matroska_that_would_lose_the_shape_of_pixels_is_not_made(tmp_path: Path) -> None:
    info, track = media.probe(written(tmp_path / "film.mkv", moments(2), **STUDIO)), sound(tmp_path / "d.wav", 3_840)
    assert info.video is not None
    shown = replace(info.video, sample_aspect=Fraction(4, 3))
    how = media.delivery(replace(info, video=shown), media.probe(track))
    assert how.extension == ".mov" and "keeps ProRes with pixels of 4:3" in how.notices[0]
    archive = replace(info, video=replace(shown, codec="ffv1", pix_fmt="yuv420p"))
    with pytest.raises(UnsupportedMedia, match="FFV1 with pixels of 4:3, which is lost in its Matroska"):
        media.delivery(archive, media.probe(track))


def test_a_shape_that_nobody_could_mean_is_left_alone(tmp_path: Path) -> None:
    for aspect in (Fraction(1280, 1281), Fraction(90)):
        info = media.probe(shaped(tmp_path / "film.mp4", moments(2), aspect))
        assert info.upright_size == (W, H)


def squeezed(source: Path, target: Path, width: int) -> None:
    """A film whose pictures are less wide, in pixels that are shown wider; its sound is copied."""
    with av.open(str(source)) as was, av.open(str(target), "w") as new:
        picture, sound = was.streams.video[0], was.streams.audio[0]
        made = new.add_stream(
            "libx264", rate=picture.average_rate, width=width, height=picture.height, pix_fmt="yuv420p"
        )
        made.options = {"crf": "10", "preset": "veryfast"}
        made.codec_context.sample_aspect_ratio = Fraction(picture.width, width)
        copy = new.add_stream_from_template(sound)
        for packet in was.demux(picture, sound):
            if packet.stream is sound:
                if packet.size:
                    packet.stream = copy
                    new.mux(packet)
                continue
            for frame in packet.decode():
                small = frame.reformat(width=width, interpolation="LANCZOS")
                small.pict_type = 0
                new.mux(made.encode(small))
        new.mux(made.encode(None))


def rows(out: Path) -> Iterator[dict[str, object]]:
    return iter(read_rows((out / "film" / "hi" / "faces.parquet").read_bytes()))


@pytest.mark.long
def test_a_squeezed_film_is_dubbed_and_measured_as_the_wide_one(finished: Finished, tmp_path: Path, dub: Dub) -> None:
    shutil.copytree(finished.film.parent, tmp_path / "film")
    job = tmp_path / "film" / finished.film.name
    video = next((tmp_path / "film").glob("film.m*"))
    squeezed(finished.film.parent / video.name, video, 360)
    assert "h264 360x270 shown as 480x270" in dub("check", job)[1]
    assert run(of_hindi(job, tmp_path), tmp_path / "out").exit_code in (0, 3)
    (wide,), (own,) = rows(finished.out), rows(tmp_path / "out")
    assert (own["start_frame"], own["end_frame"], own["rendered_frames"]) == tuple(
        wide[k] for k in ("start_frame", "end_frame", "rendered_frames")
    )
    for name, far in {
        "face_px": 2.0, "yaw_deg": 1.5, "source_lse_d": 0.25, "lse_d": 0.25, "following": 0.05, "rest_opening": 0.03,
    }.items():  # fmt: skip
        assert own[name] == pytest.approx(wide[name], abs=far), name
    shown = media.probe(next((tmp_path / "out" / "film" / "hi").glob("film.hi.*"))).video
    assert shown is not None and (shown.width, shown.height, shown.sample_aspect) == (360, 270, Fraction(4, 3))

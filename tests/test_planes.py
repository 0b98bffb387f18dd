"""Patches in a film's own samples of 4:2:0: nothing is lost on the way from the film to the patch and back."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dubbing import media
from dubbing.media.colour import Colour, planes_of
from dubbing.media.paste import paste
from dubbing.media.planes import Planes
from dubbing.media.read import Picture
from dubbing.records import Patch

BOX = (12, 8, 40, 24)


def _picture(
    degrees: int, *, size: tuple[int, int] = (96, 64), pix_fmt: str = "yuv420p", value_range: int = 1
) -> Picture:
    """A frame of smooth colours and noise, as coded, shown by that turn."""
    frame = av.VideoFrame(*size, pix_fmt)
    rng = np.random.default_rng(degrees)
    for n, plane in enumerate(planes_of(frame)):
        ramp = np.linspace(90, 160, plane.shape[1])[None] + rng.normal(0, 3 if n == 0 else 1, plane.shape)
        plane[:] = ramp * (1 << (8 if plane.dtype == np.uint8 else 10) - 8)
    return Picture(7, 0, degrees, Colour.of(1, value_range, 720, pix_fmt), frame)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_planes_are_the_upright_picture_and_go_back_where_they_were(degrees: int) -> None:
    picture = _picture(degrees)
    planes = picture.planes(BOX)
    assert picture.planar and planes.shape == (24, 40)
    assert (planes.bgr == picture.bgr(BOX)).all()
    assert (planes.shown(slice(3, 9), slice(5, 31)) == planes.bgr[3:9, 5:31]).all(), "a part of it shows the same"
    before = [plane.copy() for plane in planes_of(picture.av_frame)]
    paste(picture.av_frame, Patch(7, BOX[0], BOX[1], planes, np.full((24, 40), 255, np.uint8)), picture)
    assert all((a == b).all() for a, b in zip(before, planes_of(picture.av_frame), strict=True)), "not a sample changed"


@pytest.mark.parametrize("degrees", [0, 90])
def test_samples_are_laid_over_a_film_as_bgr_is_and_leave_the_rest(degrees: int) -> None:
    one, two = _picture(degrees), _picture(degrees)
    matte = np.zeros((24, 40), np.uint8)
    matte[3:20, 5:37] = np.linspace(1, 255, 32)
    brighter = np.clip(one.bgr(BOX).astype(int) + (60, 20, -30), 0, 255).astype(np.uint8)
    before = [plane.copy() for plane in planes_of(one.av_frame)]
    paste(one.av_frame, Patch(7, BOX[0], BOX[1], brighter, matte), one)
    paste(two.av_frame, Patch(7, BOX[0], BOX[1], Planes.of_bgr(brighter, two.colour), matte), two)
    changed = 0
    for was, bgr, own in zip(before, planes_of(one.av_frame), planes_of(two.av_frame), strict=True):
        assert np.abs(bgr.astype(int) - own).max() <= 1
        changed += int((own != was).sum())
    assert 0 < changed <= 17 * 32 * 3 // 2
    outside = np.ones(before[0].shape, bool)
    x, y, w, h = one.coded_box(BOX)
    outside[y : y + h, x : x + w] = False
    assert (before[0][outside] == planes_of(two.av_frame)[0][outside]).all()


@pytest.mark.parametrize(
    ("what", "planar"),
    [({}, True), ({"pix_fmt": "yuv422p"}, False), ({"pix_fmt": "yuv420p10le"}, False), ({"size": (95, 64)}, False)],
)
def test_only_films_that_planes_hold_whole_are_kept_so(what: dict[str, object], planar: bool) -> None:
    picture = _picture(0, **what)  # type: ignore[arg-type]
    assert picture.planar is planar
    assert not replace(picture, aspect=Fraction(4, 3)).planar, "what is resampled is BGR"


def test_places_that_cut_blocks_of_chroma_are_refused(tmp_path: Path) -> None:
    picture = _picture(0)
    with pytest.raises(ValueError, match="must be even"):
        picture.planes((13, 8, 40, 24))
    with media.PatchWriter(tmp_path, 40, 24, colour=picture.colour) as writer:
        with pytest.raises(ValueError, match="frame 7 begins at 13, 8, which must be even"):
            writer.write(Patch(7, 13, 8, picture.bgr(BOX), np.full((24, 40), 255, np.uint8)))
        writer.write(Patch(8, 12, 8, picture.bgr(BOX), np.full((24, 40), 255, np.uint8)))
    assert [patch.frame for patch in media.read_patches(tmp_path)] == [8], "and leaves nothing behind"


def test_a_folder_of_samples_keeps_them_all_and_takes_bgr_too(tmp_path: Path) -> None:
    picture = _picture(0, value_range=2)
    matte = np.full((24, 40), 200, np.uint8)
    own, bgr = Patch(7, 12, 8, picture.planes(BOX), matte), Patch(8, 12, 8, picture.bgr(BOX), matte)
    with media.PatchWriter(tmp_path, 40, 24, colour=picture.colour) as writer:
        kept = [writer.write(own), writer.write(bgr)]
    read = list(media.read_patches(tmp_path))
    assert [type(p.pixels) for p in (*kept, *read)] == [Planes] * 4
    assert (read[0].pixels.both == own.pixels.both).all()  # type: ignore[union-attr]
    for told, found in zip(kept, read, strict=True):
        assert (told.bgr_HWC == found.bgr_HWC).all(), "what is said to be kept is read, its colour too"
    assert np.abs(read[1].bgr_HWC.astype(int) - bgr.bgr_HWC).max() <= 3
    (shown,) = media.read_patches(tmp_path, 8, 9)
    crop = np.zeros((30, 50, 3), np.uint8)
    over = media.composite(crop, shown, 9, 7)
    assert np.abs(over[1:25, 3:43].astype(int) - shown.bgr_HWC * (200 / 255)).max() <= 1 and not over[25:].any()

"""Pictures of more than 8 bits, and of a high dynamic range: they keep every code value that nobody changed."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from test_master import dub, master, payloads_of, same_picture_tags, same_time

from bench.formats import patches as moved
from dubbing import media
from dubbing.errors import UnsupportedMedia
from dubbing.media.colour import Colour, display, layout_of, planes_of

W, H, COUNT, PATCHED = 96, 64, 8, range(2, 5)
BOX = (24, 16, 40, 32)
MASTERING = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
X265 = {
    "crf": "10",
    "x265-params": f"log-level=none:pools=1:frame-threads=1:hdr10=1:master-display={MASTERING}:max-cll=1000,400",
}


def ramp(n: int) -> np.ndarray:
    """A slow ramp of 16 bits that fills more code values than 8 bits have, with a little colour."""
    y, x = np.mgrid[:H, :W].astype(np.float64)
    grey = 20_000 + 130 * x + 37 * y + 11 * n
    return np.stack([grey + 900, grey, grey + 2000], -1).astype(np.uint16)


def film(
    path: Path, codec: str, pix_fmt: str, options: dict[str, str] | None = None, transfer: int = 0,
    sample_aspect: Fraction | None = None,
) -> Path:  # fmt: skip
    settings = {"matrix": 9} if transfer else {}
    with media.ClipWriter(
        path, W, H, Fraction(25), codec, crf=None, pix_fmt=pix_fmt, options=options or {}, timecode="01:00:00:00",
        transfer=transfer or None, sample_aspect=sample_aspect, **settings,
    ) as clip:  # fmt: skip
        for n in range(COUNT):
            clip.frame(ramp(n))
    return path


def patches(source: Path, folder: Path) -> Path:
    """The ramp itself, four pixels from where it was."""
    return moved(source, folder, BOX, PATCHED, 4)


def planes(path: Path, frame: int) -> list[np.ndarray]:
    picture = next(media.read(path, media.timeline(path), frame, frame + 1))
    return [plane.copy() for plane in planes_of(picture.av_frame)]


def test_every_value_is_shown_as_its_curve_says() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(128, 512, 1).repeat(3, 2)
    np.testing.assert_array_equal(display(values), np.rint(values / 257))
    for transfer in media.HDR:
        shown = display(values, transfer)
        assert shown.min() == 0 and shown.max() == 255 and (np.diff(shown[..., 0].ravel().astype(int)) >= 0).all()
        np.testing.assert_array_equal(shown, display(values.reshape(1, -1, 3), transfer).reshape(values.shape))


@pytest.mark.parametrize(
    "pix_fmt",
    ["yuv420p10le", "yuv422p10le", "yuv444p12le", "yuv420p16le", "gbrp10le", "gbrp16le", "yuva444p10le", "gbrap12le"],
)
def test_a_deep_picture_keeps_every_code_value_outside_its_mattes_and_its_depth_inside(
    tmp_path: Path, pix_fmt: str
) -> None:
    source = film(tmp_path / "film.mkv", "ffv1", pix_fmt, {"level": "3"})
    target, line = master(source, dub(tmp_path / "d.wav", 96_000), [patches(source, tmp_path / "p")])
    same_time(line, media.timeline(target))
    same_picture_tags(source, target)
    layout = layout_of(pix_fmt)
    assert layout is not None
    x, y, width, height = BOX
    for frame in (0, 3):
        for n, (was, now) in enumerate(zip(planes(source, frame), planes(target, frame), strict=True)):
            across, down = (1 << s for s in (layout.sub if n in (1, 2) else (0, 0)))
            covered = np.zeros(was.shape, bool)
            if frame in PATCHED and n < 3:
                covered[y // down : (y + height) // down, x // across : (x + width) // across] = True
            assert np.array_equal(was[~covered], now[~covered])
    was, now = (planes(path, 3)[0][y + 10 : y + height - 10, x + 10 : x + width - 10] for path in (source, target))
    assert not np.array_equal(was, now)
    assert len(np.unique(now)) > 0.9 * len(np.unique(was)) > 1.5 * len(np.unique(was >> (layout.depth - 8)))


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "options"),
    [
        ("film.mov", "prores_ks", "yuv422p10le", {"profile": "hq", "vendor": "apl0"}),
        ("film.mov", "prores_ks", "yuv444p10le", {"profile": "4444", "vendor": "apl0"}),
        ("film.mov", "cfhd", "yuv422p10le", {}),
        ("film.mov", "mjpeg", "yuvj422p", {"qmin": "1", "qmax": "2"}),
        ("film.mov", "v210", "yuv422p10le", {}),
        ("film.mkv", "ffv1", "yuv422p10le", {"level": "3", "slices": "16", "slicecrc": "1", "g": "1"}),
    ],
)
def test_pictures_that_stand_alone_and_did_not_change_are_copied_byte_for_byte(
    tmp_path: Path, name: str, codec: str, pix_fmt: str, options: dict[str, str]
) -> None:
    source = film(tmp_path / name, codec, pix_fmt, options)
    target, line = master(source, dub(tmp_path / "d.wav", 96_000), [patches(source, tmp_path / "p")])
    same_time(line, media.timeline(target))
    same_picture_tags(source, target)
    was, now = ([data for *_, data in payloads_of(path, "video")] for path in (source, target))
    assert len(was) == len(now) == COUNT
    assert [n for n in range(COUNT) if was[n] != now[n]] == list(PATCHED)
    for frame in PATCHED:  # only the mouth is another
        before, after = (p.astype(float) for p in (planes(source, frame)[0], planes(target, frame)[0]))
        assert np.abs(after - before)[:12].max() <= 0.03 * before.max()


def test_hdr_keeps_its_transfer_its_display_and_its_light(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mp4", "libx265", "yuv420p10le", X265, transfer=16)
    info = media.probe(source).video
    assert info is not None and (info.mastering, info.light) == (MASTERING, (1000, 400))
    folder = patches(source, tmp_path / "p")
    target, _ = master(source, dub(tmp_path / "d.wav", 96_000), [folder], crf=8)
    same_picture_tags(source, target)
    made = media.probe(target).video
    assert made is not None and (made.mastering, made.light, made.transfer) == (MASTERING, (1000, 400), 16)
    assert media.compare_pictures(source, target, [folder]).psnr_db > 42


@pytest.mark.parametrize("transfer", [16, 18])
def test_people_and_networks_see_hdr_as_a_display_shows_it(transfer: int) -> None:
    """Diffuse white is bright and not white, black is black, nothing falls, and it can be undone."""
    colour = Colour.of(9, 1, 1080, "yuv420p10le", transfer)
    layout = layout_of("yuv444p10le")
    assert layout is not None
    luma = np.arange(64, 941, dtype=np.uint16)[None]
    grey = np.full_like(luma, 512)
    shown = colour.bgr([luma, grey, grey], layout)[0, :, 1].astype(int)
    assert shown[0] == 0 and shown[-1] == 255 and (np.diff(shown) >= 0).all()
    white = {16: 0.58, 18: 0.75}[transfer]  # of the signal: 203 nits (ITU-R BT.2408)
    assert 170 < shown[round(white * 876)] < 215
    back = media.undisplayed(shown[200:600], transfer)
    assert np.abs(back - np.arange(200, 600) / 876 * 255).max() < 4


def test_what_no_codec_keeps_is_refused(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mkv", "ffv1", "gray10le", {"level": "3"})
    with pytest.raises(UnsupportedMedia, match="gray10le"):
        media.delivery(media.probe(source), media.probe(dub(tmp_path / "d.wav", 96_000)))


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turned_film_whose_pictures_are_copied_has_its_mouths_where_they_belong(tmp_path: Path, turn: int) -> None:
    source = tmp_path / "film.mov"
    with media.ClipWriter(
        source, 128, 96, Fraction(25), "prores_ks", crf=None, pix_fmt="yuv422p10le", rotation_deg=turn,
        options={"profile": "hq", "vendor": "apl0"},
    ) as clip:  # fmt: skip
        for _ in range(3):
            clip.frame(np.full((96, 128, 3), 30_000, np.uint16))
    line = media.timeline(source)
    folder = tmp_path / "p"
    folder.mkdir()
    with media.PatchWriter(folder, 16, 16, transfer=0) as writer:
        bright = np.full((16, 16, 3), 250, np.float32)
        writer.write(media.patch_of(1, 40, 56, bright, np.full((16, 16), 255, np.uint8)))
    target, _ = master(source, dub(tmp_path / "d.wav", 5_760), [folder])
    was, now = (next(media.read(path, line, 1, 2)).bgr().astype(int) for path in (source, target))
    changed = np.abs(now - was).max(2) > 40
    rows, columns = np.nonzero(changed)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (40, 55, 56, 71) and changed.sum() == 256


def test_every_picture_of_a_copied_film_says_the_same_colours(tmp_path: Path) -> None:
    """ProRes says them in each picture; one that is encoded anew in 4:4:4 is made of a new frame."""
    source = film(tmp_path / "film.mov", "prores_ks", "yuv444p10le", {"profile": "4444", "vendor": "apl0"}, transfer=16)
    target, line = master(source, dub(tmp_path / "d.wav", 96_000), [patches(source, tmp_path / "p")])
    for path in (source, target):
        tags = {(f.color_primaries, f.color_trc, f.colorspace) for f in (p.av_frame for p in media.read(path, line))}
        assert len(tags) == 1, path

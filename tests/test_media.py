"""Media: frames exactly by number, times, sound exactly placed, damage named."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from dubbing import media
from dubbing.errors import DamagedMedia, MediaError, UnsupportedMedia
from dubbing.media.film import threads_for
from dubbing.media.times import shown_pts

W, H = 64, 48
RATES = ["24000/1001", "24", "25", "30000/1001", "30", "50", "60000/1001"]


def numbered(n: int, width: int = W, height: int = H) -> np.ndarray:
    """A picture that says its number in ten black or white bars."""
    picture = np.full((height, width, 3), 128, np.uint8)
    for bit in range(10):
        picture[:, bit * 6 : bit * 6 + 6] = 230 if n >> bit & 1 else 25
    return picture


def number_of(picture: np.ndarray) -> int:
    """What `numbered` wrote, read back from a lossy picture."""
    return sum(int(picture[:, bit * 6 + 2 : bit * 6 + 4].mean() > 128) << bit for bit in range(10))


def film(path: Path, count: int, rate: Fraction | str = "25", codec: str = "libx264", **settings: object) -> Path:
    """A film of `count` numbered frames."""
    with media.ClipWriter(path, W, H, Fraction(rate), codec, **settings) as clip:  # type: ignore[arg-type]
        for n in range(count):
            clip.frame(numbered(n))
    return path


@pytest.mark.parametrize("rate", RATES)
def test_a_constant_rate_is_counted_exactly(tmp_path: Path, rate: str) -> None:
    drop = rate in ("30000/1001", "60000/1001")
    path = film(tmp_path / "a.mp4", 61, rate, timecode="00:59:59;20" if drop else "01:00:00:00")
    line = media.timeline(path)
    assert len(line) == 61 and line.rate == Fraction(rate)
    assert line.duration == 61 / Fraction(rate)
    assert [line.time(n) for n in (1, 60, 61)] == [n / Fraction(rate) for n in (1, 60, 61)]
    assert line.start_tc == ("00:59:59;20" if drop else "01:00:00:00")
    info = media.probe(path)
    assert info.video is not None and info.video.frames_hint == 61 and info.upright_size == (W, H)


def test_variable_rate_keeps_every_time(tmp_path: Path) -> None:
    pts = np.cumsum([0, 100, 512, 512, 30, 2000, 512, 1, 1, 700])
    path = tmp_path / "v.mp4"
    with media.ClipWriter(path, W, H, Fraction(30), time_base=Fraction(1, 15360), options={"bf": "0"}) as clip:
        for n, at in enumerate(pts):
            clip.frame(numbered(n), int(at))
    line = media.timeline(path)
    assert np.array_equal(line.pts, pts) and line.time_base == Fraction(1, 15360)
    assert [number_of(p.bgr()) for p in media.read(path, line, 3, 8)] == [3, 4, 5, 6, 7]
    media.save_timeline(tmp_path, line)
    again = media.load_timeline(tmp_path)
    assert np.array_equal(again.pts, pts) and (again.end_pts, again.time_base, again.rate, again.start_tc) == (
        line.end_pts, line.time_base, line.rate, line.start_tc,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "codec", "settings"),
    [
        ("a.mp4", "libx264", {"options": {"g": "12", "bf": "3", "x264-params": "open-gop=1"}}),
        ("a.mov", "libx265", {"options": {"g": "15"}}),
        ("a.mkv", "libx264", {"options": {"g": "20"}}),
        ("a.avi", "mpeg4", {"options": {"g": "10", "bf": "2"}}),
        ("a.mpg", "mpeg1video", {"options": {"g": "12", "bf": "2"}}),
        ("a.webm", "libvpx-vp9", {"options": {"g": "16", "deadline": "realtime", "cpu-used": "8"}}),
        ("a.mpegts", "libx264", {"options": {"g": "12"}}),
    ],
)
@pytest.mark.parametrize("threads", [1, 0])
def test_frames_are_found_by_number(tmp_path: Path, name: str, codec: str, settings: dict, threads: int) -> None:
    path = film(tmp_path / name, 90, codec=codec, **settings)
    line = media.timeline(path, threads=threads)
    assert len(line) == 90
    for start, end in [(0, 3), (1, 2), (37, 60), (59, 61), (88, 90), (89, None), (60, 60)]:
        pictures = list(media.read(path, line, start, end, threads=threads))
        wanted = list(range(start, 90 if end is None else end))
        assert [p.frame for p in pictures] == wanted
        assert [number_of(p.bgr()) for p in pictures] == wanted
        assert [p.pts for p in pictures] == [int(line.pts[n]) for n in wanted]


def test_times_that_a_container_shuffles_are_put_in_order() -> None:
    assert shown_pts([1, 2, 4, 3], 1).tolist() == [1, 2, 3, 4]
    assert shown_pts([None, None, None], 40).tolist() == [0, 40, 80]
    assert shown_pts([None, 50, 90], 40).tolist() == [10, 50, 90]
    assert shown_pts([0, 40, 40, None, 200], 40).tolist() == [0, 40, 80, 120, 200]


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_pictures_are_upright_and_boxes_are_theirs(tmp_path: Path, degrees: int) -> None:
    coded = np.zeros((H, W, 3), np.uint8)
    coded[:24, :32], coded[24:, :32], coded[24:, 32:] = (0, 0, 200), (0, 200, 0), (200, 0, 0)
    with media.ClipWriter(tmp_path / "r.mp4", W, H, crf=1, rotation_deg=degrees) as clip:
        for _ in range(3):
            clip.frame(coded)
    info = media.probe(tmp_path / "r.mp4")
    assert info.video is not None and info.video.rotation_deg == degrees
    line = media.timeline(tmp_path / "r.mp4")
    picture = next(media.read(tmp_path / "r.mp4", line, 1, 2))
    whole, upright = picture.bgr(), np.rot90(coded, -degrees // 90)
    assert info.upright_size == picture.size == upright.shape[1::-1]
    assert np.abs(whole.astype(int) - upright).mean() < 4
    for x, y, w, h in [(0, 0, 10, 8), (5, 7, 31, 21), (upright.shape[1] - 9, upright.shape[0] - 13, 9, 13)]:
        assert np.array_equal(picture.bgr((x, y, w, h)), whole[y : y + h, x : x + w])
    assert picture.bgr(width=upright.shape[1] // 2).shape[:2] == (upright.shape[0] // 2, upright.shape[1] // 2)
    small = picture.bgr((5, 7, 30, 20), width=15)
    assert small.shape == (10, 15, 3)
    with pytest.raises(ValueError, match="not inside"):
        picture.bgr((60, 60, 10, 10))
    _, first = next(iter(media.scan(tmp_path / "r.mp4", 16)))
    assert first.shape[1] == 16


@pytest.mark.parametrize(("height", "pix_fmt"), [(H, "yuv420p"), (H, "yuvj420p"), (H, "yuv444p"), (720, "yuv422p")])
def test_colours_survive(tmp_path: Path, height: int, pix_fmt: str) -> None:
    """BT.601 below 720 lines, BT.709 from there, limited or full range: greys and colours within 2 of 255."""
    colours = np.array([[30, 60, 200], [120, 120, 120], [200, 90, 40], [16, 235, 128]], np.uint8)
    picture = np.repeat(np.repeat(colours[None], 16, 1), height, 0)
    with media.ClipWriter(tmp_path / "c.mp4", W, height, crf=0, pix_fmt=pix_fmt) as clip:
        clip.frame(picture)
    line = media.timeline(tmp_path / "c.mp4")
    seen = next(media.read(tmp_path / "c.mp4", line)).bgr()
    assert np.abs(seen[:, 4::16].astype(int) - picture[:, 4::16]).max() <= 3


def test_a_round_trip_through_bgr_keeps_the_planes(tmp_path: Path) -> None:
    from dubbing.media.colour import layout_of, planes_of
    from dubbing.media.film import Film

    y, x = np.mgrid[:H, :W]
    smooth = np.stack([80 + x, 100 + y, 160 - x // 2 + y // 2], -1).astype(np.uint8)
    with media.ClipWriter(tmp_path / "c.mp4", W, H, crf=10) as clip:
        clip.frame(smooth)
    with Film(tmp_path / "c.mp4") as open_film:
        frame = next(open_film.whole())
        planes, layout, colour = planes_of(frame), layout_of(frame.format.name), open_film.colour
        assert layout is not None
        back = colour.yuv(colour.bgr(planes, layout), layout)
    for before, after in zip(planes, back, strict=True):
        assert np.abs(np.rint(after) - before).max() <= 1


def test_a_scan_gives_pictures_and_the_timeline(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 30)
    scan = media.scan(path, 32)
    with pytest.raises(RuntimeError):
        _ = scan.timeline
    seen = list(scan)
    assert scan.frames_hint == 30 and [pts for pts, _ in seen] == scan.timeline.pts.tolist()
    assert {p.shape for _, p in seen} == {(24, 32, 3)}


@pytest.mark.parametrize("name", ["with space.mp4", 'it\'s "quoted".mp4', "映画 фильм.mp4", "-dash.mp4", "a:b%d?.mp4"])
def test_any_name_works(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    film(Path(name), 5)
    assert len(media.timeline(Path(name))) == 5 and media.probe(name).video is not None


def test_what_is_no_media_file_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no film")
    (tmp_path / "empty.mp4").write_bytes(b"")
    whole = film(tmp_path / "whole.mp4", 30).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 9 // 10])
    for name, said in [
        ("absent.mp4", "no file"), ("text.mp4", "not a media file"), ("empty.mp4", "not a media file"),
        ("cut.mp4", "truncated"), ("", "folder"),
    ]:  # fmt: skip
        with pytest.raises(MediaError, match=said):
            media.probe(tmp_path / name)
    with media.ClipWriter(tmp_path / "s.wav", sample_rate_hz=8000, channels=1) as clip:
        clip.sound(np.zeros(800, np.float32))
    assert media.probe(tmp_path / "s.wav").video is None
    with pytest.raises(MediaError, match="no video stream"):
        media.timeline(tmp_path / "s.wav")
    with pytest.raises(MediaError, match="no sound stream"):
        media.audio_length(tmp_path / "whole.mp4")


def packet_spans(path: Path) -> list[tuple[int, int, int]]:
    """(pts, place in the file, size) of each picture packet."""
    with av.open(str(path)) as container:
        return [(p.pts, p.pos, p.size) for p in container.demux(video=0) if p.size]


@pytest.mark.parametrize(("name", "codec"), [("d.mp4", "libx264"), ("d.mkv", "libx264"), ("d.mp4", "libx265")])
@pytest.mark.parametrize("threads", [1, 2])
def test_damage_is_named_by_timecode(tmp_path: Path, name: str, codec: str, threads: int) -> None:
    path = tmp_path / name
    rng = np.random.default_rng(0)
    with media.ClipWriter(path, 160, 120, codec=codec, timecode="10:00:00:00", options={"g": "25"}) as clip:
        still = np.kron(rng.integers(0, 200, (30, 40, 3)), np.ones((4, 4, 1)))
        for _ in range(75):
            clip.frame((still + rng.integers(0, 50, still.shape)).astype(np.uint8))
    spans = sorted(packet_spans(path))
    data = bytearray(path.read_bytes())
    for _, place, size in spans[40:43]:
        data[place + size // 4 : place + size] = bytes(size - size // 4)
    bad = path.with_stem("bad")
    bad.write_bytes(data)
    with pytest.raises(DamagedMedia, match="10:00:01:1[3-7]") as said:
        media.timeline(bad, threads=threads)
    assert "bad" in str(said.value) and "frame" in str(said.value)
    line = media.timeline(path)
    with pytest.raises(DamagedMedia, match="10:00:01:1[3-7]"):
        list(media.read(bad, line, 30, 60, threads=threads))
    assert [p.frame for p in media.read(bad, line, 50, 60, threads=threads)] == list(range(50, 60))


INTRA = {
    "prores.mov": ("prores_ks", "yuv422p10le", {"profile": "hq"}), "mjpeg.mov": ("mjpeg", "yuvj422p", {"qmax": "2"}),
    "dnxhr.mov": ("dnxhd", "yuv422p", {"profile": "dnxhr_sq"}), "cfhd.mov": ("cfhd", "yuv422p10le", {}),
    "ffv1.mkv": ("ffv1", "yuv420p", {"level": "3", "slicecrc": "1", "g": "1"}),
}  # fmt: skip


@pytest.mark.parametrize("name", INTRA)
def test_damage_of_a_picture_that_stands_alone_is_named_exactly(tmp_path: Path, name: str) -> None:
    """Lost blocks, and blocks of another file, in the middle of one packet: neither is drawn over in silence."""
    codec, pix_fmt, options = INTRA[name]
    rng = np.random.default_rng(0)
    still = np.kron(rng.integers(0, 200, (16, 32, 3)), np.ones((8, 8, 1)))
    with media.ClipWriter(tmp_path / name, 256, 128, codec=codec, pix_fmt=pix_fmt, crf=None, options=options,
                          timecode="10:00:00:00") as clip:  # fmt: skip
        for _ in range(12):
            clip.frame((still + rng.integers(0, 25, still.shape)).astype(np.uint8))
    line, data = media.timeline(tmp_path / name), (tmp_path / name).read_bytes()
    _, place, size = sorted(packet_spans(tmp_path / name))[7]
    begin, length = place + size // 2, size // 3
    noise = [] if codec == "cfhd" else [rng.bytes(length)]  # CineForm's decoder makes a picture of any bits
    for part in (bytes(length), *noise):
        bad = tmp_path / f"bad_{name}"
        bad.write_bytes(data[:begin] + part + data[begin + length :])
        for threads in (0, 1):
            with pytest.raises(DamagedMedia, match=r"at 10:00:00:07 \(frame 7\)"):
                media.timeline(bad, threads=threads)
            with pytest.raises(DamagedMedia, match=rf"\(frame {7 if threads else '[5-7]'}\)"):
                list(media.read(bad, line, 5, 10, threads=threads))
        assert [p.frame for p in media.read(bad, line, 8, 12)] == [8, 9, 10, 11]


@pytest.mark.parametrize("name", ["e.mp4", "e.mkv", "e.avi"])
def test_a_file_that_ends_early_is_damaged(tmp_path: Path, name: str) -> None:
    front = {"movflags": "+faststart"} if name.endswith("mp4") else {}
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    path = film(tmp_path / name, 200, codec=codec, container_options=front, options={"g": "25"})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedMedia, match="00:00:0[1-6]:"):
        media.timeline(path)


def test_a_picture_that_changes_its_size_is_refused(tmp_path: Path) -> None:
    parts = []
    for n, size in enumerate([(W, H), (W * 2, H * 2)]):
        with media.ClipWriter(tmp_path / f"{n}.mpegts", *size) as clip:
            for _ in range(10):
                clip.frame(np.zeros((size[1], size[0], 3), np.uint8))
        parts.append((tmp_path / f"{n}.mpegts").read_bytes())
    (tmp_path / "both.mpegts").write_bytes(b"".join(parts))
    with pytest.raises(UnsupportedMedia, match="changes from 64x48"):
        media.timeline(tmp_path / "both.mpegts")


def test_shared_films_count_as_their_index_says(shared: Path) -> None:
    known = {"office_vfr.mp4": 135, "containers/mkv.mkv": 390, "containers/rot180_90k.mp4": 25,
             "containers/nodur_webm.webm": 74, "hand_before_face.avi": 164, "space_no_face.mp4": 325}  # fmt: skip
    for name, count in known.items():
        path = shared / "media" / name
        line = media.timeline(path)
        assert len(line) == count and np.all(np.diff(line.pts) > 0), name
        start = count * 2 // 3
        sequential = {p.frame: p.bgr(width=32) for p in media.read(path, line, 0, start + 3)}
        for picture in media.read(path, line, start, start + 3):
            assert np.array_equal(picture.bgr(width=32), sequential[picture.frame]), (name, picture.frame)
    first = media.probe(shared / "media" / "space_no_face.mp4")
    assert first.video is not None and first.upright_size == (320, 180) and len(first.audio) == 2


def test_a_truncated_or_overwritten_reel_is_named(shared: Path, tmp_path: Path) -> None:
    data = (shared / "media" / "reel.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(DamagedMedia, match=r"promises 1224 frames; it stops at 01:00:18:02"):
        media.timeline(tmp_path / "half.mp4")
    middle = len(data) // 2
    (tmp_path / "hole.mp4").write_bytes(data[:middle] + bytes(50_000) + data[middle + 50_000 :])
    with pytest.raises(DamagedMedia, match=r"01:00:21:1[67]"):
        media.timeline(tmp_path / "hole.mp4")


def test_a_file_that_ends_before_its_timeline_shows_no_frame_twice(tmp_path: Path) -> None:
    for name, count in (("whole.mp4", 30), ("cut.mp4", 20)):
        with media.ClipWriter(tmp_path / name, 64, 48, Fraction(25)) as clip:
            for n in range(count):
                clip.frame(np.full((48, 64, 3), 8 * n, np.uint8))
    line, shown = media.timeline(tmp_path / "whole.mp4"), []
    with pytest.raises(MediaError, match="it ends before frame 30"):
        for picture in media.read(tmp_path / "cut.mp4", line, 5):
            shown.append(picture.frame)
    assert shown == list(range(5, 20))


@pytest.mark.parametrize("size", [(1920, 1080), (3840, 2160), (8192, 4320)])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "gbrap16le"])
def test_a_decoders_threads_hold_few_pictures_on_a_machine_of_many_cores(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], pix_fmt: str
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    threads = threads_for(SimpleNamespace(width=size[0], height=size[1], pix_fmt=pix_fmt))
    picture = media.picture_bytes(*size, pix_fmt)
    assert 16 * picture <= 256e6 if threads == 0 else threads == 1 or threads * picture <= 256e6

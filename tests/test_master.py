"""Masters: whatever is not a mouth is the source's, and every frame keeps its time."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from made import ref

from dubbing import media
from dubbing.artifact import File
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.takes import Master, Take
from dubbing.clock import Timeline
from dubbing.errors import MediaError, OutputError, UnsupportedMedia
from dubbing.records import Patch
from dubbing.stages.master import MakeMaster, MasterInputs

W, H = 96, 64
RATES = ["24000/1001", "24", "25", "30000/1001", "30", "50", "60000/1001"]


def scene(n: int, width: int = W, height: int = H) -> np.ndarray:
    """A picture with edges and colour that moves slowly."""
    y, x = np.mgrid[:height, :width]
    picture = np.stack([128 + 90 * np.sin(x / 9 + n / 7), 128 + 90 * np.cos(y / 7), 60 + x + y / 2], -1)
    picture[10:30, 20 + n % 20 : 40 + n % 20] = (40, 200, 90)
    return picture.clip(16, 235).astype(np.uint8)


def film(path: Path, count: int = 40, rate: str = "25", codec: str = "libx264", **settings: Any) -> Path:
    with media.ClipWriter(path, W, H, Fraction(rate), codec, **settings) as clip:
        for n in range(count):
            clip.frame(scene(n))
    return path


def dub(path: Path, samples: int, channels: int = 2, rate_hz: int = 48_000, codec: str | None = None) -> Path:
    wave = np.random.default_rng(3).normal(0, 0.1, (samples, channels)).astype(np.float32)
    with media.ClipWriter(path, sample_rate_hz=rate_hz, channels=channels, sound_codec=codec) as clip:
        clip.sound(wave)
    return path


def patches(folder: Path, frames: range, x: int = 20, y: int = 16, size: tuple[int, int] = (32, 24)) -> Path:
    """Red patches with a soft round matte."""
    folder.mkdir(parents=True)
    matte = np.zeros(size[::-1], np.uint8)
    cv2.ellipse(matte, (size[0] // 2, size[1] // 2), (size[0] // 2 - 5, size[1] // 2 - 5), 0, 0, 360, 255, -1)
    matte = cv2.GaussianBlur(matte, (7, 7), 0)
    with media.PatchWriter(folder, *size) as writer:
        for n in frames:
            writer.write(Patch(n, x, y, np.full((size[1], size[0], 3), (30, 30, 220), np.uint8), matte))
    return folder


def payloads_of(path: Path, kind: str, index: int = 0) -> list[tuple[Fraction, Fraction, bytes]]:
    """(start, duration, bytes) of each packet of the first stream of a kind; two bytes are mp4's "no text"."""
    with av.open(str(path)) as container:
        stream = container.streams.get(**{kind: index})[0]
        return [
            (p.pts * p.time_base, p.duration * p.time_base, bytes(p)) for p in container.demux(stream) if p.size > 2
        ]


def master(source: Path, sound: Path, folders: list[Path] | None = None, **settings: Any) -> tuple[Path, Timeline]:
    line = media.timeline(source)
    plan = media.delivery(media.probe(source), media.probe(sound))
    target = source.parent / f"master{plan.extension}"
    done = media.encode_master(source, line, folders or [], sound, target, language="fr", **settings)
    assert done.frames == len(line) and done.path == target and done.notices == plan.notices
    return target, line


def same_time(a: Timeline, b: Timeline) -> None:
    assert len(a) == len(b)
    assert [p * a.time_base for p in a.pts.tolist()] == [p * b.time_base for p in b.pts.tolist()]
    assert (a.duration, a.rate, a.start_tc) == (b.duration, b.rate, b.start_tc)


def same_sound(dubbed: Path, target: Path) -> None:
    """The master's sound, from frame 0 on, is the dub's, sample for sample."""
    wanted, got = (media.read_sound(p, None, False) for p in (dubbed, target))
    assert np.array_equal(wanted, got)


def same_picture_tags(source: Path, target: Path) -> None:
    a, b = media.probe(source).video, media.probe(target).video
    assert a is not None and b is not None
    for name in (
        "width",
        "height",
        "pix_fmt",
        "sample_aspect",
        "matrix9",
        "primaries",
        "transfer",
        "matrix",
        "start_tc",
    ):
        assert getattr(a, name) == getattr(b, name), name
    assert a.range in (None, b.range, 1) and a.chroma_location in (None, b.chroma_location)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("rate", RATES)
def test_every_frame_keeps_its_time(tmp_path: Path, rate: str, suffix: str) -> None:
    timecode = "00:59:59;20" if rate.startswith(("3000", "6000")) else "01:00:00:05"
    source = film(tmp_path / f"film{suffix}", 61, rate, timecode=timecode, sample_rate_hz=None)
    sound = dub(tmp_path / "dub.flac", round(61 / Fraction(rate) * 48_000))
    target, line = master(source, sound, [patches(tmp_path / "p", range(5, 50))])
    assert target.suffix == suffix
    same_time(line, media.timeline(target))
    same_sound(sound, target)
    same_picture_tags(source, target)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_rate_and_a_late_start_are_kept(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"film{suffix}"
    steps = np.random.default_rng(0).choice([256, 512, 1024, 1537], 60)
    pts = 7777 + np.concatenate([[0], np.cumsum(steps)])
    settings: dict[str, Any] = {"time_base": Fraction(1, 15360), "options": {"bf": "0"}}
    settings["container_options"] = {"movie_timescale": "15360"} if suffix == ".mp4" else {}
    with media.ClipWriter(source, W, H, Fraction(30), **settings) as clip:
        for n, at in enumerate(pts):
            clip.frame(scene(n), int(at))
    sound = dub(tmp_path / "dub.flac", 100_000)
    target, line = master(source, sound)
    assert suffix == ".mkv" or line.pts.tolist() == pts.tolist()
    same_time(line, media.timeline(target))
    if suffix == ".mp4":
        same_sound(sound, target)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj420p", "yuv422p", "yuv444p"])
def test_nothing_outside_the_mattes_changes(tmp_path: Path, degrees: int, pix_fmt: str) -> None:
    """Before the encode, every sample of every pixel with matte 0 is the source's, bit for bit."""
    source = film(tmp_path / "film.mp4", 12, pix_fmt=pix_fmt, rotation_deg=degrees)
    line = media.timeline(source)
    folders = [patches(tmp_path / "a", range(2, 8), 20, 16), patches(tmp_path / "b", range(6, 10), 44, 40)]
    before = list(media.pasted_frames(source, line, []))
    after = list(media.pasted_frames(source, line, folders))
    assert len(before) == len(after) == 12
    upright = (W, H) if degrees in (0, 180) else (H, W)
    for n in range(12):
        touched = np.zeros(upright[::-1], bool)
        for folder in folders:
            for patch in media.read_patches(folder):
                if patch.frame == n:
                    part = patch.matte_HW[: upright[1] - patch.y, : upright[0] - patch.x] > 0
                    touched[patch.y : patch.y + part.shape[0], patch.x : patch.x + part.shape[1]] |= part
        touched = np.rot90(touched, degrees // 90)
        for plane, (one, two) in enumerate(zip(before[n], after[n], strict=True)):
            down, across = H // one.shape[0], W // one.shape[1]
            free = touched.reshape(H // down, down, W // across, across).all(axis=(1, 3))
            assert np.array_equal(one[~free], two[~free]), (n, plane)
            assert not touched.any() or not np.array_equal(one, two)


def test_a_patch_is_seen_where_it_belongs(tmp_path: Path) -> None:
    for degrees in (0, 90, 180, 270):
        folder = tmp_path / str(degrees)
        folder.mkdir()
        source = film(folder / "film.mp4", 6, rotation_deg=degrees)
        target, line = master(source, dub(folder / "d.flac", 11_520), [patches(folder / "p", range(6), 20, 30)], crf=1)
        before = next(media.read(source, line, 3)).bgr().astype(int)
        after = next(media.read(target, line, 3)).bgr().astype(int)
        assert np.abs(after[38:46, 30:42] - (30, 30, 220)).max() < 14
        assert np.abs(after - before)[:28].mean() < 3 and np.abs(after - before)[56:].mean() < 3


def test_patches_must_fit_the_film(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mp4", 10)
    line = media.timeline(source)
    with pytest.raises(MediaError, match="beyond the last frame"):
        list(media.pasted_frames(source, line, [patches(tmp_path / "p", range(8, 12))]))
    longer = Timeline(np.arange(12) * 1, line.time_base, 12, line.rate)
    with pytest.raises(MediaError, match="has changed"):
        list(media.pasted_frames(source, longer, []))


@pytest.mark.parametrize(
    ("sound_name", "sound_codec", "film_name", "suffix", "codec", "copied"),
    [
        ("d.flac", None, "f.mp4", ".mp4", "flac", True),
        ("d.wav", None, "f.mp4", ".mov", "pcm_s16le", True),
        ("d.wav", "pcm_s24le", "f.mkv", ".mkv", "pcm_s24le", True),
        ("d.flac", None, "f.mov", ".mov", "pcm_s16le", False),
        ("d.mkv", "libopus", "f.mp4", ".mov", "pcm_f32le", False),
        ("d.mkv", "libopus", "f.mkv", ".mkv", "opus", True),
        ("d.mp4", "aac", "f.mp4", ".mp4", "aac", True),
        ("d.mp4", "aac", "f.mkv", ".mkv", "pcm_f32le", False),
        ("d.mp3", "libmp3lame", "f.mp4", ".mov", "pcm_f32le", False),
        ("d.flac", None, "f.avi", ".mp4", "flac", True),
        ("d.flac", None, "f.webm", ".mkv", "flac", True),
        ("d.flac", None, "f.mpg", ".mp4", "flac", True),
    ],
)
def test_the_dub_is_delivered_without_loss(
    tmp_path: Path, sound_name: str, sound_codec: str | None, film_name: str, suffix: str, codec: str, copied: bool
) -> None:
    encoder = {"f.avi": "mpeg4", "f.webm": "libvpx-vp9", "f.mpg": "mpeg1video"}.get(film_name, "libx264")
    source = film(tmp_path / film_name, 40, codec=encoder)
    sound = dub(tmp_path / sound_name, 76_800, codec=sound_codec)
    plan = media.delivery(media.probe(source), media.probe(sound))
    assert (plan.extension, plan.sound[0].codec, plan.sound[0].copied) == (suffix, codec, copied)
    target, line = master(source, sound)
    info = media.probe(target)
    assert info.video is not None and info.video.codec == "h264" and info.audio[0].codec == codec
    same_sound(sound, target)
    same_time(line, media.timeline(target))


def test_hevc_stays_hevc_with_its_tag(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mp4", 30, codec="libx265")
    folder = patches(tmp_path / "p", range(30))
    target, line = master(source, dub(tmp_path / "d.flac", 57_600), [folder])
    a, b = media.probe(source).video, media.probe(target).video
    assert a is not None and b is not None and (a.codec, b.codec) == ("hevc", "hevc")
    assert b.tag == ("hev1" if a.tag == "hev1" else "hvc1")
    same_time(line, media.timeline(target))
    assert media.compare_pictures(source, target, [folder]).psnr_db > 42


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    for suffix in (".mp4", ".mkv"):
        source = film(tmp_path / f"film{suffix}", 30)
        sound = dub(tmp_path / "d.flac", 57_600)
        folder = patches(tmp_path / f"p{suffix}", range(4, 20))
        first = master(source, sound, [folder])[0].read_bytes()
        assert master(source, sound, [folder])[0].read_bytes() == first


def test_what_cannot_be_delivered_whole_is_refused_first(tmp_path: Path) -> None:
    sound = media.probe(dub(tmp_path / "d.flac", 4800))
    vp9 = {"deadline": "realtime", "cpu-used": "8"}
    makes: list[tuple[str, str, dict[str, Any], str]] = [
        ("alpha.webm", "libvpx-vp9", {"pix_fmt": "yuva420p", "options": vp9}, "transparency"),
        ("grey.mkv", "ffv1", {"pix_fmt": "gray"}, "gray"),
    ]
    for name, codec, settings, said in makes:
        path = film(tmp_path / name, 4, codec=codec, **settings)
        with pytest.raises(UnsupportedMedia, match=said):
            media.delivery(media.probe(path), sound)
    info = media.probe(film(tmp_path / "plain.mp4", 4))
    assert info.video is not None
    for changes, said in (({"codec": "hevc"}, "each picture a field"), ({"height": 486}, "in steps of 4")):
        fields = replace(info, video=replace(info.video, interlaced=True, **changes))
        with pytest.raises(UnsupportedMedia, match=said):
            media.delivery(fields, sound)
    with pytest.raises(MediaError, match="no sound stream"):
        media.delivery(media.probe(film(tmp_path / "mute.mp4", 4)), media.probe(tmp_path / "mute.mp4"))
    with pytest.raises(MediaError, match="no video stream"):
        media.delivery(sound, sound)


def test_a_target_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    source, sound = film(tmp_path / "film.mp4", 10), dub(tmp_path / "d.flac", 19_200)
    line = media.timeline(source)
    with pytest.raises(OutputError, match="could not be written"):
        media.encode_master(source, line, [], sound, tmp_path / "absent" / "m.mp4")
    code = f"""
import resource, signal
from dubbing import media
from dubbing.errors import OutputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
line = media.timeline({str(source)!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
try:
    media.encode_master({str(source)!r}, line, [], {str(sound)!r}, {str(tmp_path / "full.mp4")!r})
except OutputError as e:
    print("said:", e)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert "said: The master" in done.stdout, done.stdout + done.stderr
    assert not (tmp_path / "full.mp4").exists()


def test_the_stage_says_what_it_made(tmp_path: Path) -> None:
    source, sound = film(tmp_path / "film.mp4", 50, timecode="01:00:00:00"), dub(tmp_path / "d.flac", 96_000)
    media.save_timeline(tmp_path, media.timeline(source))
    out = tmp_path / "out"
    out.mkdir()
    done: list[int] = []
    take = patches(tmp_path / "take" / "face_1", range(50)).parent
    inputs = MasterInputs(
        File(source, ""), File(sound, ""), "film.fr.mp4", "fr", crf=20, preset="ultrafast",
        takes=(ref(Take, take),), timeline=ref(ShotList, tmp_path), end=50,
    )  # fmt: skip
    stage = MakeMaster()
    stage.setup()
    result = stage.process(inputs, out, done.append)
    stage.close()
    assert result == Master("film.fr.mp4", 50) and sum(done) == 50
    assert [p.name for p in out.iterdir()] == ["film.fr.mp4"] and len(media.timeline(out / "film.fr.mp4")) == 50


CONTAINERS = [
    "mkv.mkv",
    "rot.mp4",
    "rot180_90k.mp4",
    "vfr.mp4",
    "nonzero_start.mp4",
    "nodur_webm.webm",
    "multitrack.mp4",
    "hdr10.mp4",
]


@pytest.mark.parametrize("name", CONTAINERS)
def test_shared_containers_are_delivered(shared: Path, tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    source.write_bytes((shared / "media" / "containers" / name).read_bytes())
    sound = dub(tmp_path / "dub.flac", 96_000)
    target, line = master(source, sound, [patches(tmp_path / "p", range(3, 12))])
    same_time(line, media.timeline(target))
    same_sound(sound, target)
    same_picture_tags(source, target)


def opening(film: Path, folder: Path, frames: int) -> Path:
    """The first frames of a film, up to a key frame, as they are coded: with sound, subtitles and timecode."""
    made = folder / film.name
    with av.open(str(film)) as whole, av.open(str(made), "w") as part:
        picture = whole.streams.video[0]
        kept = [picture, *whole.streams.audio, *whole.streams.subtitles]
        streams = {s.index: part.add_stream_from_template(s) for s in kept}
        streams[picture.index].metadata["timecode"] = picture.metadata["timecode"]
        end_s = frames / Fraction(picture.average_rate or 0)
        for packet in whole.demux(kept):
            if packet.dts is not None and (packet.pts or 0) * packet.time_base < end_s:
                packet.stream = streams[packet.stream.index]
                part.mux(packet)
    return made


@pytest.mark.long
def test_the_reel_is_visually_lossless_outside_its_mattes(shared: Path, tmp_path: Path) -> None:
    source, sound = opening(shared / "media" / "reel.mp4", tmp_path, 360), tmp_path / "reel.fr.flac"
    with media.ClipWriter(sound, sample_rate_hz=48_000, channels=2) as clip:
        clip.sound(media.read_sound(shared / "media" / "reel.fr.flac", 48_000, False)[: 48_000 * 360 * 1001 // 24_000])
    folder = patches(tmp_path / "p", range(100, 300), 500, 300, (160, 120))
    target, line = master(source, sound, [folder])
    assert len(line) == 360 and line.rate == Fraction(24000, 1001) and line.start_tc == "01:00:00:00"
    same_time(line, media.timeline(target))
    same_sound(sound, target)
    same_picture_tags(source, target)
    assert len(payloads_of(source, "subtitles")) > 1
    assert payloads_of(source, "subtitles") == payloads_of(target, "subtitles")
    assert media.compare_pictures(source, target, [folder]).psnr_db > 42

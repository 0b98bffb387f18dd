"""Media files that are not what they should be: samples that are no numbers, playlists, pipes and devices. Each is
refused in one sentence, exit code 2, before anything is opened that could hang or lead elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from command import Dub
from PIL import Image

from dubbing import media
from dubbing.errors import DamagedMedia, UnsupportedMedia
from dubbing.experts import lips
from dubbing.generators.rewrite import hearing, shape

HZ = 16_000


def float_wav(path: Path, wave: np.ndarray) -> Path:
    """A mono WAV file of 32-bit floats, written by hand: encoders refuse what is tried here."""
    data = wave.astype("<f4").tobytes()
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 3, 1, HZ, HZ * 4, 4, 32,
                       b"data", len(data))  # fmt: skip
    path.write_bytes(head + data)
    return path


def tone(seconds: float = 2.0, gain: float = 0.2) -> np.ndarray:
    return gain * np.sin(2 * np.pi * 220 * np.arange(round(seconds * HZ)) / HZ)


def manifest(folder: Path, **changed: str) -> Path:
    """A good title of 50 frames and its dub, with parts replaced."""
    with media.ClipWriter(folder / "film.mp4", 64, 48, Fraction(25), sample_rate_hz=HZ, channels=1) as clip:
        for n in range(50):
            clip.frame(np.full((48, 64, 3), 40 + n, np.uint8))
        clip.sound(tone().astype(np.float32)[:, None])
    float_wav(folder / "fr.wav", tone())
    dub = {"language": "fr", "audio": changed.pop("audio", "fr.wav"), **changed}
    video = dub.pop("video", "film.mp4")
    text = json.dumps({"version": 1, "titles": [{"id": "reel", "video": video, "dubs": [dub]}]})
    (folder / "job.yaml").write_text(text, encoding="utf-8")
    return folder / "job.yaml"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e9])
def test_a_sample_that_is_no_number_is_named_by_its_time(tmp_path: Path, value: float) -> None:
    wave = tone()
    wave[HZ + HZ // 2] = value
    path = float_wav(tmp_path / "dub.wav", wave)
    for read in (
        media.read_sound,
        media.audio_length,
        lambda p: list(media.sound_between(p, Fraction(1), Fraction(2), HZ)),
    ):
        with pytest.raises(DamagedMedia, match=r"dub.wav holds a sample that is no sound .* 00:01\.50"):
            read(path)


def test_what_is_no_number_in_64_bits_is_none_in_32(tmp_path: Path) -> None:
    path = tmp_path / "dub.mka"
    import av

    with av.open(str(path), "w", format="matroska") as file:
        stream = file.add_stream("pcm_f64le", rate=HZ)
        stream.codec_context.layout = "mono"
        wave = tone(0.5)
        wave[HZ // 4] = 1e300
        frame = av.AudioFrame.from_ndarray(wave[None].astype(np.float64), "dbl", "mono")
        frame.sample_rate, frame.pts = HZ, 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)
    with pytest.raises(DamagedMedia, match="00:00.25"):
        media.read_sound(path)


@pytest.mark.parametrize("key", ["audio", "dialogue"])
def test_check_and_run_refuse_it_before_any_work(tmp_path: Path, dub: Dub, key: str) -> None:
    wave = tone()
    wave[HZ] = np.nan
    float_wav(tmp_path / "bad.wav", wave)
    job = manifest(tmp_path, **{key: "bad.wav"})
    for command in (
        ("check", job, "--out", tmp_path / "out"),
        ("run", job, "--engine", "local", "--out", tmp_path / "out"),
    ):
        code, out, err = dub(*command)
        assert code == 2 and "bad.wav holds a sample that is no sound (nan)" in err and "00:01.00" in err
    assert not (tmp_path / "out").exists()


def test_a_source_whose_sound_is_stored_as_floats_is_looked_at_too(tmp_path: Path, dub: Dub) -> None:
    import av

    job = manifest(tmp_path, video="film.mov")
    wave = tone()
    wave[HZ] = np.inf
    float_wav(tmp_path / "bad.wav", wave)
    with (
        av.open(str(tmp_path / "film.mp4")) as film, av.open(str(tmp_path / "bad.wav")) as sound,
        av.open(str(tmp_path / "film.mov"), "w") as made,
    ):  # fmt: skip
        streams = [(film, film.streams.video[0]), (sound, sound.streams.audio[0])]
        copies = [made.add_stream_from_template(stream) for _, stream in streams]
        for (source, stream), copy in zip(streams, copies, strict=True):
            for packet in source.demux(stream):
                if packet.dts is not None:
                    packet.stream = copy
                    made.mux(packet)
    code, out, err = dub("check", job, "--out", tmp_path / "out")
    assert code == 2 and "film.mov holds a sample that is no sound (inf)" in err and "00:01.00" in err


def test_sound_over_full_scale_is_a_note(tmp_path: Path, dub: Dub) -> None:
    job = manifest(tmp_path)
    assert "full scale" not in dub("check", job, "--out", tmp_path / "out")[1]
    float_wav(tmp_path / "fr.wav", tone(gain=2.0))
    code, out, err = dub("check", job, "--out", tmp_path / "out")
    assert code == 0 and "fr.wav goes over full scale (its peak is +6.0 dBFS)" in out


LISTS = {
    "an HLS playlist": "#EXTM3U\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n",
    "an ffconcat playlist": "ffconcat version 1.0\nfile '{}'\n",
    "an SDP description": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    "an XML document": '<?xml version="1.0"?>\n<MPD type="static"><Period/></MPD>\n',
}


@pytest.mark.parametrize("name", ["film.m3u8", "film.mp4", "film.wav"])
@pytest.mark.parametrize("what", LISTS)
def test_a_playlist_is_no_film_whatever_it_is_called(tmp_path: Path, what: str, name: str) -> None:
    float_wav(tmp_path / "other.wav", tone())
    (tmp_path / name).write_text(LISTS[what].format("other.wav"), encoding="utf-8")
    with pytest.raises(UnsupportedMedia, match=f"{name} is {what} and holds no media itself"):
        media.probe(tmp_path / name)


def test_a_file_is_not_opened_as_the_pattern_that_its_name_looks_like(tmp_path: Path) -> None:
    from PIL import Image

    for n in range(3):
        Image.new("RGB", (64, 48)).save(tmp_path / f"at{n}.png")
    found = media.probe(tmp_path / "at%d.png").video
    assert found is not None and found.frames_hint == 3, "a sequence"
    (tmp_path / "at%d.png").write_bytes((tmp_path / "at0.png").read_bytes())
    with pytest.raises(UnsupportedMedia, match="a kind that this version does not read"):
        media.probe(tmp_path / "at%d.png")


@pytest.fixture
def special() -> Iterator[dict[str, Path]]:
    """A pipe, a device, a socket and a folder, by what they are called. In a short path, as sockets need."""
    folder = Path(tempfile.mkdtemp())
    os.mkfifo(folder / "pipe")
    held = socket.socket(socket.AF_UNIX)
    held.bind(str(folder / "socket"))
    (folder / "folder").mkdir()
    yield {
        "pipe": folder / "pipe",
        "device": Path("/dev/zero"),
        "socket": folder / "socket",
        "folder": folder / "folder",
    }
    held.close()
    shutil.rmtree(folder)


@pytest.mark.parametrize("kind", ["pipe", "device", "socket", "folder"])
class TestWhatIsNoFile:
    """Each command would wait for ever, or read for ever, if it opened one of these."""

    @pytest.mark.parametrize("key", ["video", "audio", "dialogue"])
    def test_media_of_a_manifest(self, tmp_path: Path, dub: Dub, special: dict[str, Path], kind: str, key: str) -> None:
        code, out, err = dub("check", manifest(tmp_path, **{key: str(special[kind])}), "--out", tmp_path / "out")
        assert code == 2 and f"{special[kind]} is a {kind}, not a media file" in err

    def test_a_manifest_and_a_config(self, tmp_path: Path, dub: Dub, special: dict[str, Path], kind: str) -> None:
        code, out, err = dub("check", special[kind])
        assert code == 2 and f"it is a {kind}, and not a file" in err
        code, out, err = dub("check", manifest(tmp_path), "--config", special[kind])
        assert code == 2 and f"it is a {kind}, and not a file" in err

    def test_a_film_to_score(self, tmp_path: Path, dub: Dub, special: dict[str, Path], kind: str) -> None:
        film = manifest(tmp_path).parent / "film.mp4"
        code, out, err = dub("score", film, "--audio", special[kind])
        assert code == 2 and f"{special[kind]} is a {kind}, not a media file" in err
        if kind != "folder":
            code, out, err = dub("score", special[kind])
            assert code == 2 and f"{special[kind]} is a {kind}, not a media file" in err


def small_film(path: Path, codec: str, options: dict[str, str] | None = None, hole: int = 40) -> Path:
    """40 moving frames at 25 a second with sound, in whatever the name says. hole: no frame is shown anew there."""
    noise = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    sound = {".webm": "libopus", ".mxf": "pcm_s16le"}.get(path.suffix, "mp2")
    with av.open(str(path), "w", options=options or {}) as out:
        video, audio = out.add_stream(codec, rate=25), out.add_stream(sound, rate=48_000)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        audio.layout = "mono"
        for n in range(40):
            picture = np.roll(np.kron(noise, np.ones((10, 10, 1), np.uint8)), n * 7, 1)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts = n + (n >= hole)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        size = audio.codec_context.frame_size or 960
        kind = audio.codec_context.format.name
        for at in range(0, 76_800 // size * size, size):
            wave = 0.2 * np.sin(2 * np.pi * 220 * np.arange(at, at + size) / 48_000)
            whole = kind.startswith("s16")
            block = (wave * 32767).astype(np.int16) if whole else wave.astype(np.float32)
            piece = av.AudioFrame.from_ndarray(block[None], kind, "mono")
            piece.sample_rate, piece.pts = 48_000, at
            out.mux(audio.encode(piece))
        out.mux(audio.encode(None))
    return path


@pytest.mark.parametrize("kept", [0.995, 0.7])
@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mkv", "libx264"), ("a.webm", "libvpx-vp9"), ("a.ts", "libx264"), ("a.avi", "mpeg4"), ("a.mxf", "mpeg2video")],
)
def test_a_film_that_broke_off_is_found_from_its_header(
    tmp_path: Path, dub: Dub, name: str, codec: str, kept: float
) -> None:
    manifest(tmp_path, video=name)
    film = small_film(tmp_path / name, codec)
    assert media.probe(film).video is not None
    assert len(media.timeline(film)) == 40
    data = film.read_bytes()
    film.write_bytes(data[: int(len(data) * kept)])
    code, *said = dub("check", tmp_path / "job.yaml")
    assert code == 2
    text = " ".join(" ".join(said).split())
    assert f"is truncated: it holds {len(film.read_bytes()):,} bytes of the" in text


def test_a_film_that_was_written_live_promises_no_length(tmp_path: Path) -> None:
    film = small_film(tmp_path / "live.mkv", "libx264", {"live": "1"})
    data = film.read_bytes()
    film.write_bytes(data[: int(len(data) * 0.9)])
    assert media.probe(film).video is not None


def test_an_empty_chunk_of_a_short_avi_is_no_missing_frame(tmp_path: Path) -> None:
    """The header counts 41: one of the chunks is empty, and shows the picture before it once more."""
    film = small_film(tmp_path / "a.avi", "mpeg4", hole=7)
    assert media.probe(film).video.frames_hint == 41
    assert len(media.timeline(film)) == 40


@pytest.mark.parametrize("size", [(32, 200_000), (200_000, 32), (9000, 64)])
def test_a_photograph_too_long_for_any_encoder_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size, (90, 80, 70)).save(tmp_path / "p.png")
    with pytest.raises(UnsupportedMedia, match=rf"is {size[0]}x{size[1]}.* H\.264's level 5\.2 holds"):
        media.read_photograph(tmp_path / "p.png")


@pytest.mark.parametrize("damage", ["a flipped bit", "half of it"])
@pytest.mark.parametrize("which", ["prior", "lips"])
def test_weights_of_the_package_that_are_damaged_are_found_by_check(
    tmp_path: Path, dub: Dub, monkeypatch: pytest.MonkeyPatch, damage: str, which: str
) -> None:
    whole = {"prior": shape.PRIOR_FILE, "lips": lips.WEIGHTS}[which]
    data = bytearray(whole.read_bytes())
    data[len(data) // 2] ^= 1
    bad = tmp_path / whole.name
    bad.write_bytes(data if damage == "a flipped bit" else data[: len(data) // 2])
    monkeypatch.setattr(shape, "PRIOR_FILE", bad if which == "prior" else shape.PRIOR_FILE)
    monkeypatch.setattr(lips, "WEIGHTS", bad if which == "lips" else lips.WEIGHTS)
    hearing.Prior.load.cache_clear()
    shape.ShapeSpace.load.cache_clear()
    try:
        code, *said = dub("check", manifest(tmp_path))
    finally:
        hearing.Prior.load.cache_clear()
        shape.ShapeSpace.load.cache_clear()
    assert code == 2
    text = " ".join(" ".join(said).split())
    assert f"{whole.name}, the weights of" in text
    assert "install the package again" in text

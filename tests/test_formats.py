"""`dub formats` says what really becomes of files: each answer is held against files of that kind."""

from __future__ import annotations

import json
import re
from pathlib import Path

import av
import numpy as np
import pytest
from command import Dub
from PIL import Image

from dubbing import manifest, media
from dubbing.api.formats import formats
from dubbing.errors import InputError, UnsupportedMedia
from dubbing.media import Known
from dubbing.remote import place

SILENCE = np.random.default_rng(1).normal(0, 0.1, (48_000, 2)).astype(np.float32)


def of(part: str, name: str) -> Known:
    """The row that names this."""
    (row,) = (r for r in formats() if r.part == part and name in r.name)
    return row


def clip(path: Path, codec: str = "libx264", pix_fmt: str = "yuv420p", size: tuple[int, int] = (64, 64)) -> Path:
    """One second of grey."""
    with av.open(str(path), "w") as made:
        stream = made.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        for n in range(25):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), 4 * n, np.uint8), format="bgr24")
            made.mux(stream.encode(frame.reformat(format=pix_fmt)))
        made.mux(stream.encode())
    return path


def sound(path: Path, codec: str) -> Path:
    with media.ClipWriter(path, sample_rate_hz=48_000, channels=2, sound_codec=codec) as made:
        made.sound(SILENCE)
    return path


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("8 bits a sample", "libx264", "yuv420p"),
        ("4:2:2 (yuv422p)", "libx264", "yuv422p"),
        ("4:4:4 (yuv444p)", "libx264", "yuv444p"),
        ("10 bits a sample", "libx264", "yuv420p10le"),
        ("rgb24", "png", "rgb24"),
        ("gray", "png", "gray"),
    ],
)
def test_pictures(name: str, codec: str, pix_fmt: str, tmp_path: Path) -> None:
    row, film = of("picture", name), media.probe(clip(tmp_path / "a.mov", codec, pix_fmt))
    if row.supported:
        assert media.delivery(film, media.probe(sound(tmp_path / "s.flac", "flac")))
        return
    with pytest.raises(UnsupportedMedia) as caught:
        media.delivery(film, media.probe(sound(tmp_path / "s.flac", "flac")))
    assert row.what.removeprefix("refused: it ") in str(caught.value) and str(caught.value).endswith(f": {row.todo}.")


@pytest.mark.parametrize(
    ("codec", "file"),
    [("flac", "s.flac"), ("pcm_s24le", "s.wav"), ("aac", "s.mp4"), ("opus", "s.mkv"), ("mp3", "s.mp3")],
)
def test_sounds(codec: str, file: str, tmp_path: Path) -> None:
    encoder = {"mp3": "libmp3lame", "opus": "libopus"}.get(codec, codec)
    row, own = of("sound codec", codec), media.probe(sound(tmp_path / file, encoder))
    out_of = {"mp4": "out of mp4 or mov", "mkv": "out of Matroska"}.get(file[2:], "bare")
    for container in ("mp4", "mov", "mkv"):
        how = media.delivery(media.probe(clip(tmp_path / f"film.{container}")), own)
        pcm = any("is delivered as PCM" in note for note in how.notices)
        name = {"mkv": "Matroska"}.get(container, container)
        said = next((p for p in row.what.split("; ") if name in re.split(r" (?:PCM|copied)", p)[0].split()), row.what)
        usual, *others = said.split(" (")
        said = next((other for other in others if other.startswith(out_of)), usual)
        assert ("PCM" in said) == pcm, (container, said, how)
        assert how.extension == (".mov" if "the master is .mov" in said else f".{container}")


def test_containers(tmp_path: Path) -> None:
    dub = media.probe(sound(tmp_path / "s.flac", "flac"))
    for file, codec, name in (
        ("a.mp4", "libx264", "mp4"), ("a.mov", "libx264", "mov"), ("a.mkv", "libx264", "Matroska"),
        ("a.avi", "mpeg4", "avi"), ("a.mxf", "mpeg2video", "mxf"), ("a.ts", "libx264", "MPEG transport stream"),
    ):  # fmt: skip
        rows = [r for r in formats() if r.part == "container" and name in r.name.split(", ")]
        how = media.delivery(media.probe(clip(tmp_path / file, codec)), dub)
        assert [r.what for r in rows] == [f"the master is {how.extension}"], name
    told = of("picture codec", "mpeg2video")
    assert told.what.endswith("the master is H.264") and "the master is H.264." in " ".join(
        media.delivery(media.probe(tmp_path / "a.mxf"), dub).notices
    )


def test_a_variable_rate_is_kept_as_it_says_and_named(tmp_path: Path, dub: Dub) -> None:
    film = clip(tmp_path / "even.mp4")
    with av.open(str(film)) as source, av.open(str(tmp_path / "uneven.mp4"), "w") as made:
        stream = made.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.pts is not None:
                packet.pts, packet.dts = (t + t // 4096 * 2048 for t in (packet.pts, packet.dts or 0))
                packet.stream = stream
                made.mux(packet)
    assert of("rate", "variable").supported and not media.variable_rate(film)
    told = []
    for name in ("even", "uneven"):
        mix = tmp_path / f"{name}.flac"
        line = media.timeline(tmp_path / f"{name}.mp4")
        with media.ClipWriter(mix, sample_rate_hz=48_000, channels=1) as made:
            made.sound(SILENCE.mean(1, keepdims=True).repeat(3, 0)[: int(line.duration * 48_000)])
        job = tmp_path / f"{name}.yaml"
        job.write_text(
            f"version: 1\ntitles: [{{id: a, video: {name}.mp4, dubs: [{{language: fr, audio: {name}.flac}}]}}]\n"
        )
        code, out, err = dub("check", job, "--out", tmp_path / "out")
        assert code == 0, err
        told.append(out.splitlines()[1])
    assert "25 frames (by its header) at 25 a second" in told[0]
    assert "at a variable rate (" in told[1] and "on average)" in told[1]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"])
def test_photographs(kind: str, tmp_path: Path) -> None:
    file = tmp_path / f"a.{kind.lower()}"
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(file, kind)
    row = of("photograph", kind)
    if row.supported:
        assert media.read_photograph(file).size == (64, 64)
        return
    with pytest.raises(UnsupportedMedia, match=row.todo):
        media.read_photograph(file)


def test_cut_lists_and_addresses() -> None:
    dub = manifest.Dub(language="fr", audio="/a.wav")
    for suffix in (".edl", ".otio", ".xml", ".aaf"):
        row, cuts = of("cut list", suffix), f"/cuts{suffix}"
        if row.supported:
            assert manifest.Title(id="a", video="/a.mp4", dubs=[dub], shots=cuts).shots == Path(cuts)
        else:
            with pytest.raises(InputError, match=r"an \.edl or \.otio"):
                manifest.Title(id="a", video="/a.mp4", dubs=[dub], shots=cuts)
    for row in (r for r in formats() if r.part == "address" and "://" in r.name):
        if row.supported:
            assert place(f"{row.name}/films/a.mp4" if row.name == "file://" else f"{row.name}films/a.mp4")
        else:
            with pytest.raises(InputError, match="does not support"):
                place(f"{row.name}films/a.mp4")


def test_what_is_not_supported_says_what_to_do(dub: Dub) -> None:
    rows = json.loads(dub("formats", "--json")[1])
    assert all(r["todo"] and r["what"].startswith("refused") for r in rows if not r["supported"])
    assert not any(r["todo"] for r in rows if r["supported"])
    code, out, _ = dub("formats", "--only", "picture")
    assert code == 0 and "no   truly interlaced: refused" in out and "cut list" not in out
    code, out, err = dub("formats", "--only", "smell")
    assert (code, out) == (2, "") and "there is: container, picture codec" in err and err.count("\n") == 1

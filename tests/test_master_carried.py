"""What a master carries over besides its picture: chapters, tags, subtitles, further pictures, covers, fonts."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from test_master import dub, film, master, payloads_of, same_sound, same_time, scene

from dubbing import media


def remuxed(source: Path, target: Path, add: Callable[[Any], list[tuple[Any, list[Any]]]]) -> Path:
    """A copy of a film with chapters and whatever `add` puts in: (stream, packets) pairs."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        copies = {s.index: new.add_stream_from_template(s, opaque=True) for s in old.streams if s.type != "data"}
        copies[0].metadata.update(old.streams[0].metadata)
        copies[0].metadata["language"] = "spa"
        new.metadata.update({"title": "Tîtle", "comment": "kept"})
        base = Fraction(1, 1000)
        new.set_chapters(
            [
                {"id": n, "start": 400 * n, "end": 400 * n + 400, "time_base": base, "metadata": {"title": f"part {n}"}}
                for n in range(3)
            ]
        )
        extra = add(new)
        new.start_encoding()
        for packet in old.demux():
            if packet.size and packet.stream.index in copies:
                packet.stream = copies[packet.stream.index]
                new.mux(packet)
        for stream, packets in extra:
            for packet in packets:
                packet.stream = stream
                new.mux(packet)
    return target


def text_packets(payloads: list[bytes]) -> list[Any]:
    out = []
    for n, payload in enumerate(payloads):
        packet = av.Packet(payload)
        packet.pts = packet.dts = 300 * n
        packet.duration, packet.time_base = 250, Fraction(1, 1000)
        out.append(packet)
    return out


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mp4", "mov_text"), (".mov", "mov_text"), (".mkv", "subrip"), (".mkv", "webvtt")]
)
def test_chapters_tags_and_subtitles_come_along(tmp_path: Path, suffix: str, codec: str) -> None:
    words = [f"line {n} é".encode() for n in range(4)]
    coded = [len(w).to_bytes(2, "big") + w for w in words] if codec == "mov_text" else words

    def add(new: Any) -> list[tuple[Any, list[Any]]]:
        stream = new.add_mux_stream(codec, time_base=Fraction(1, 1000))
        stream.metadata["language"] = "dan"
        return [(stream, text_packets(coded))]

    source = remuxed(film(tmp_path / f"plain{suffix}", 40), tmp_path / f"film{suffix}", add)
    sound = dub(tmp_path / "dub.flac", 76_800)
    target, line = master(source, sound)
    same_time(line, media.timeline(target))
    same_sound(sound, target)
    assert payloads_of(source, "subtitles") == payloads_of(target, "subtitles")
    a, b = media.probe(source), media.probe(target)
    assert {k.lower(): v for k, v in b.metadata.items()}["title"] == "Tîtle"
    assert "kept" in b.metadata.values()
    assert [s.language for s in b.subtitles] == [s.language for s in a.subtitles] == ["dan"]
    assert b.video is not None and b.video.language == "spa" and b.audio[0].language in ("fra", "fre")
    with av.open(str(source)) as one, av.open(str(target)) as two:
        said = [[(c["start"] * c["time_base"], c["metadata"]["title"]) for c in f.chapters()] for f in (one, two)]
    assert said[0] == said[1] and len(said[0]) == 3


def test_other_pictures_are_copied(shared: Path, tmp_path: Path) -> None:
    """space_no_face.mp4 has a second picture stream and two subtitle streams; only the first picture is encoded."""
    source = tmp_path / "space.mp4"
    source.write_bytes((shared / "media" / "space_no_face.mp4").read_bytes())
    target, line = master(source, dub(tmp_path / "d.flac", 13 * 48_000))
    same_time(line, media.timeline(target))
    for path_pair in [(source, target)]:
        streams = []
        for path in path_pair:
            with av.open(str(path)) as container:
                streams.append([bytes(p) for p in container.demux(container.streams.video[1]) if p.size])
        assert streams[0] == streams[1] and len(streams[0]) == 390
    assert len(media.probe(target).subtitles) == 2 and len(media.probe(target).audio) == 1


def test_two_pictures_in_matroska(shared: Path, tmp_path: Path) -> None:
    source = tmp_path / "two.mkv"
    with av.open(str(shared / "media" / "space_no_face.mp4")) as old, av.open(str(source), "w") as new:
        copies = {s.index: new.add_stream_from_template(s, opaque=True) for s in old.streams.video}
        for packet in old.demux(list(old.streams.video)):
            if packet.size:
                packet.stream = copies[packet.stream.index]
                new.mux(packet)
    target, line = master(source, dub(tmp_path / "d.flac", 13 * 48_000))
    same_time(line, media.timeline(target))
    assert payloads_of(source, "video", 1) == payloads_of(target, "video", 1)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_cover_or_a_font_comes_along(tmp_path: Path, suffix: str) -> None:
    jpeg = cv2.imencode(".jpg", np.full((48, 48, 3), 90, np.uint8))[1].tobytes()

    def add(new: Any) -> list[tuple[Any, list[Any]]]:
        if suffix == ".mkv":
            new.add_attachment("font.ttf", "font/ttf", b"not really a font" * 9)
            return []
        cover = new.add_mux_stream("mjpeg", width=48, height=48)
        cover.disposition = av.stream.Disposition.attached_pic
        packet = av.Packet(jpeg)
        packet.pts = packet.dts = 0
        packet.time_base, packet.is_keyframe = Fraction(1, 1000), True
        return [(cover, [packet])]

    source = remuxed(film(tmp_path / f"plain{suffix}", 20), tmp_path / f"film{suffix}", add)
    target, line = master(source, dub(tmp_path / "d.flac", 38_400))
    same_time(line, media.timeline(target))
    kinds = [sorted(o.kind for o in media.probe(p).others if o.kind != "data") for p in (source, target)]
    assert kinds[0] == kinds[1] == (["attachment"] if suffix == ".mkv" else ["cover"])


@pytest.mark.parametrize("suffix", [".mkv", ".mov", ".mp4"])
def test_pixels_that_are_not_square_stay_so(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"film{suffix}"
    with av.open(str(source), "w") as new:
        stream = new.add_stream("libx264", rate=25, width=96, height=64, pix_fmt="yuv420p")
        stream.codec_context.sample_aspect_ratio = Fraction(16, 15)
        for n in range(20):
            new.mux(stream.encode(av.VideoFrame.from_ndarray(scene(n), "bgr24")))
        new.mux(stream.encode(None))
    target, _ = master(source, dub(tmp_path / "d.flac", 38_400))
    shapes = [media.probe(p).video for p in (source, target)]
    assert [v.sample_aspect for v in shapes if v is not None] == [Fraction(16, 15)] * 2

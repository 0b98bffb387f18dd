"""`dub verify`: a good master passes; one with a single fault fails, and the fault is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from command import Dub
from films import Finished
from test_master import dub as sound_of
from test_master import film, master, patches, scene
from test_master_carried import remuxed, text_packets

import dubbing
from dubbing import media

COUNT = 50
HZ = 48_000


def words(new: Any) -> list[tuple[Any, list[Any]]]:
    """A Danish subtitle stream of four lines."""
    stream = new.add_mux_stream("subrip", time_base=Fraction(1, 1000))
    stream.metadata["language"] = "dan"
    return [(stream, text_packets([f"line {n} é".encode() for n in range(4)]))]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """(source, dub, good master) in Matroska, with subtitles, chapters, tags and a timecode."""
    folder = tmp_path_factory.mktemp("verify")
    plain = film(folder / "plain.mkv", COUNT, timecode="01:00:00:00")
    source = remuxed(plain, folder / "film.mkv", words)
    sound = sound_of(folder / "film.fr.flac", COUNT * HZ // 25)
    return source, sound, master(source, sound)[0].rename(folder / "film.fr.mkv")


def differing(found: dubbing.Verified) -> dict[str, str]:
    return {c.what: c.detail for c in found.differing}


def pictures(path: Path) -> list[np.ndarray]:
    return [p.bgr() for p in media.read(path, media.timeline(path))]


def changed(good: tuple[Path, Path, Path], target: Path, edit: Callable[[list[np.ndarray]], list[np.ndarray]]) -> Path:
    """A master of a film whose pictures are edited, with everything else."""
    source, sound, _ = good
    with media.ClipWriter(target.with_name("edited.mkv"), 96, 64, Fraction(25), timecode="01:00:00:00",
                          options={"crf": "4"}) as clip:  # fmt: skip
        for picture in edit(pictures(source)):
            clip.frame(picture)
    return master(remuxed(target.with_name("edited.mkv"), target, words), sound)[0]


def copied(path: Path, target: Path, *, tags: dict[str, str] | None = None, without: str = "") -> Path:
    """The same packets with other tags, or without the streams of a kind."""
    with av.open(str(path)) as old, av.open(str(target), "w") as new:
        copies = {
            s.index: new.add_stream_from_template(s, opaque=True) for s in old.streams if s.type != without
        }  # fmt: skip
        for index, stream in copies.items():
            stream.metadata.update(old.streams[index].metadata)
        new.metadata.update({**old.metadata, **(tags or {})})
        new.set_chapters(old.chapters())
        for packet in old.demux():
            if packet.size and packet.stream.index in copies:
                packet.stream = copies[packet.stream.index]
                new.mux(packet)
    return target


def test_a_good_master_passes(made: tuple[Path, Path, Path], dub: Dub) -> None:
    source, sound, good = made
    code, out, err = dub("verify", good, "--source", source, "--dub", sound)
    assert (code, err) == (0, "") and "all as it should be" in out and "not looked at" not in out
    plain = json.loads(dub("verify", good, "--source", source, "--dub", sound, "--json")[1])
    assert {c["status"] for c in plain["checks"]} == {"equal"} and plain["exit_code"] == 0
    assert plain["pictures"]["compared"] == COUNT and 40 < plain["pictures"]["worst_db"] <= 99
    assert {c["what"] for c in plain["checks"]} >= {"subtitles", "chapters", "tags", "timecode", "samples of track 1"}


@pytest.mark.parametrize(
    ("name", "codec", "sound", "sound_codec"),
    [
        ("film.fr.mp4", "libx264", "d.flac", None), ("film.fr.mov", "libx264", "d.wav", "pcm_s24le"),
        ("film.fr.mkv", "libx264", "d.wav", None), ("film.fr.avi", "mpeg4", "d.flac", None),
        ("film.fr.webm", "libvpx-vp9", "d.mkv", "libopus"), ("film.fr.mpg", "mpeg1video", "d.mp3", "libmp3lame"),
        ("film.fr.mp4", "libx265", "d.mp4", "aac"),
    ],
)  # fmt: skip
def test_a_good_master_of_any_film_and_sound_passes(
    tmp_path: Path, name: str, codec: str, sound: str, sound_codec: str | None
) -> None:
    source = film(tmp_path / name, COUNT, "30000/1001", codec=codec)
    heard = sound_of(tmp_path / sound, round(COUNT * HZ * 1001 / 30000), codec=sound_codec)
    target = master(source, heard)[0]
    found = dubbing.verify(target.rename(target.with_name(f"m.fr{target.suffix}")), source, dub=heard)
    assert {c.status for c in found.checks} == {"equal"}, [str(c) for c in found.checks]


def test_further_pictures_are_compared(shared: Path, tmp_path: Path) -> None:
    source = shared / "media" / "space_no_face.mp4"
    (tmp_path / "film.mp4").write_bytes(source.read_bytes())
    sound = sound_of(tmp_path / "d.flac", 13 * HZ)
    good = master(tmp_path / "film.mp4", sound)[0].rename(tmp_path / "film.fr.mp4")
    found = dubbing.verify(good, source, dub=sound)
    assert found.exit_code == 0, [str(c) for c in found.differing]
    assert [str(c) for c in found.checks if c.what in ("further pictures", "subtitles")] == [
        "equal: 2 streams", "equal: 1 stream",
    ]  # fmt: skip
    with av.open(str(good)) as container:
        one = [p for p in container.demux(video=1) if p.size][200]
        place, size = one.pos, one.size
    data = bytearray(good.read_bytes())
    data[place + size // 2] ^= 1
    good.write_bytes(data)
    told = differing(dubbing.verify(good, source, dub=sound))
    assert list(told) == ["further pictures"] and told["further pictures"].startswith("stream 1: the packet at ")


def test_without_the_dub_its_sound_is_not_looked_at(made: tuple[Path, Path, Path]) -> None:
    found = dubbing.verify(made[2], made[0])
    assert found.exit_code == 0
    assert [(c.what, c.status) for c in found.checks if c.status != "equal"] == [("sound", "not looked at")]


def test_a_frame_that_was_dropped_is_named(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    found = dubbing.verify(changed(made, tmp_path / "a.mkv", lambda p: p[:30] + p[31:]), made[0], dub=made[1])
    told = differing(found)
    assert "49 frames, the source has 50" in told["frames"] and "frame 30 (01:00:01:05) missing" in told["frames"]
    assert "pictures" not in told and found.pictures.missing == ((30, 30),)


def test_a_frame_too_many_is_named(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    def edit(p: list[np.ndarray]) -> list[np.ndarray]:
        return p[:20] + [np.full_like(p[0], 90)] + p[20:]

    told = differing(dubbing.verify(changed(made, tmp_path / "a.mkv", edit), made[0], dub=made[1]))
    assert "51 frames, the source has 50" in told["frames"]
    assert "frame 20 (01:00:00:20) in the master only" in told["frames"]


@pytest.mark.parametrize("dot_is", ["white", "as bright"])
def test_a_small_change_of_one_picture_is_named(made: tuple[Path, Path, Path], tmp_path: Path, dot_is: str) -> None:
    def edit(p: list[np.ndarray]) -> list[np.ndarray]:
        """A dot: white, or as bright as what was there."""
        dot = cv2.circle(np.zeros((64, 96), np.uint8), (70, 40), 6, 1, -1)[..., None]
        if dot_is == "white":
            p[33][dot[..., 0] > 0] = 255
        else:
            yuv = cv2.cvtColor(p[33], cv2.COLOR_BGR2YCrCb)
            yuv[..., 1:] += dot * np.array([50, 30], np.uint8)
            p[33][:] = cv2.cvtColor(yuv, cv2.COLOR_YCrCb2BGR)
        return p

    found = dubbing.verify(changed(made, tmp_path / "a.mkv", edit), made[0], dub=made[1])
    assert list(differing(found)) == ["pictures"] and "frame 33 (01:00:01:08)" in differing(found)["pictures"]
    assert [(a, b) for a, b, *_ in found.pictures.differing] == [(33, 33)] and found.pictures.worst_frame == 33


def test_loss_at_hard_edges_is_no_difference_and_an_edge_that_moved_is(tmp_path: Path) -> None:
    """Of a drawn box, as letters are: encoders leave more error there than in skin."""
    grain = np.random.default_rng(0).normal(0, 14, (16, 16))

    def drawn(name: str, edge: int, box: int, loss: float) -> Path:
        picture = np.full((192, 320), 40.0)
        picture[64:128, 96:edge] = box
        picture[64:80, 128:144] += loss * grain  # the block in which the box ends, at column 136
        with media.ClipWriter(tmp_path / name, 320, 192, Fraction(25), "ffv1", crf=None) as clip:
            clip.frame(np.repeat(np.clip(picture, 0, 255).astype(np.uint8)[..., None], 3, axis=2))
        return tmp_path / name

    def fits(box: int, edge: int, loss: float) -> bool:
        return media.compare_pictures(drawn("a.mkv", 136, box, 0), drawn("b.mkv", edge, box, loss)).fits

    assert fits(220, 136, 1) and not fits(60, 136, 1)
    assert not fits(220, 137, 0)


def test_a_sample_that_was_changed_is_named(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    wave = media.read_sound(made[1], None, False)
    wave[40_000, 1] += 2 / 32768
    with media.ClipWriter(tmp_path / "other.flac", sample_rate_hz=HZ, channels=2) as clip:
        clip.sound(wave)
    told = differing(dubbing.verify(made[2], made[0], dub=tmp_path / "other.flac"))
    assert told == {"samples of track 1": "1 sample of 96000, the first is sample 40000 (0.833 s)"}
    short = sound_of(tmp_path / "short.flac", COUNT * HZ // 25 - 7)
    assert "96000 samples, the dub has 95993" in differing(dubbing.verify(made[2], made[0], dub=short)).popitem()[1]


def test_every_track_is_compared_in_order(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mov", COUNT)
    one, two = (sound_of(tmp_path / f"{n}.wav", COUNT * HZ // 25, n) for n in (1, 2))
    sounds = []
    for name, order in (("right", (one, two)), ("wrong", (two, one))):
        with av.open(str(tmp_path / f"{name}.mov"), "w") as new:
            files = [av.open(str(p)) for p in order]
            streams = [new.add_stream_from_template(f.streams.audio[0]) for f in files]
            for file, stream in zip(files, streams, strict=True):
                for packet in file.demux():
                    if packet.size:
                        packet.stream = stream
                        new.mux(packet)
        sounds.append(tmp_path / f"{name}.mov")
    target = master(source, sounds[0])[0].rename(tmp_path / "film.fr.mov")
    assert dubbing.verify(target, source, dub=sounds[0]).exit_code == 0
    told = differing(dubbing.verify(target, source, dub=sounds[1]))
    assert "layout 1 channel, the dub's 2 channels" in told["sound track 1"] and "samples of track 2" in told
    assert differing(dubbing.verify(target, source, dub=one))["sound tracks"] == "2 tracks, the dub has 1"


def test_tags_and_subtitles_that_are_not_the_sources_are_named(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    source, sound, good = made
    told = differing(dubbing.verify(copied(good, tmp_path / "film.fr.mkv", tags={"title": "Other"}), source, dub=sound))
    assert list(told) == ["tags"] and "'Other', the source's 'Tîtle'" in told["tags"]
    told = differing(dubbing.verify(copied(good, tmp_path / "x.fr.mkv", without="subtitle"), source, dub=sound))
    assert told == {"subtitles": "0 streams, the source has 1"}
    told = differing(dubbing.verify(shutil.copy(good, tmp_path / "film.de.mkv"), source, dub=sound))
    assert told == {"sound track 1": "language fra, the dub's de (deu)"}


def test_colour_aspect_and_timecode_are_compared(made: tuple[Path, Path, Path]) -> None:
    info = media.probe(made[0]).video
    assert info is not None
    for field, value, what, said in (
        ("primaries", 9, "colour tags", "primaries 9, the source's"), ("range", 2, "colour tags", "range full"),
        ("matrix", 9, "colour tags", "matrix 9"), ("transfer", 16, "colour tags", "transfer 16"),
        ("chroma_location", "topleft", "colour tags", "chroma location topleft, the source's left"),
        ("sample_aspect", Fraction(16, 15), "picture", "pixel aspect 16/15, the source's 1"),
        ("rotation_deg", 90, "picture", "turn 90 degrees"), ("pix_fmt", "yuv444p", "picture", "yuv444p"),
        ("start_tc", "02:00:00:00", "timecode", "02:00:00:00, the source's 01:00:00:00"),
    ):  # fmt: skip
        found = [c for c in media.check_picture(info, replace(info, **{field: value})) if c.status == "differs"]
        assert [c.what for c in found] == [what] and said in found[0].detail


@pytest.mark.parametrize("degrees", [0, 90, 270])
def test_what_a_matte_covers_may_differ_and_nothing_else(tmp_path: Path, degrees: int) -> None:
    source = film(tmp_path / "film.mp4", 20, rotation_deg=degrees)
    folder = patches(tmp_path / "p", range(4, 16), 20, 16)
    target, _ = master(source, sound_of(tmp_path / "d.flac", 20 * HZ // 25), [folder])
    outside = media.compare_pictures(source, target, [folder])
    assert outside.differing == () and outside.masked == 12 and outside.psnr_db > 42
    whole = media.compare_pictures(source, target)
    assert [(a, b) for a, b, *_ in whole.differing] == [(4, 15)]


def test_another_film_is_bad_input(made: tuple[Path, Path, Path], tmp_path: Path, dub: Dub) -> None:
    with media.ClipWriter(tmp_path / "noise.mkv", 96, 64, Fraction(25)) as clip:
        for n in range(10):
            clip.frame(255 - scene(n + 60))
    large = film(tmp_path / "large.mkv", 4)
    with media.ClipWriter(large, 64, 64, Fraction(25)) as clip:
        clip.frame(scene(0, 64, 64))
    for master_, source, said in (
        (made[2], tmp_path / "noise.mkv", "made of another film"), (made[2], large, "is 96x64 and"),
        (tmp_path / "absent.mkv", made[0], "There is no file"), (made[2], made[1], "has no picture"),
    ):  # fmt: skip
        code, out, err = dub("verify", master_, "--source", source)
        assert (code, out) == (2, "") and said in err and err.count("\n") == 1


def test_a_damaged_master_differs(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    target, _ = master(film(tmp_path / "film.mp4", COUNT), made[1])
    data = bytearray(target.read_bytes())
    with av.open(str(target)) as container:
        at = [p for p in container.demux(video=0) if p.size][COUNT // 2]
        data[at.pos + 8 : at.pos + at.size] = bytes(at.size - 8)
    target.write_bytes(data)
    found = dubbing.verify(target, tmp_path / "film.mp4", dub=made[1])
    assert found.exit_code == 1 and "is damaged at" in differing(found)["pictures"]


def test_a_run_says_where_pictures_may_differ(finished: Finished, tmp_path: Path, dub: Dub) -> None:
    run = dubbing.open_results(finished.out)
    source = run.manifest.titles[0].video
    for one in run.dubs:
        found = dubbing.verify(str(one.master), str(source))
        assert found.exit_code == 0, [str(c) for c in found.differing]
        assert found.takes == str(finished.out) and found.pictures.masked > 0
        assert not [c for c in found.checks if c.status == "not looked at"]
    elsewhere = shutil.copy(str(one.master), tmp_path)
    code, out, _ = dub("verify", elsewhere, "--source", source)
    assert code == 1 and "no takes are known" in out
    assert dub("verify", elsewhere, "--source", source, "--takes", finished.out)[0] == 0
    renamed = shutil.copy(str(one.master), tmp_path / "other.mp4")
    code, _, err = dub("verify", renamed, "--source", source, "--takes", finished.out)
    assert code == 2 and "made no other.mp4" in err

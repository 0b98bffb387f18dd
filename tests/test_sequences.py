"""Films that are one file a picture: opened, refused in a sentence, and delivered with every file that nobody changed.

Files are made and read back by other libraries than the project's own writers: tifffile, OpenCV, OpenEXR, and FFmpeg.
"""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import OpenEXR
import pytest
import tifffile
from command import Dub

import dubbing
from bench.formats import patches as moved
from dubbing import manifest, media, sequences
from dubbing.api import starting
from dubbing.clock import Timecode
from dubbing.errors import MediaError, OutputError, UnsupportedMedia
from dubbing.master_choice import MasterChoice
from dubbing.media.numbered_files import new_file
from dubbing.store import content_key, stamp_of

W, H, COUNT, FIRST, PATCHED = 96, 64, 6, 86_400, range(2, 4)
BOX = (24, 16, 40, 32)
INSIDE = (slice(16, 48), slice(24, 64))
RATE = Fraction(24)


def ramp(n: int) -> np.ndarray:
    """A slow ramp of 16 bits, uint16 (H, W, 3) RGB."""
    y, x = np.mgrid[:H, :W].astype(np.float64)
    grey = 20_000 + 130 * x + 37 * y + 11 * n
    return np.stack([grey + 2000, grey, grey + 900], -1).astype(np.uint16)


def write_dpx(path: Path, n: int) -> None:
    frame = av.VideoFrame.from_ndarray(ramp(n), "rgb48le").reformat(format="gbrp10le")
    path.write_bytes(new_file("dpx", frame, Timecode.parse("01:00:00:00", RATE) + n, RATE, 1, 1, FIRST + n))


def write_deep_dpx(path: Path, n: int) -> None:
    alpha = np.full((H, W, 1), 30_000 + n, np.uint16)
    frame = av.VideoFrame(W, H, "gbrap16le")
    for plane, part in zip(
        frame.planes, np.moveaxis(np.concatenate([ramp(n)[..., [1, 2, 0]], alpha], -1), -1, 0), strict=True
    ):
        np.frombuffer(plane, np.uint16).reshape(H, -1)[:, :W] = part
    path.write_bytes(new_file("dpx", frame, None, RATE, None, None, FIRST + n))


def write_tiff(path: Path, n: int) -> None:
    tifffile.imwrite(
        path, ramp(n), photometric="rgb", compression="deflate", description=f"plate {n}", software="grader",
        metadata=None,
    )  # fmt: skip


def write_png(path: Path, n: int) -> None:
    done, data = cv2.imencode(".png", ramp(n)[..., ::-1])
    assert done
    text = b"tEXt" + b"Comment\0plate"
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    path.write_bytes(data.tobytes()[:33] + chunk + data.tobytes()[33:])


def write_exr(path: Path, n: int) -> None:
    light = (ramp(n) / 30_000).astype(np.float16)
    light[:4] = [-0.25, 900.0, 65504.0]  # below black, and brighter than any display
    light[4, :8] = np.float16(np.nan)
    code = OpenEXR.TimeCode(1, 0, 0, n, *[0] * 14)
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, "timeCode": code,
        "framesPerSecond": RATE, "plate": f"number {n}",
    }  # fmt: skip
    depth = np.full((H, W), 3 + n, np.float32)
    channels = dict(zip("RGB", np.ascontiguousarray(np.moveaxis(light, -1, 0)), strict=True))
    OpenEXR.File(header, {**channels, "Z": depth}).write(str(path))


def read_dpx(path: Path) -> np.ndarray:
    with av.open(str(path)) as file:
        (frame,) = file.decode(video=0)
        planes = (
            [np.frombuffer(p, "<u2").reshape(H, -1)[:, :W] for p in frame.planes]
            if "gbr" in frame.format.name
            else None
        )
        return np.stack(planes, -1) if planes else frame.to_ndarray().reshape(H, W, -1)


def read_exr(path: Path) -> np.ndarray:
    channels = OpenEXR.File(str(path), separate_channels=True).channels()
    return np.stack([channels[name].pixels for name in "RGB"], -1).view(np.uint16)


def timecode_by_ffmpeg(path: Path) -> str:
    with av.open(str(path)) as file:
        return next(file.decode(video=0)).metadata["timecode"]


KINDS = {
    "dpx": (".dpx", write_dpx, read_dpx),
    "deep_dpx": (".dpx", write_deep_dpx, read_dpx),
    "tiff": (".tif", write_tiff, tifffile.imread),
    "png": (".png", write_png, lambda p: cv2.imread(str(p), cv2.IMREAD_UNCHANGED)),
    "exr": (".exr", write_exr, read_exr),
}


def sequence(folder: Path, kind: str = "dpx") -> Path:
    """A sequence of that kind in a folder of its own; what its headers do not say stands behind its name."""
    folder.mkdir(parents=True)
    ending, write, _ = KINDS[kind]
    for n in range(COUNT):
        write(folder / f"shot.{FIRST + n:07d}{ending}", n)
    return folder if kind in ("dpx", "exr", "deep_dpx") else sequences.addressed(folder, {"rate": RATE})


def sound(path: Path) -> Path:
    wave = np.random.default_rng(3).normal(0, 0.1, (COUNT * 48_000 // 24, 2)).astype(np.float32)
    with media.ClipWriter(path, sample_rate_hz=48_000, channels=2) as clip:
        clip.sound(wave)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_files_without_a_patch_are_the_source_s_and_outside_mattes_nothing_changes(tmp_path: Path, kind: str) -> None:
    source, dub = sequence(tmp_path / "film", kind), sound(tmp_path / "d.flac")
    patch = moved(source, tmp_path / "p", BOX, PATCHED, 4)
    ending, _, read = KINDS[kind]
    target = tmp_path / f"film.fr{ending}"
    asked = {target: MasterChoice(), tmp_path / "film.fr.mov": MasterChoice(codec="prores", profile="4444")}
    made, _ = media.encode_masters(source, media.timeline(source), [patch], dub, asked)
    proofs = media.prove(source, asked, dub, patch_folders=[patch])
    assert [c for proof in proofs for c in proof.differing] == []
    assert made.frames == COUNT and "4 pictures are" in " ".join(made.notices)
    assert media.delivery(media.probe(source), media.probe(dub)).extension == f".{media.probe(source).video.codec}"  # type: ignore[union-attr]
    names = sorted(p.name for p in (tmp_path / "film").iterdir())
    assert sorted(p.name for p in target.iterdir() if p.suffix != ".wav") == names
    for n, name in enumerate(names):
        was, now = tmp_path / "film" / name, target / name
        if n not in PATCHED:
            assert was.read_bytes() == now.read_bytes()
            continue
        before, after = read(was), read(now)
        other = (before != after).any(-1)
        assert other[INSIDE].mean() > 0.3
        other[INSIDE] = False
        assert not other.any(), "a sample outside the matte has changed"
    with av.open(str(target / "film.fr.wav")) as wav:
        assert wav.metadata["time_reference"] == str((3600 if kind in ("dpx", "exr") else 0) * 48_000)
    changed = target / names[PATCHED.start]
    if kind == "tiff":
        with tifffile.TiffFile(changed) as file:
            assert file.pages[0].description == f"plate {PATCHED.start}" and file.pages[0].software == "grader"
    if kind == "png":
        assert b"tEXtComment\0plate" in changed.read_bytes()
    if kind == "exr":
        header, channels = (f := OpenEXR.File(str(changed), separate_channels=True)).header(), f.channels()
        assert header["plate"] == f"number {PATCHED.start}" and header["timeCode"].frame == PATCHED.start
        assert (channels["Z"].pixels == 3 + PATCHED.start).all() and channels["R"].pixels.dtype == np.float16
    if kind == "dpx":
        assert timecode_by_ffmpeg(changed) == f"01:00:00:{PATCHED.start:02d}"


def test_a_film_becomes_a_sequence_with_a_timecode_in_each_header_and_is_proved(tmp_path: Path) -> None:
    film, dub = tmp_path / "film.mov", sound(tmp_path / "d.flac")
    with media.ClipWriter(
        film, W, H, RATE, "prores_ks", crf=None, pix_fmt="yuv422p10le", timecode="10:00:00:00"
    ) as clip:
        for n in range(COUNT):
            clip.frame(ramp(n)[..., ::-1].copy())
    line = media.timeline(film)
    targets = {tmp_path / f"film.fr.{c}": MasterChoice(container=c) for c in ("dpx", "tiff", "png")}  # type: ignore[arg-type]
    media.encode_masters(film, line, [], dub, targets)
    for target in targets:
        first = target / f"film.fr.{10 * 3600 * 24:07d}.{target.suffix[1:]}"
        assert first.is_file() and len(list(target.iterdir())) == COUNT + 1
        found = dubbing.verify(target, film, dub=dub, least_db=60)
        (what,) = [c for c in found.checks if c.what == "pictures"]
        assert what.status == "equal" and not [
            c for c in found.checks if c.what.startswith("samples") and c.status != "equal"
        ]
    assert timecode_by_ffmpeg(tmp_path / "film.fr.dpx" / f"film.fr.{10 * 3600 * 24 + 5:07d}.dpx") == "10:00:00:05"
    info = media.probe(tmp_path / "film.fr.dpx")
    assert info.video is not None and (info.video.rate, info.video.start_tc) == (RATE, "10:00:00:00")
    assert cv2.imread(str(tmp_path / "film.fr.png" / "film.fr.0864000.png"), -1).dtype == np.uint16
    with pytest.raises(UnsupportedMedia, match="OpenEXR holds linear light"):
        media.delivery(media.probe(film), media.probe(dub), None, MasterChoice(container="exr"))


def test_dpx_has_no_timecode_of_more_frames_a_second_than_it_counts(tmp_path: Path) -> None:
    source, target, dub = tmp_path / "film.mov", tmp_path / "film.fr.dpx", sound(tmp_path / "d.flac")
    with media.ClipWriter(source, W, H, 120, timecode="10:00:00:98") as clip:
        for n in range(4):
            clip.frame(np.full((H, W, 3), 40 * n, np.uint8))
    choice = MasterChoice(container="dpx")
    (made,) = media.encode_masters(source, media.timeline(source), [], dub, {target: choice})
    assert any("DPX's timecode counts to 100" in told for told in made.notices)
    assert {path.read_bytes()[1920:1924] for path in target.glob("*.dpx")} == {b"\xff" * 4}
    (proof,) = media.prove(source, {target: choice}, dub, patch_folders=[])
    assert "timecode" not in [c.what for c in proof.differing]


def test_a_sequence_made_in_parts_has_the_same_files(tmp_path: Path) -> None:
    source, dub = sequence(tmp_path / "film"), sound(tmp_path / "d.flac")
    line, patch = media.timeline(source), moved(source, tmp_path / "p", BOX, PATCHED, 4)
    choices = [MasterChoice(), MasterChoice(container="png")]
    parts = []
    for first, last in ((0, 3), (3, COUNT)):
        parts.append(tmp_path / f"part_{first}")
        parts[-1].mkdir()
        media.make_part(source, line, [patch], choices, parts[-1], first, last)
    made = []
    for given in ({"patch_folders": [patch]}, {"patch_folders": [], "parts": parts}):
        folder = tmp_path / f"made_{len(made)}"
        targets = {folder / f"film.fr.{name}": choice for name, choice in zip(("dpx", "png"), choices, strict=True)}
        media.encode_masters(source, line, sound=dub, targets=targets, **given)  # type: ignore[arg-type]
        made.append({p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()})
    assert made[0] == made[1] and len(made[0]) == 2 * (COUNT + 1)
    sums = [media.prove_part(source, targets, [patch], line, first, last) for first, last in ((0, 3), (3, COUNT))]
    found = {path: [part[n] for part in sums] for n, path in enumerate(targets)}
    assert None not in [one for part in sums for one in part]
    proofs = media.prove(source, targets, dub, patch_folders=[patch], timeline=line, parts=found)
    assert [c for proof in proofs for c in proof.differing] == []


def test_a_proof_finds_one_other_byte_in_a_file_that_nobody_was_to_change(tmp_path: Path) -> None:
    source, dub = sequence(tmp_path / "film"), sound(tmp_path / "d.flac")
    target = tmp_path / "film.fr.dpx"
    media.encode_masters(source, media.timeline(source), [], dub, {target: MasterChoice()})
    assert dubbing.verify(target, source, dub=dub).exit_code == 0
    bad = target / f"shot.{FIRST + 1:07d}.dpx"
    data = bytearray(bad.read_bytes())
    data[200] ^= 1  # in its header
    bad.unlink()
    bad.write_bytes(data)
    (found,) = media.prove(source, {target: MasterChoice()}, dub, patch_folders=[])
    assert [c.what for c in found.differing] == ["pictures"]
    assert "frame 1 (01:00:00:01) has no patch and is not the source's own packet" in found.differing[0].detail


def test_a_sequence_s_key_is_that_of_all_its_files_and_a_hard_link_changes_nothing(tmp_path: Path) -> None:
    film = sequence(tmp_path / "film")
    key, stamp = content_key(film), stamp_of(film)
    os.link(film / f"shot.{FIRST:07d}.dpx", tmp_path / "other")
    assert (content_key(film / "shot.%07d.dpx"), stamp_of(film)) == (key, stamp)
    assert content_key(sequences.addressed(film, {"rate": 25})) != key
    last = film / f"shot.{FIRST + COUNT - 1:07d}.dpx"
    last.write_bytes(last.read_bytes()[:-1] + b"\xfc")
    assert content_key(film) != key and stamp_of(film) != stamp


def renumbered(folder: Path, name: Callable[[int], str]) -> None:
    for n, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / name(n))


def test_files_whose_names_are_numbers_alone_are_a_film(tmp_path: Path) -> None:
    film = sequence(tmp_path / "film")
    renumbered(film, lambda n: f"{n:04d}.dpx")
    assert len(media.timeline(film)) == len(media.timeline(film / "%04d.dpx")) == COUNT


def test_a_part_of_a_sequence_is_a_film(tmp_path: Path) -> None:
    film = sequence(tmp_path / "film")
    assert sequences.is_there(film / "shot.%07d.dpx") and not sequences.is_there(film / "take.%07d.dpx")
    line = media.timeline(film / f"shot.[{FIRST + 1:07d}-{FIRST + 3:07d}].dpx")
    assert (len(line), line.start_tc) == (3, "01:00:00:01")
    assert (
        len(media.timeline(film / f"shot.{FIRST:07d}.dpx")) == len(media.timeline(film / "shot.#######.dpx")) == COUNT
    )
    for path in (film, film / "shot.%07d.dpx", f"{film}#rate=24000/1001"):
        assert starting.called(Path(path)) == "shot", "dub init names no file by a pattern"


def truncated(folder: Path) -> None:
    os.truncate(folder / f"shot.{FIRST + 3:07d}.dpx", 20_000)


def of_another_size(folder: Path) -> None:
    data = bytearray((folder / f"shot.{FIRST:07d}.dpx").read_bytes())
    struct.pack_into(">I", data, 776, H // 2)
    (folder / f"shot.{FIRST + 3:07d}.dpx").write_bytes(data)


def without_rate(folder: Path) -> None:
    for path in folder.iterdir():
        data = bytearray(path.read_bytes())
        struct.pack_into(">f", data, 1724, 0)
        struct.pack_into(">f", data, 1940, 0)
        path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / f"shot.{FIRST + 3:07d}.dpx").unlink(), "shot.0086403.dpx is missing from the sequence"),
        (lambda f: shutil.copy(f / f"shot.{FIRST:07d}.dpx", f / "other.0001.dpx"), "holds several sequences"),
        (truncated, "is truncated: it holds 20,000 bytes"),
        (of_another_size, "is 96x32, 10 bits RGB, and the sequence begins with 96x64"),
        (without_rate, "does not say its frame rate"),
        (lambda f: (f / f"shot.{FIRST:07d}.dpx").write_bytes(b"SDPX" + bytes(3000)), "is DPX of the kind 0"),
        (lambda f: renumbered(f, lambda n: f"s_{2**31 - 2 + n}.dpx"), "and 2147483647 is the greatest that is read"),
        (lambda f: renumbered(f, lambda n: f"s_{chr(0x661 + n)}.dpx"), "holds several sequences"),
        (lambda f: renumbered(f, lambda n: os.fsdecode(b"\xff_%d.dpx" % n)), "holds files whose names are not UTF-8"),
    ],
)  # fmt: skip
def test_a_bad_sequence_is_one_sentence(tmp_path: Path, spoil: object, says: str) -> None:
    film = sequence(tmp_path / "film")
    spoil(film)  # type: ignore[operator]
    with pytest.raises(MediaError) as e:
        media.check_sequence(film)
    assert says in str(e.value) and str(e.value).count(". ") == 0


@pytest.mark.long
def test_check_says_what_a_sequence_lacks_before_any_work(tmp_path: Path, dub: Dub) -> None:
    sequence(tmp_path / "film", "png")
    sound(tmp_path / "d.flac")
    job = tmp_path / "job.yaml"
    text = "version: 1\ntitles: [{id: reel, video: film, %s dubs: [{language: fr, audio: d.flac}]}]\n"
    job.write_text(text % "")
    code, _, said = dub("check", job, "--out", tmp_path / "out")
    assert code == 2 and "does not say its frame rate; write `rate: 24`" in said
    for command in (("init", tmp_path / "film"), ("verify", tmp_path / "film", "--source", tmp_path / "film")):
        code, _, said = dub(*command)
        assert code == 2 and "film/shot.%07d.png#rate=24 where a command takes a film" in said, "no rate is made up"
    code, told, said = dub("verify", tmp_path / "film", "--source", f"{tmp_path / 'film'}#rate=24000/1001")
    assert code == 0 and "24000/1001 frames a second" in told, said
    job.write_text(text % "rate: 24, colour: {transfer: pq, primaries: bt2020},")
    video = media.probe(manifest.load(job).titles[0].video).video
    assert video is not None and (video.rate, video.transfer, video.primaries) == (RATE, 16, 9)
    job.write_text(text.replace("film", "d.flac") % "rate: 24,")
    code, _, said = dub("check", job, "--out", tmp_path / "out")
    assert code == 2 and "d.flac is no sequence of pictures; 'rate' is for these" in said


def test_a_film_in_mxf_stays_in_mxf_where_its_sound_can(tmp_path: Path) -> None:
    film = tmp_path / "film.mxf"
    with media.ClipWriter(film, W, H, Fraction(25), "prores_ks", crf=None, pix_fmt="yuv422p10le") as clip:
        for n in range(5):
            clip.frame(ramp(n))
    for rate_hz, extension in ((48_000, ".mxf"), (44_100, ".mov")):
        dub = tmp_path / f"{rate_hz}.flac"
        with media.ClipWriter(dub, sample_rate_hz=rate_hz, channels=2) as clip:
            clip.sound(np.zeros((rate_hz // 5, 2), np.float32) + 0.1)
        plan = media.delivery(media.probe(film), media.probe(dub))
        assert plan.extension == extension
    media.encode_masters(film, media.timeline(film), [], tmp_path / "48000.flac", {tmp_path / "m.mxf": MasterChoice()})
    packets = []
    for path in (film, tmp_path / "m.mxf"):
        with av.open(str(path)) as file:
            packets.append([bytes(p) for p in file.demux(video=0) if p.size])
    assert packets[0] == packets[1] and len(packets[0]) == 5


def test_a_folder_that_is_there_is_not_written_into(tmp_path: Path) -> None:
    source, dub = sequence(tmp_path / "film"), sound(tmp_path / "d.flac")
    with pytest.raises(OutputError, match="File exists"):
        media.encode_masters(source, media.timeline(source), [], dub, {source: MasterChoice()})
    assert len(list(source.iterdir())) == COUNT

"""Every cell of what `dub formats` names of pictures, on films whose truth is known: in, patched, out, compared.

    python -m bench.formats            # two tables in Markdown: masters as the source, masters as they are asked for
    python -m bench.formats --only prores

A film of 18 frames (256x128: DNxHR makes no smaller one) with a slow ramp in every sample; six of its frames have a
patch with a soft matte. PSNR is outside the mattes. Of a cell that is not supported, its sentence is shown. Exit code 1
where a cell is not as it should be.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from dubbing import media, sequences
from dubbing.clock import Timecode
from dubbing.errors import InputError
from dubbing.master_choice import SEQUENCES, MasterChoice
from dubbing.media.encoders import ENCODERS, PROFILES
from dubbing.media.numbered_files import new_file

W, H, COUNT, PATCHED = 256, 128, 18, range(6, 12)
BOX = (96, 32, 64, 64)
SUFFIXES = {"mp4": ".mp4", "mov": ".mov", "matroska": ".mkv", "mxf": ".mxf", media.SEQUENCE: ""}
TRANSFERS = {"BT.709": None, "PQ": 16, "HLG": 18}
LEAST_DB = 42.0


@dataclass(frozen=True)
class Cell:
    """A film to be made. codec: FFmpeg's name of the decoder; muxer, pix_fmt: FFmpeg's; full: range; transfer: a key of
    TRANSFERS; profile: the encoder's, '' for its own choice."""

    codec: str
    muxer: str
    pix_fmt: str
    full: bool = False
    transfer: str = "BT.709"
    profile: str = ""

    def __str__(self) -> str:
        profile = f" {self.profile}" if self.profile else ""
        scale = "full" if self.full else "limited"
        return f"{self.codec}{profile} | {self.muxer} | {self.pix_fmt} | {scale} | {self.transfer}"


def cells() -> Iterator[Cell]:
    """Every codec, profile, format, range, transfer and container of the table of encoders."""
    for codec, encoder in ENCODERS.items():
        for pix_fmt in sorted(encoder.formats):
            profiles = [name for name, formats in PROFILES.get(codec, {}).items() if pix_fmt in formats] or [""]
            rgb, deep = pix_fmt.startswith("gbr"), pix_fmt.endswith("le")
            ranges = (True,) if rgb or pix_fmt.startswith("yuvj") or codec == "mjpeg" else (False, True)
            for profile in profiles:
                for full in ranges if codec in ("h264", "hevc", "ffv1", "av1") else ranges[:1]:
                    for transfer in TRANSFERS if deep and not full else ("BT.709",):
                        for muxer in encoder.muxers:
                            yield Cell(codec, muxer, pix_fmt, full, transfer, profile)


def ramp(n: int) -> np.ndarray:
    """A slow ramp, uint16 (H, W, 3), that moves a little."""
    y, x = np.mgrid[:H, :W].astype(np.float64)
    grey = 16_000 + 90 * x + 60 * y + 40 * n
    return np.stack([grey + 900, grey, grey + 2000], -1).astype(np.uint16)


def film(path: Path, cell: Cell) -> Path:
    """The cell's film."""
    encoder = ENCODERS[cell.codec]
    if cell.muxer == media.SEQUENCE:
        return sequence(path, cell)
    options = dict(encoder.options)
    if cell.profile:
        options["profile"] = f"dnxhr_{cell.profile}" if cell.codec == "dnxhd" else cell.profile
    if cell.codec == "prores" and cell.pix_fmt.startswith("yuva"):
        options["alpha_bits"] = "16"
    if cell.full and not cell.pix_fmt.startswith("gbr"):
        options["color_range"] = "pc"
    if encoder.name == "libsvtav1":
        options |= {"preset": "8", "crf": "10"}
    matrix = 9 if cell.transfer != "BT.709" else 1
    with media.ClipWriter(
        path, W, H, Fraction(25), encoder.name, crf=4, pix_fmt=cell.pix_fmt, options=options, timecode="01:00:00:00",
        transfer=TRANSFERS[cell.transfer], matrix=matrix,
    ) as clip:  # fmt: skip
        for n in range(COUNT):
            clip.frame(ramp(n))
    return path


def sequence(folder: Path, cell: Cell) -> Path:
    """The cell's film, one file a picture, numbered by its timecode."""
    folder.mkdir()
    start = Timecode.parse("01:00:00:00", Fraction(25))
    for n in range(COUNT):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(ramp(n)[..., ::-1]), "rgb48le")
        frame = frame.reformat(format=cell.pix_fmt)
        number = start.frames + n
        data = new_file(cell.codec, frame, start + n, Fraction(25), 1, 1, number)
        (folder / f"film.{number:07d}.{cell.codec}").write_bytes(data)
    said = {"rate": 25, "transfer": {"PQ": "pq", "HLG": "hlg"}.get(cell.transfer)}
    return sequences.addressed(folder, said)


def patches(
    source: Path, folder: Path, box: tuple[int, int, int, int] = BOX, frames: range = PATCHED, by_px: int = 6
) -> Path:
    """The film itself, some pixels from where it was, under a soft round matte: as a mouth that moves before it."""
    folder.mkdir()
    x, y, width, height = box
    matte = np.zeros((height, width), np.uint8)
    cv2.ellipse(matte, (width // 2, height // 2), (width // 2 - 8, height // 2 - 8), 0, 0, 360, 255, -1)
    matte = cv2.GaussianBlur(matte, (9, 9), 0)
    line = media.timeline(source)
    first = next(media.read(source, line))
    with media.PatchWriter(folder, width, height, transfer=first.colour.transfer if first.deep else None) as writer:
        for picture in media.read(source, line, frames.start, frames.stop):
            moved = picture.own_bgr((x + by_px, y, width, height))
            writer.write(media.patch_of(picture.frame, x, y, moved, matte, first.colour.transfer))
    return folder


def sound(path: Path) -> Path:
    """A dub as long as the film."""
    wave = np.random.default_rng(3).normal(0, 0.1, (round(COUNT / 25 * 48_000), 2)).astype(np.float32)
    with media.ClipWriter(path, sample_rate_hz=48_000, channels=2) as clip:
        clip.sound(wave)
    return path


def payloads(path: Path) -> list[bytes]:
    if (found := sequences.find(path)) is not None:
        return [file.read_bytes() for file in found.files]
    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(video=0) if p.size]


def judged(source: Path, folder: Path, dub: Path, target: Path, choice: MasterChoice, lossy: bool) -> tuple[str, bool]:
    """The rest of a row of the table, and whether the cell is as it should be."""
    info = media.probe(source)
    try:
        plan = media.delivery(info, media.probe(dub), None, choice)
    except InputError as e:
        return f"refused: {str(e).removeprefix(str(source)).removeprefix(source.name).lstrip(': ')} |" + " |" * 4, True
    target = target.with_suffix(plan.extension)
    line = media.timeline(source)
    if target.is_dir():
        shutil.rmtree(target)
    media.encode_masters(source, line, [folder], dub, {target: choice}, language="fr")
    (proof,) = media.prove(source, {target: choice}, dub, patch_folders=[folder], language="fr")
    seen, now = proof.pictures, media.probe(target).video
    assert seen is not None and now is not None
    wrong = [f"{c.what}: {c.detail}" for c in proof.differing]
    copied = sum(a == b for a, b in zip(payloads(source), payloads(target), strict=False))
    wrong += ["the patch is not there"] * (_mouths(source, target) < 1)
    least = 34.0 if lossy else LEAST_DB
    good = not wrong and seen.pairs == COUNT and seen.psnr_db >= least
    row = (
        f"{plan.extension} {plan.picture.encoder.shown} | {now.pix_fmt} | {seen.pairs} of {COUNT} | {copied} | "
        f"{seen.psnr_db:.1f} | {', '.join(wrong) or 'all kept'}"
    )
    return row, good


def _mouths(source: Path, target: Path) -> float:
    """The mean difference inside the matte of a patched frame, in steps of 8 bits."""
    at = PATCHED.start + 2
    x, y, width, height = BOX
    box = (x + 16, y + 16, width - 32, height - 32)
    one, two = (next(media.read(path, media.timeline(path), at, at + 1)).bgr(box) for path in (source, target))
    return float(np.abs(one.astype(float) - two).mean())


HEAD = (
    "| film | container | format | range | transfer | master | its format | frames | packets copied | PSNR, dB "
    "| times, tags, sound |"
)


def asked() -> Iterator[MasterChoice]:
    """Every codec with its profiles, depths and chroma, in every container that carries it, and some that do not."""
    yield from (MasterChoice(container=container) for container in ("mp4", "mov", "mkv", "mxf"))
    for container in SEQUENCES:
        for depth in (None, 8, 10, 12, 16):
            yield MasterChoice(container=container, bit_depth=depth)  # type: ignore[arg-type]
    for codec in ("prores", "dnxhr"):
        for profile in PROFILES[{"dnxhr": "dnxhd"}.get(codec, codec)]:
            for container in ("mov", "mxf", "mkv"):
                yield MasterChoice(codec=codec, profile=profile, container=container)  # type: ignore[arg-type]
    for codec in ("h264", "hevc", "av1", "ffv1"):
        for depth in (8, 10, 12):
            for chroma in ("4:2:0", "4:2:2", "4:4:4"):
                containers = ("mp4", "mkv") if codec != "ffv1" else ("mkv", "mov")
                for container in containers:
                    yield MasterChoice(codec=codec, bit_depth=depth, chroma=chroma, container=container)  # type: ignore[arg-type]


SOURCES = (
    Cell("h264", "mp4", "yuv420p"), Cell("h264", "mp4", "yuvj420p", True), Cell("prores", "mov", "yuv422p10le"),
    Cell("hevc", "mp4", "yuv420p10le", False, "PQ"), Cell("ffv1", "matroska", "gbrp10le", True),
    Cell("ffv1", "matroska", "yuva444p10le"), Cell("prores", "mxf", "yuv422p10le", profile="hq"),
    Cell("dnxhd", "mxf", "yuv422p10le", profile="hqx"), Cell("dpx", media.SEQUENCE, "gbrp10le", True),
    Cell("exr", media.SEQUENCE, "gbrp16le", True, "PQ"),
)  # fmt: skip


def main() -> int:
    """Print the tables; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="films whose row begins so")
    parser.add_argument("--part", choices=("source", "asked"), help="one table only")
    args = parser.parse_args()
    rows, bad = 0, 0
    for part in ("source", "asked"):
        if args.part not in (None, part):
            continue
        print(HEAD, "|---" * 11 + "|", sep="\n")
        for cell in cells() if part == "source" else SOURCES:
            if not str(cell).startswith(args.only):
                continue
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                dub = sound(folder / "dub.flac")
                try:
                    source = film(folder / f"film{SUFFIXES[cell.muxer]}", cell)
                    drawn = patches(source, folder / "p")
                except Exception as e:
                    print(f"| {cell} | not made: {type(e).__name__} {str(e)[:80]} |" + " |" * 5)
                    continue
                for choice in (MasterChoice(),) if part == "source" else asked():
                    lossy = (choice.profile or cell.profile) in ("proxy", "lt", "lb")
                    try:
                        row, good = judged(source, drawn, dub, folder / "master", choice, lossy)
                    except Exception as e:
                        row, good = f"{type(e).__name__}: {str(e)[:120]} |" + " |" * 4, False
                    what = (
                        ""
                        if part == "source"
                        else " "
                        + "/".join(
                            str(v)
                            for v in (choice.codec, choice.profile, choice.bit_depth, choice.chroma, choice.container)
                            if v
                        )
                    )
                    print(f"| {cell} | {what + ': ' if what else ''}{row} |{'' if good else ' **wrong**'}", flush=True)
                    rows, bad = rows + 1, bad + (not good)
    print(f"\n{rows} cells, {bad} not as they should be")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())

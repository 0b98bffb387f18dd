"""Patches on disk: lossless pictures and mattes, and a table of where they go.

A folder holds `patch.nut`, of each patch a frame in two streams, and `frames.parquet`: frame, x, y, the checksum of the
picture's packet, and whatever per-frame values the writer was given. Pictures of 8 bits are MagicYUV, which is read
eight times as fast as FFV1 and is a third larger: the film's own samples where it is 4:2:0, else BGR. Deep ones are
HuffYUV with two bits more than the film's, or FFV1 with all 16 where that has more than 12. Mattes are PNG, which is
read in half of FFV1's time: whoever wants only these decodes only these. NUT is the container that holds both and finds
a frame by its time. Same patches, same bytes. It knows nothing of who made them.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dubbing.errors import MediaError, several
from dubbing.media.colour import Colour, display, layout_of, planes_of
from dubbing.media.planes import Planes
from dubbing.media.probe import local_url, refusal
from dubbing.records import Patch

__all__ = [
    "MOUTH",
    "PatchWriter",
    "composite",
    "join_patches",
    "mixed",
    "mouth_frames",
    "patch_frames",
    "patch_of",
    "read_patches",
]

MOUTH = "mouth"
"""The value of a patch, True or False, that says whether the mouth is new in it; without it, it is in all."""

_PICTURES = "patch.nut"
_TABLE = "frames.parquet"
_SCHEMA = b"dub.patch.3"
_SIZE = b"size"  # in the table's metadata: the patches' own size, where they are kept at half of it
_TRANSFER = b"transfer"  # where the pictures have 16 bits: whose code values they are, as `colour.display` takes it
_COLOUR = b"colour"  # where they are samples of 4:2:0: kr, kb and whether the range is full
_CRC = "crc"
_RATE = 25
_NUT: dict[str, Any] = {"format": "nut", "container_options": {"fflags": "+bitexact"}}
_FFV1 = {"level": "3", "slices": "4", "flags": "+bitexact", "slicecrc": "1"}
_HUFFYUV = {"pred": "plane", "flags": "+bitexact"}
_PNG = {"pred": "sub", "compression_level": "1", "flags": "+bitexact"}
_MAGICYUV = {"pred": "gradient", "slices": "1", "flags": "+bitexact"}


class PatchWriter:
    """Writes patches of one size into a folder. A context manager; nothing is complete before its end.

    width, height: pixels of every patch, both even; transfer: of patches that are deep, the film's (0: standard range,
    see `colour.display`), None for patches of 8 bits; depth: bits of the film's samples, where its patches are deep:
    they keep two more if that is at most 12, and else all; draft: keep them at half that size, which costs a quarter;
    they are read in their own size again, without the lost detail; colour: of a film whose pictures are
    `Picture.planar`, and whose patches are kept so; of others they are BGR.
    """

    def __init__(
        self, folder: Path | str, width: int, height: int, *, transfer: int | None = None, depth: int = 16,
        draft: bool = False, colour: Colour | None = None,
    ) -> None:  # fmt: skip
        if width < 2 or height < 2 or width % 2 or height % 2:
            raise ValueError(f"a patch must be even and at least 2x2, not {width}x{height}")
        self._folder = Path(folder)
        self._size = (width, height)
        self._transfer = transfer
        self._kept = (width // 2, height // 2) if draft else self._size
        self._columns: dict[str, list[Any]] = {"frame": [], "x": [], "y": []}
        self._sums: list[int] = []
        self._file = av.open(local_url(self._folder / _PICTURES), "w", **_NUT)
        self._bits = 12 if depth <= 10 else 14 if depth <= 12 else 16
        self._colour = None if draft or transfer is not None else colour
        if transfer is None:
            self._pictures = self._stream("magicyuv", "yuv420p" if self._colour else "gbrp", _MAGICYUV)
        elif self._bits < 16:
            self._pictures = self._stream("ffvhuff", f"gbrp{self._bits}le", _HUFFYUV)
        else:
            self._pictures = self._stream("ffv1", "gbrp16le", _FFV1)
        self._mattes = self._stream("png", "gray", _PNG)

    def _stream(self, codec: str, pix_fmt: str, options: dict[str, str]) -> Any:
        width, height = self._kept
        stream = self._file.add_stream(codec, rate=_RATE, width=width, height=height, pix_fmt=pix_fmt)
        stream.options = options
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = 1
        return stream

    def write(self, patch: Patch, **values: float | int | bool | str) -> Patch:
        """Add one patch; frames must increase, and every patch must name the same extra `values`. Returns it as it will
        be read."""
        height, width = patch.matte_HW.shape
        if (width, height) != self._size or patch.pixels.shape[:2] != (height, width):
            raise ValueError(f"patch of frame {patch.frame} is {width}x{height}, the writer's is {self._size}")
        if self._colour is not None and (patch.x % 2 or patch.y % 2):
            raise ValueError(f"patch of frame {patch.frame} begins at {patch.x}, {patch.y}, which must be even")
        row = {"frame": patch.frame, "x": patch.x, "y": patch.y, **values}
        frames = self._columns["frame"]
        if frames and patch.frame <= frames[-1]:
            raise ValueError(f"patch of frame {patch.frame} follows that of frame {frames[-1]}")
        if not frames:
            self._columns = {name: [] for name in row}
        if row.keys() != self._columns.keys():
            raise ValueError(f"patch of frame {patch.frame} has values {sorted(row)}, not {sorted(self._columns)}")
        for name, value in row.items():
            self._columns[name].append(value)
        if self._colour is not None:
            return self._write_planes(patch, self._colour)
        bgr, matte = patch.bgr_HWC, patch.matte_HW
        if self._transfer is not None:
            if patch.deep_HWC is None:
                raise ValueError(f"patch of frame {patch.frame} has 8 bits, and the writer's are deep")
            bgr = patch.deep_HWC
        if self._kept != self._size:
            bgr, matte = (cv2.resize(p, self._kept, interpolation=cv2.INTER_AREA) for p in (bgr, matte))
            bgr[matte == 0] = 0
        rounded = bgr.dtype == np.uint16 and self._bits < 16
        if rounded:
            bgr = cv2.multiply(bgr, ((1 << self._bits) - 1) / 65535, dtype=cv2.CV_16U)
        blue, green, red = cv2.split(bgr)
        self._keep((green, blue, red), matte)
        if self._kept == self._size and not rounded:
            return patch
        if rounded:
            bgr = _widened(bgr, self._bits)
        if self._kept != self._size:
            bgr, matte = _enlarged(bgr, matte, self._size)
        if bgr.dtype == np.uint8:
            return Patch(patch.frame, patch.x, patch.y, bgr, matte)
        return Patch(patch.frame, patch.x, patch.y, display(bgr, self._transfer or 0), matte, bgr)

    def _write_planes(self, patch: Patch, colour: Colour) -> Patch:
        planes = patch.pixels if isinstance(patch.pixels, Planes) else Planes.of_bgr(patch.bgr_HWC, colour)
        self._keep(planes.three, patch.matte_HW)
        return replace(patch, pixels=planes)

    def _keep(self, planes: Sequence[np.ndarray], matte: np.ndarray) -> None:
        """A frame in both streams."""
        picture, cover = av.VideoFrame(*self._kept, self._pictures.pix_fmt), av.VideoFrame(*self._kept, "gray")
        for frame, samples in ((picture, planes), (cover, (matte,))):
            for plane, sample_HW in zip(planes_of(frame), samples, strict=True):
                plane[:] = sample_HW
            frame.pts = len(self._columns["frame"]) - 1
        self._mux(self._pictures, picture)
        self._mux(self._mattes, cover)

    def _mux(self, stream: Any, frame: Any) -> None:
        for packet in stream.encode(frame):
            if stream is self._pictures:
                self._sums.append(zlib.crc32(packet))
            self._file.mux(packet)

    def __enter__(self) -> PatchWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            for stream in (self._pictures, self._mattes):
                self._mux(stream, None)
        self._file.close()
        if kind is None:
            types = {"frame": pa.int64(), "x": pa.int32(), "y": pa.int32()}
            arrays = {
                name: pa.array(column, type=types.get(name, pa.float32() if _real(column) else None))
                for name, column in self._columns.items()
            }
            arrays[_CRC] = pa.array(self._sums, type=pa.uint32())
            about = {} if self._kept == self._size else {_SIZE: "x".join(map(str, self._size)).encode()}
            if self._colour is not None:
                about[_COLOUR] = f"{self._colour.kr!r} {self._colour.kb!r} {self._colour.full:d}".encode()
            if self._transfer is not None:
                about[_TRANSFER] = str(self._transfer).encode()
            table = pa.table(arrays).replace_schema_metadata({b"schema": _SCHEMA, **about})
            pq.write_table(table, self._folder / _TABLE)


def patch_of(frame: int, x: int, y: int, pixels: np.ndarray | Planes, matte_HW: np.ndarray, transfer: int = 0) -> Patch:
    """A patch of pixels as `Picture.own_bgr` gives them: uint8, or float32 0..255 of a film with that transfer (see
    `colour.display`); or as `Picture.planes` does."""
    if isinstance(pixels, Planes) or pixels.dtype == np.uint8:
        return Patch(frame, x, y, pixels, matte_HW)
    deep = cv2.multiply(pixels, 257.0, dtype=cv2.CV_16U)
    return Patch(frame, x, y, display(deep, transfer), matte_HW, deep)


def join_patches(folders: Sequence[Path | str], out: Path | str) -> None:
    """Patches of one size from several folders, in order, as one folder: the bytes that one writer would have written.

    Raises MediaError where one is missing.
    """
    tables = [patch_frames(folder) for folder in folders]
    with av.open(local_url(Path(out) / _PICTURES), "w", **_NUT) as made:
        streams: list[Any] = []
        count = 0
        for folder, table in zip(folders, tables, strict=True):
            with _opened(folder) as source:
                given = source.streams.video
                if not streams:
                    streams = [made.add_stream_from_template(stream) for stream in given]
                    for stream in streams:
                        stream.time_base = Fraction(1, _RATE)
                for packet in source.demux(given):
                    if packet.size and packet.pts is not None:
                        number = count + round(packet.pts * packet.time_base * _RATE)
                        packet.stream, packet.time_base = streams[packet.stream.index], Fraction(1, _RATE)
                        packet.pts = packet.dts = number
                        packet.duration = 1
                        made.mux(packet)
            count += len(table)
    pq.write_table(pa.concat_tables(tables), Path(out) / _TABLE)


def patch_frames(folder: Path | str) -> pa.Table:
    """The table of a patch folder: frame int64, x and y int32, and the writer's values.

    Raises MediaError when it is missing."""
    try:
        with pq.ParquetFile(Path(folder) / _TABLE) as file:
            return file.read(use_threads=False)
    except (OSError, pa.ArrowInvalid) as e:
        raise MediaError(f"There is no patch in {folder} ({e}).") from e


def mouth_frames(folder: Path | str) -> pa.Table:
    """Of `patch_frames`, the rows whose mouth is new: not where in silence a head moves or an expression changes."""
    table = patch_frames(folder)
    return table.filter(table[MOUTH]) if MOUTH in table.column_names else table


def read_patches(
    folder: Path | str, first: int | None = None, last: int | None = None, every: int = 1, *, mattes: bool = False,
    own: bool = False,
) -> Iterator[Patch]:  # fmt: skip
    """The patches of a folder, in order, one at a time; first, last: only those of frames [first, last), without
    reading the others; every: only those whose frame it divides; mattes: their pictures are not decoded, and are black;
    own: of deep ones the picture of 8 bits is not made, and is black.

    Raises MediaError when they are incomplete.
    """
    table = patch_frames(folder)
    about = table.schema.metadata or {}
    whole, transfer = about.get(_SIZE), int(about.get(_TRANSFER, 0))
    colour = _colour(about.get(_COLOUR))
    columns = [table[name].to_pylist() for name in ("frame", "x", "y")]
    places: list[tuple[int, int, int]] = list(zip(*columns, strict=True))
    sums = table[_CRC].to_pylist()
    begin = 0 if first is None else bisect_left(places, (first,))
    end = len(places) if last is None else bisect_left(places, (last,))
    if begin >= end:
        return
    count = begin
    with _opened(folder) as container:
        pictures, covers = container.streams.video
        for stream in (pictures, covers):
            stream.codec_context.thread_count = 1
        covers.codec_context.options = {"err_detect": "crccheck+explode"}
        parts = 1 if mattes else 2
        held: list[Any] = []
        try:
            if begin:
                container.seek(int(Fraction(begin, _RATE) / pictures.time_base), stream=pictures)
            for packet in container.demux((covers,) if mattes else (pictures, covers)):
                if not packet.size or packet.pts is None:
                    continue
                number = round(packet.pts * packet.time_base * _RATE)
                if number < begin:
                    continue
                if number != count or number >= end:  # lost, or one too many
                    count += number >= end
                    break
                if places[number][0] % every == 0:
                    if packet.stream.index == pictures.index and zlib.crc32(packet) != sums[number]:
                        raise _Damaged
                    held += packet.decode()  # every picture is a key frame
                if packet.stream.index != covers.index:
                    continue
                count += 1
                if len(held) == parts:
                    frame, x, y = places[number]
                    if colour is not None and parts == 2:
                        planes, matte = Planes.of(planes_of(held[0]), colour), planes_of(held[1])[0].copy()
                        held.clear()
                        yield Patch(frame, x, y, planes, matte)
                    else:
                        bgr, matte = _picture(held)
                        held.clear()
                        if whole:
                            bgr, matte = _enlarged(bgr, matte, tuple(map(int, whole.split(b"x"))))
                        if bgr.dtype == np.uint8:
                            yield Patch(frame, x, y, bgr, matte)
                        else:
                            shown = np.zeros(bgr.shape, np.uint8) if own else display(bgr, transfer)
                            yield Patch(frame, x, y, shown, matte, bgr)
                if count == end and last is not None:
                    break
        except (av.error.FFmpegError, _Damaged) as e:
            raise MediaError(
                f"The patch in {folder} is damaged after {several(count, 'frame')}: remove it and run again."
            ) from e
        if count != end:
            raise MediaError(
                f"The patch in {folder} holds {several(count, 'picture')} for {several(len(places), 'place')}: "
                "remove it and run again."
            )


def _colour(told: bytes | None) -> Colour | None:
    """What a table says of its pictures' colour."""
    if told is None:
        return None
    kr, kb, full = told.decode().split()
    return Colour(float(kr), float(kb), full == "1")


class _Damaged(Exception):
    """A packet is not the one that was written."""


def _opened(folder: Path | str) -> Any:
    """The pictures of a folder, open. Raises MediaError."""
    path = Path(folder) / _PICTURES
    try:
        return av.open(local_url(path), format="nut", options={"protocol_whitelist": "file"})
    except (av.error.FFmpegError, OSError, ValueError) as e:
        raise refusal(path, e) from e


def _picture(frames: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """BGR, uint8 or uint16, black where it was not decoded, and matte of a patch's frames."""
    (matte,) = planes_of(frames[-1])
    if len(frames) == 1:
        return np.zeros((*matte.shape, 3), np.uint8), matte.copy()
    green, blue, red = planes_of(frames[0])
    bgr, layout = cv2.merge([blue, green, red]), layout_of(frames[0].format.name)
    assert layout is not None
    return _widened(bgr, layout.depth) if 8 < layout.depth < 16 else bgr, matte.copy()


def _widened(bgr_HWC: np.ndarray, bits: int) -> np.ndarray:
    """Samples of so many bits over all of 16, uint16."""
    return cv2.multiply(bgr_HWC, 65535 / ((1 << bits) - 1), dtype=cv2.CV_16U)


def _enlarged(bgr_HWC: np.ndarray, matte_HW: np.ndarray, size: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """A patch that was kept at half its size, in its size. Nothing shows where the matte was zero."""
    there_HW = (matte_HW > 0).astype(np.uint8)
    around = cv2.dilate(bgr_HWC, np.ones((3, 3), np.uint8))  # instead of black, which would bleed into the edge
    bgr = cv2.resize(np.where(there_HW[..., None] > 0, bgr_HWC, around), size)
    return bgr, cv2.resize(matte_HW, size) * cv2.resize(there_HW, size, interpolation=cv2.INTER_NEAREST)


def _real(column: list[Any]) -> bool:
    return any(isinstance(v, float | np.floating) for v in column)


def mixed(old: np.ndarray, new: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """Samples under others, all uint8 and of one shape, rounded once. matte: how much of the new ones is seen, 0..255.

    (t + 128 + (t + 128 >> 8)) >> 8 is t / 255 rounded, for every t up to 255 * 255.
    """
    total = np.multiply(new, matte, dtype=np.uint16)
    part = np.multiply(old, cv2.bitwise_not(matte), dtype=np.uint16)
    np.add(total, part, out=total)
    np.add(total, 128, out=total)
    np.right_shift(total, 8, out=part)
    np.add(total, part, out=total)
    np.right_shift(total, 8, out=total)
    return total.astype(np.uint8)


def composite(picture_HWC: np.ndarray, patch: Patch, x: int, y: int) -> np.ndarray:
    """A crop of the upright picture at (x, y) with a patch over it, uint8; for looking, not for delivery."""
    out = picture_HWC.copy()
    left, top, width, height = cv2.boundingRect(patch.matte_HW)
    left, top = left + patch.x - x, top + patch.y - y
    rows = slice(max(top, 0), min(top + height, len(out)))
    cols = slice(max(left, 0), min(left + width, out.shape[1]))
    if rows.start >= rows.stop or cols.start >= cols.stop:
        return out
    across, down = x - patch.x, y - patch.y
    inner = (slice(rows.start + down, rows.stop + down), slice(cols.start + across, cols.stop + across))
    new = patch.pixels.shown(*inner) if isinstance(patch.pixels, Planes) else patch.bgr_HWC[inner]
    out[rows, cols] = mixed(out[rows, cols], new, cv2.merge([patch.matte_HW[inner]] * 3))
    return out

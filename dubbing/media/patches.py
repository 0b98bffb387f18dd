"""Patches on disk: lossless FFV1 pictures (BGR and matte) and a table of where they go.

A folder holds `patch.mkv`, one frame a patch, and `frames.parquet`: frame, x, y and whatever
per-frame values the writer was given. Same patches, same bytes. It knows nothing of who made them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
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
from dubbing.media.colour import display, planes_of
from dubbing.media.probe import local_url, open_media
from dubbing.records import Patch

__all__ = [
    "MOUTH",
    "PatchWriter",
    "composite",
    "join_patches",
    "mouth_frames",
    "patch_frames",
    "patch_of",
    "read_patches",
]

MOUTH = "mouth"
"""The value of a patch, True or False, that says whether the mouth is new in it; without it, it is in all."""

_PICTURES = "patch.mkv"
_TABLE = "frames.parquet"
_SCHEMA = b"dub.patch.1"
_SIZE = b"size"  # in the table's metadata: the patches' own size, where they are kept at half of it
_TRANSFER = b"transfer"  # where the pictures have 16 bits: whose code values they are, as `colour.display` takes it
_RATE = 25


class PatchWriter:
    """Writes patches of one size into a folder. A context manager; nothing is complete before its end.

    width, height: pixels of every patch, both even; transfer: of patches that are deep, the film's (0: standard range,
    see `colour.display`), None for patches of 8 bits; draft: keep them at half that size, which costs a quarter; they
    are read in their own size again, without the lost detail.
    """

    def __init__(
        self, folder: Path | str, width: int, height: int, *, transfer: int | None = None, draft: bool = False
    ) -> None:
        if width < 2 or height < 2 or width % 2 or height % 2:
            raise ValueError(f"a patch must be even and at least 2x2, not {width}x{height}")
        self._folder = Path(folder)
        self._size = (width, height)
        self._transfer = transfer
        self._kept = (width // 2, height // 2) if draft else self._size
        self._columns: dict[str, list[Any]] = {"frame": [], "x": [], "y": []}
        self._file = av.open(
            local_url(self._folder / _PICTURES), "w", format="matroska", container_options={"fflags": "+bitexact"}
        )
        stream = self._file.add_stream(
            "ffv1",
            rate=_RATE,
            width=self._kept[0],
            height=self._kept[1],
            pix_fmt="bgra" if transfer is None else "gbrap16le",
        )
        stream.options = {"level": "3", "slices": "4", "flags": "+bitexact", "slicecrc": "1"}
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = 1
        self._stream = stream

    def write(self, patch: Patch, **values: float | int | bool | str) -> None:
        """Add one patch; frames must increase, and every patch must name the same extra `values`."""
        height, width = patch.matte_HW.shape
        if (width, height) != self._size or patch.bgr_HWC.shape != (height, width, 3):
            raise ValueError(f"patch of frame {patch.frame} is {width}x{height}, the writer's is {self._size}")
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
        bgr, matte = patch.bgr_HWC, patch.matte_HW
        if self._transfer is not None:
            if patch.deep_HWC is None:
                raise ValueError(f"patch of frame {patch.frame} has 8 bits, and the writer's are deep")
            bgr = patch.deep_HWC
        if self._kept != self._size:
            bgr, matte = (cv2.resize(p, self._kept, interpolation=cv2.INTER_AREA) for p in (bgr, matte))
            bgr[matte == 0] = 0
        if self._transfer is None:
            frame = av.VideoFrame.from_ndarray(cv2.merge([*cv2.split(bgr), matte]), "bgra")
        else:
            frame = av.VideoFrame(*self._kept, "gbrap16le")
            samples = (bgr[..., 1], bgr[..., 0], bgr[..., 2], matte.astype(np.uint16) * 257)
            for plane, sample_HW in zip(planes_of(frame), samples, strict=True):
                plane[:] = sample_HW
        frame.pts = len(self._columns["frame"]) - 1
        self._file.mux(self._stream.encode(frame))

    def __enter__(self) -> PatchWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._file.mux(self._stream.encode(None))
        self._file.close()
        if kind is None:
            types = {"frame": pa.int64(), "x": pa.int32(), "y": pa.int32()}
            arrays = {
                name: pa.array(column, type=types.get(name, pa.float32() if _real(column) else None))
                for name, column in self._columns.items()
            }
            about = {} if self._kept == self._size else {_SIZE: "x".join(map(str, self._size)).encode()}
            if self._transfer is not None:
                about[_TRANSFER] = str(self._transfer).encode()
            table = pa.table(arrays).replace_schema_metadata({b"schema": _SCHEMA, **about})
            pq.write_table(table, self._folder / _TABLE)


def patch_of(frame: int, x: int, y: int, bgr_HWC: np.ndarray, matte_HW: np.ndarray, transfer: int = 0) -> Patch:
    """A patch of pixels as `Picture.own_bgr` gives them: uint8, or float32 0..255 of a film with that transfer (see
    `colour.display`)."""
    if bgr_HWC.dtype == np.uint8:
        return Patch(frame, x, y, bgr_HWC, matte_HW)
    deep = np.rint(np.clip(bgr_HWC, 0, 255) * np.float32(257)).astype(np.uint16)
    return Patch(frame, x, y, display(deep, transfer), matte_HW, deep)


def join_patches(folders: Sequence[Path | str], out: Path | str) -> None:
    """Patches of one size from several folders, in order, as one folder: the bytes that one writer would have written.

    Raises MediaError where one is missing.
    """
    tables = [patch_frames(folder) for folder in folders]
    with av.open(local_url(Path(out) / _PICTURES), "w", format="matroska",
                 container_options={"fflags": "+bitexact"}) as made:  # fmt: skip
        stream, count = None, 0
        for folder in folders:
            with open_media(Path(folder) / _PICTURES) as source:
                given = source.streams.video[0]
                if stream is None:
                    stream = made.add_stream_from_template(given)
                    stream.time_base = Fraction(1, _RATE)
                for packet in source.demux(given):
                    if packet.size:
                        packet.stream, packet.time_base = stream, Fraction(1, _RATE)
                        packet.pts = packet.dts = count
                        packet.duration = 1
                        made.mux(packet)
                        count += 1
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
    folder: Path | str, first: int | None = None, last: int | None = None, every: int = 1
) -> Iterator[Patch]:
    """The patches of a folder, in order, one at a time; first, last: only those of frames [first, last), without
    reading the others; every: only those whose frame it divides.

    Raises MediaError when they are incomplete.
    """
    table = patch_frames(folder)
    about = table.schema.metadata or {}
    whole, transfer = about.get(_SIZE), int(about.get(_TRANSFER, 0))
    places = list(zip(*(table[name].to_pylist() for name in ("frame", "x", "y")), strict=True))
    begin = 0 if first is None else bisect_left(places, (first,))
    end = len(places) if last is None else bisect_left(places, (last,))
    if begin >= end:
        return
    count = 0
    with open_media(Path(folder) / _PICTURES) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        try:
            if begin:
                container.seek(int(Fraction(begin, _RATE) / stream.time_base), stream=stream)
            for packet in container.demux(stream):
                if not packet.size or packet.pts is None:
                    continue
                count = round(packet.pts * stream.time_base * _RATE)
                frame_number, x, y = places[count]
                count += 1
                if count > begin and frame_number % every == 0:
                    for frame in packet.decode():  # every picture is a key frame
                        bgr, matte = _picture(frame)
                        if whole:
                            bgr, matte = _enlarged(bgr, matte, tuple(map(int, whole.split(b"x"))))
                        if bgr.dtype == np.uint16:
                            yield Patch(frame_number, x, y, display(bgr, transfer), matte, bgr)
                        else:
                            yield Patch(frame_number, x, y, bgr, matte)
                if count >= end:
                    break
        except (av.error.FFmpegError, IndexError) as e:
            raise MediaError(
                f"The patch in {folder} is damaged after {several(count, 'frame')}: remove it and run again."
            ) from e
        if count < end or (last is None and next((p for p in container.demux(stream) if p.size), None) is not None):
            raise MediaError(
                f"The patch in {folder} holds {several(count, 'picture')} for {several(len(places), 'place')}: "
                "remove it and run again."
            )


def _picture(frame: Any) -> tuple[np.ndarray, np.ndarray]:
    """BGR, uint8 or uint16, and matte of a stored picture."""
    if frame.format.name != "gbrap16le":
        picture = frame.to_ndarray()
        return cv2.cvtColor(picture, cv2.COLOR_BGRA2BGR), cv2.extractChannel(picture, 3)
    green, blue, red, matte = planes_of(frame)
    return cv2.merge([blue, green, red]), (matte >> 8).astype(np.uint8)


def _enlarged(bgr_HWC: np.ndarray, matte_HW: np.ndarray, size: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """A patch that was kept at half its size, in its size. Nothing shows where the matte was zero."""
    there_HW = (matte_HW > 0).astype(np.uint8)
    around = cv2.dilate(bgr_HWC, np.ones((3, 3), np.uint8))  # instead of black, which would bleed into the edge
    bgr = cv2.resize(np.where(there_HW[..., None] > 0, bgr_HWC, around), size)
    return bgr, cv2.resize(matte_HW, size) * cv2.resize(there_HW, size, interpolation=cv2.INTER_NEAREST)


def _real(column: list[Any]) -> bool:
    return any(isinstance(v, float | np.floating) for v in column)


def composite(picture_HWC: np.ndarray, patch: Patch, x: int, y: int) -> np.ndarray:
    """A crop of the upright picture at (x, y) with a patch over it, uint8; for looking, not for delivery."""
    out = picture_HWC.copy()
    top, left = patch.y - y, patch.x - x
    height, width = patch.matte_HW.shape
    rows = slice(max(top, 0), min(top + height, len(out)))
    cols = slice(max(left, 0), min(left + width, out.shape[1]))
    inner = (slice(rows.start - top, rows.stop - top), slice(cols.start - left, cols.stop - left))
    alpha = patch.matte_HW[inner].astype(np.float32) / 255
    out[rows, cols] = cv2.blendLinear(
        np.ascontiguousarray(out[rows, cols]), np.ascontiguousarray(patch.bgr_HWC[inner]), 1 - alpha, alpha
    )
    return out

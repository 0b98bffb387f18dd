"""The files of a sequence, written: a picture in new samples, everything else of its file as it was; and new files.

Of DPX only the samples of a patch are written over, where they lie. In PNG, TIFF and OpenEXR the picture is packed
again without loss, and every other part of the file is kept: tags, profiles, attributes, further channels, layers. Of
OpenEXR only the samples that a patch has changed are new numbers, and each of the others keeps its bits. It knows no
sequence (`master_sequence`).
"""

from __future__ import annotations

import io
import struct
import tempfile
import zlib
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import numpy as np

from dubbing.clock import Timecode
from dubbing.errors import MediaError, UnsupportedMedia
from dubbing.media.colour import planes_of
from dubbing.media.numbered import NAMED, PACKED, dpx_codes, light_of, tiff_numbers, tiff_tags
from dubbing.media.prores import Box

__all__ = ["MOST_NAMED", "new_file", "rewritten", "writes_exr"]

_ENCODED = {
    ("dpx", "gbrp10le"): "gbrp10be", ("dpx", "gbrp12le"): "gbrp12be", ("tiff", "gbrp16le"): "rgb48le",
    ("tiff", "gbrap16le"): "rgba64le",
}  # fmt: skip
_LOSSLESS_EXR = {"NO_COMPRESSION", "RLE_COMPRESSION", "ZIPS_COMPRESSION", "ZIP_COMPRESSION", "PIZ_COMPRESSION"}
_OPTIONS = {
    "tiff": {"compression_algo": "deflate"}, "png": {"pred": "up"}, "exr": {"format": "half", "compression": "zip16"},
}  # fmt: skip
_UNDEFINED = 0xFFFFFFFF
MOST_NAMED = 100
"""Frames a second of which DPX names each: its timecode has two digits for them."""
_DPX_GENERIC, _DPX_HEADERS = 1664, 2048  # bytes of the first header, and of all
_DEFLATE = 8
_OF_THE_STRIPS = {259, 266, 273, 278, 279, 284, 317, 322, 323, 324, 325, 330, 34665, 34853}
"""TIFF's tags of where samples lie, and those that point at further places in the file."""


def writes_exr() -> bool:
    """Whether the library is there that writes OpenEXR (extra `exr`)."""
    return find_spec("OpenEXR") is not None


def rewritten(codec: str, data: bytes, was: Any, now: Any, parts: tuple[Box, ...], path: Path) -> bytes:
    """A picture's file with the samples of `now` where these are others than those of `was`.

    codec: FFmpeg's name; data: the file; was, now: planar frames of it, before and after patches; parts: rectangles (x,
    y, width, height) outside which they are equal; path: for messages. Raises MediaError where its samples are not
    where they are looked for.
    """
    if codec == "exr":
        return _exr(data, was, now, parts, path)
    if codec == "dpx":
        return _dpx(data, was, now, parts, path)
    if codec == "png":
        return _png(data, encoded(codec, now))
    return _tiff(data, now)


def new_file(
    codec: str, frame: Any, code: Timecode | None, rate: Fraction, transfer: int | None, primaries: int | None,
    number: int,
) -> bytes:  # fmt: skip
    """A planar frame as a file of its own. code: its timecode, which DPX names, with the rate and, where it has a
    number for them, transfer and primaries of ITU-T H.273; number: of the picture in its sequence."""
    data = encoded(codec, frame)
    if codec != "dpx":
        return data
    order, at = dpx_codes(data)
    made = bytearray(data[:at] + bytes(_DPX_HEADERS - at) + data[at:])  # the film and television headers are not there
    for place in (4, 808):
        struct.pack_into(order + "I", made, place, _DPX_HEADERS)
    struct.pack_into(order + "III", made, 16, len(made), _DPX_GENERIC, _DPX_HEADERS - _DPX_GENERIC)
    digits = _UNDEFINED if code is None or rate > MOST_NAMED else int("".join(c for c in str(code) if c.isdigit()), 16)
    struct.pack_into(order + "BB", made, 801, NAMED.get(transfer or 0, 0), NAMED.get(primaries or 0, 0))
    struct.pack_into(order + "I", made, 1712, number)
    struct.pack_into(order + "f", made, 1724, float(rate))
    struct.pack_into(order + "II", made, 1920, digits, 0)
    struct.pack_into(order + "f", made, 1940, float(rate))
    return bytes(made)


def encoded(codec: str, frame: Any) -> bytes:
    """A planar frame as FFmpeg's encoder of one picture writes it."""
    if codec == "exr":
        frame = _in_light(frame)
    name = _ENCODED.get((codec, frame.format.name)) or next(
        (packed for packed, planes in PACKED.items() if planes == frame.format.name), frame.format.name
    )
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, name
    encoder.time_base = Fraction(1, 25)
    encoder.thread_count = 1
    encoder.options = _OPTIONS.get(codec, {})
    given = packed(frame, name)
    given.pts, given.time_base = 0, encoder.time_base
    return b"".join(bytes(packet) for packet in (*encoder.encode(given), *encoder.encode(None)))


def _in_light(frame: Any) -> Any:
    """A frame of 16-bit PQ as floats of linear light."""
    made: Any = av.VideoFrame(
        frame.width, frame.height, "gbrapf32le" if frame.format.name == "gbrap16le" else "gbrpf32le"
    )
    for n, (there, here) in enumerate(zip(made.planes, planes_of(frame), strict=True)):
        rows = np.frombuffer(there, np.float32).reshape(frame.height, there.line_size // 4)
        rows[:, : frame.width] = here / np.float32(65535) if n == 3 else light_of(here)
    return made


def packed(frame: Any, name: str) -> Any:
    """A planar frame in one of FFmpeg's packed or big-endian formats, sample by sample."""
    if frame.format.name == name:
        return frame
    made: Any = av.VideoFrame(frame.width, frame.height, name)
    planes = planes_of(frame)
    bits8 = frame.format.name in ("gbrp", "gbrap")
    kind: np.dtype[Any] = np.dtype("u1" if bits8 else ">u2" if name.endswith("be") else "<u2")
    if name in PACKED:
        green, blue, red, *alpha = planes
        planes = [np.stack([red, green, blue, *alpha], -1).reshape(frame.height, -1)]
    for there, here in zip(made.planes, planes, strict=True):
        rows = np.frombuffer(there, kind).reshape(frame.height, there.line_size // kind.itemsize)
        rows[:, : here.shape[1]] = here
    return made


def _cuts(parts: tuple[Box, ...], frame: Any) -> list[tuple[slice, slice]]:
    """Rectangles as slices of rows and columns inside a frame."""
    found = []
    for x, y, width, height in parts:
        rows, columns = slice(max(0, y), min(frame.height, y + height)), slice(max(0, x), min(frame.width, x + width))
        if rows.start < rows.stop and columns.start < columns.stop:
            found.append((rows, columns))
    return found


def _elsewhere(path: Path) -> MediaError:
    return MediaError(f"{path} has its samples elsewhere than its header says; write it again from another program.")


def _dpx(data: bytes, was: Any, now: Any, parts: tuple[Box, ...], path: Path) -> bytes:
    """Samples written over where they lie; the rest of the file, header and user data, is as it was."""
    order, at = dpx_codes(data)
    channels, depth = {50: 3, 51: 4}[data[800]], data[803]
    made = bytearray(data)
    width, height = was.width, was.height
    per = 1 if depth == 10 else channels
    kind = np.dtype({8: "u1", 10: order + "u4"}.get(depth, order + "u2"))
    row = -(-width * per * kind.itemsize // 4) * 4 if depth == 8 else width * per * kind.itemsize
    lines = np.frombuffer(made, np.uint8, row * height, at).reshape(height, row)
    samples = lines[:, : width * per * kind.itemsize].view(kind).reshape(height, width, per)
    for cut in _cuts(parts, was):
        for frame, writes in ((was, False), (now, True)):
            green, blue, red, *alpha = (plane[cut].astype(np.uint32) for plane in planes_of(frame))
            if depth == 10:
                words = (red << 22 | green << 12 | blue << 2)[..., None]
                rest = samples[cut] & 3
            else:
                shift = 4 if depth == 12 else 0
                words, rest = np.stack([red, green, blue, *alpha], -1) << shift, samples[cut] & ((1 << shift) - 1)
            if writes:
                samples[cut] = words | rest
            elif (words != samples[cut] - rest).any():
                raise _elsewhere(path)
    return bytes(made)


def _png(data: bytes, other: bytes) -> bytes:
    """The chunks of one file with the picture of another."""
    made, placed = [data[:8]], False
    picture = b"".join(chunk for name, chunk in _chunks(other) if name == b"IDAT")
    for name, chunk in _chunks(data):
        if name == b"IHDR":
            made.append(next(one for kind, one in _chunks(other) if kind == b"IHDR"))
        elif name != b"IDAT":
            made.append(chunk)
        elif not placed:
            made.append(picture)
            placed = True
    return b"".join(made)


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """A PNG file's chunks in order, by name, each whole."""
    at, found = 8, []
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        found.append((data[at + 4 : at + 8], data[at : at + 12 + length]))
        at += 12 + length
    return found


def _tiff(data: bytes, now: Any) -> bytes:
    """A TIFF file with every tag of another's first picture but those of where samples lie: one strip, deflated unless
    the other's lie open."""
    order, tags = tiff_tags(data)
    green, blue, red, *alpha = planes_of(now)
    kind = np.dtype(np.uint8 if green.dtype == np.uint8 else order + "u2")
    pixels = np.stack([red, green, blue, *alpha], -1).astype(kind).tobytes()
    plain = tiff_numbers(order, tags[259])[0] == 1 if 259 in tags else True
    strip = pixels if plain else zlib.compress(pixels, 6)
    kept = {tag: value for tag, value in tags.items() if tag not in _OF_THE_STRIPS}
    own = {259: 1 if plain else _DEFLATE, 273: 8, 278: now.height, 279: len(strip), 284: 1}
    kept |= {tag: (4, 1, struct.pack(order + "I", value)) for tag, value in own.items()}
    for tag in (259, 284):
        kept[tag] = (3, 1, struct.pack(order + "H", own[tag]))
    table = 8 + len(strip) + len(strip) % 2
    further = table + 2 + 12 * len(kept) + 4
    out, values = io.BytesIO(), io.BytesIO()
    out.write((b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", table))
    out.write(strip + b"\0" * (len(strip) % 2) + struct.pack(order + "H", len(kept)))
    for tag, (sort, count, value) in sorted(kept.items()):
        out.write(struct.pack(order + "HHI", tag, sort, count))
        if len(value) <= 4:
            out.write(value.ljust(4, b"\0"))
        else:
            out.write(struct.pack(order + "I", further + values.tell()))
            values.write(value + b"\0" * (len(value) % 2))
    return out.getvalue() + b"\0" * 4 + values.getvalue()


def _exr(data: bytes, was: Any, now: Any, parts: tuple[Box, ...], path: Path) -> bytes:
    """Red, green and blue in linear light where the PQ code of a sample is another; all attributes, channels and parts
    kept. What was compressed with loss becomes ZIP, so that nothing else changes."""
    import OpenEXR

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "was.exr", Path(folder) / "now.exr"
        source.write_bytes(data)
        file = OpenEXR.File(str(source), separate_channels=True)
        header, channels = file.parts[0].header, file.parts[0].channels
        if not {"R", "G", "B"} <= channels.keys():
            raise UnsupportedMedia(
                f"{path} has no channels R, G and B in its first part; give a sequence that has them."
            )
        corner = [int(a - b) for a, b in zip(header["dataWindow"][0], header["displayWindow"][0], strict=True)]
        for name, before, after in zip("GBR", planes_of(was), planes_of(now), strict=False):
            pixels = channels[name].pixels
            for rows, columns in _cuts(parts, was):
                old, new = before[rows, columns], after[rows, columns]
                top, left = rows.start - corner[1], columns.start - corner[0]
                y, x = np.nonzero(old != new)
                inside = (y + top >= 0) & (x + left >= 0) & (y + top < pixels.shape[0]) & (x + left < pixels.shape[1])
                y, x = y[inside], x[inside]
                pixels[y + top, x + left] = light_of(new[y, x]).astype(pixels.dtype)
        if header["compression"].name not in _LOSSLESS_EXR:
            header["compression"] = OpenEXR.ZIP_COMPRESSION
        file.write(str(target))
        return target.read_bytes()

"""What the files of a sequence say in their headers, and its pictures as planes of whole numbers.

Pictures are planar RGB here, like those of any film: packed samples are sorted into planes, and the half and single
floats of OpenEXR, which hold linear light, are seen as 16-bit PQ with 1.0 at diffuse white (203 nits, ITU-R BT.2408):
finer than half floats wherever a face is lit, and shown to people and networks as any HDR film. What is written back
into such files is for `numbered_files`.

Sources: SMPTE ST 268 (DPX), the OpenEXR file layout and its standard attributes, SMPTE ST 12-1 (timecode), TIFF 6.0,
the PNG specification.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np

from dubbing.errors import MediaError, UnsupportedMedia, several
from dubbing.inputs import not_a_file
from dubbing.media.colour import WHITE_NITS, planes_of, pq_nits, pq_value
from dubbing.sequences import Sequence, find

__all__ = [
    "CONTAINER", "NAMED", "PACKED", "Header", "check_sequence", "dpx_codes", "header_of", "light_of", "planar",
    "planar_name", "start_of", "tiff_numbers", "tiff_tags",
]  # fmt: skip

CONTAINER = "image2"
"""FFmpeg's name of a numbered sequence as a container."""
PACKED = {
    "rgb24": "gbrp", "rgba": "gbrap", "rgb48be": "gbrp16le", "rgb48le": "gbrp16le", "rgba64be": "gbrap16le",
    "rgba64le": "gbrap16le",
}  # fmt: skip
"""FFmpeg's packed formats, and the planar ones that hold the same samples."""
_FLOATS = {"gbrpf16le": "gbrp16le", "gbrapf16le": "gbrap16le", "gbrpf32le": "gbrp16le", "gbrapf32le": "gbrap16le"}
NAMED = {1: 6}
"""Transfers and primaries of ITU-T H.273 that DPX can name, and its numbers of them."""
_DPX_TRANSFERS = {2: 8, 5: 1, 6: 1}  # of SMPTE ST 268 to ITU-T H.273
_DPX_PRIMARIES = {5: 1, 6: 1}
_CHROMATICITIES = {
    1: (0.64, 0.33, 0.30, 0.60, 0.15, 0.06), 9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}  # fmt: skip
_MOST_HEADER = 1 << 20
_LINES = {0: 1, 1: 1, 2: 1, 3: 16, 4: 32, 5: 16, 6: 32, 7: 32, 8: 32, 9: 256}  # of a chunk, by EXR's compressions


@dataclass(frozen=True)
class Header:
    """What one picture's file says. kind: its samples, in words; needs: bytes that the file has to have; start_tc:
    timecode, None where there is none; rate: frames a second, None where it does not say; transfer, primaries: of
    ITU-T H.273."""

    width: int
    height: int
    kind: str
    needs: int
    start_tc: str | None = None
    rate: float | None = None
    transfer: int | None = None
    primaries: int | None = None


def header_of(path: Path, codec: str) -> Header:
    """The header of a file. codec: FFmpeg's name. Raises MediaError where it is damaged or no such file,
    UnsupportedMedia where its pictures lie in a way that is not read."""
    if kind := not_a_file(path):
        raise MediaError(f"{path} is {kind}, not a picture.")
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            data = file.read(_MOST_HEADER)
        found = {"dpx": _dpx, "exr": _exr, "tiff": _tiff, "png": _png}[codec](path, data, size)
    except OSError as e:
        raise MediaError(f"{path} cannot be read: {e.strerror}.") from e
    except (struct.error, LookupError, ValueError, OverflowError) as e:
        raise MediaError(f"{path} is truncated or no {codec.upper()} file; copy it again.") from e
    if found.needs > size:
        raise MediaError(
            f"{path} is truncated: it holds {size:,} bytes of the {found.needs:,} that its header promises; copy it "
            "again."
        )
    return found


def dpx_codes(data: bytes) -> tuple[str, int]:
    """The byte order of a DPX file for `struct` and where its picture begins. Raises ValueError: it is none."""
    if data[:4] not in (b"SDPX", b"XPDS"):
        raise ValueError("no DPX")
    order = ">" if data[:4] == b"SDPX" else "<"
    (at,) = struct.unpack_from(order + "I", data, 808)
    return order, at if 0 < at < 1 << 31 else struct.unpack_from(order + "I", data, 4)[0]


def _dpx(path: Path, data: bytes, size: int) -> Header:
    order, at = dpx_codes(data)
    direction, elements, width, height = struct.unpack_from(order + "HHII", data, 768)
    what, transfer, primaries, depth, packing, coded = struct.unpack_from(order + "BBBBHH", data, 800)
    channels = {50: 3, 51: 4}.get(what)
    known = channels is not None and (direction, elements, coded) == (0, 1, 0)
    if (
        not known
        or (depth, packing) not in ((8, 0), (8, 1), (10, 1), (12, 1), (16, 0), (16, 1))
        or (channels == 4 and depth in (10, 12))
    ):
        raise UnsupportedMedia(
            f"{path} is DPX of the kind {what} with {depth} bits, packing {packing}, encoding {coded}; sequences are "
            "RGB of 8, 10 (filled, method A), 12 (filled, method A) or 16 bits, or RGBA of 8 or 16: convert it."
        )
    assert channels is not None
    row = width * channels if depth == 8 else width * 4 if depth == 10 else width * channels * 2
    row = -(-row // 4) * 4 if depth == 8 else row
    code, rates = 0xFFFFFFFF, [0.0]
    if at >= 2048:  # the film and television headers are there
        (code,) = struct.unpack_from(order + "I", data, 1920)
        rates = [struct.unpack_from(order + "f", data, place)[0] for place in (1940, 1724)]
    return Header(
        width, height, f"{depth} bits {'RGB' if channels == 3 else 'RGBA'}", at + row * height, _bcd(code),
        next((rate for rate in rates if 1 <= rate <= 1000), None), _DPX_TRANSFERS.get(transfer),
        _DPX_PRIMARIES.get(primaries),
    )  # fmt: skip


def _bcd(code: int) -> str | None:
    """Timecode of eight digits, HHMMSSFF; None where they are none."""
    text = f"{code:08x}"
    if not text.isdigit() or int(text[:2]) > 23 or int(text[2:4]) > 59 or int(text[4:6]) > 59:
        return None
    return ":".join(text[n : n + 2] for n in range(0, 8, 2))


def exr_attributes(data: bytes) -> tuple[dict[str, bytes], int]:
    """The attributes of an OpenEXR file's first part as they lie there, and where they end."""
    magic, version = struct.unpack_from("<II", data)
    if magic != 20000630:
        raise ValueError("no OpenEXR")
    at, found = 8, {"": struct.pack("<I", version)}
    while data[at]:
        name, _, rest = data[at : at + 256].partition(b"\0")
        kind = rest.partition(b"\0")[0]
        at += len(name) + len(kind) + 2
        (length,) = struct.unpack_from("<I", data, at)
        found[name.decode("latin-1")] = data[at + 4 : at + 4 + length]
        at += 4 + length
    return found, at + 1


def _exr(path: Path, data: bytes, size: int) -> Header:
    told, at = exr_attributes(data)
    x0, y0, x1, y1 = struct.unpack("<4i", told["displayWindow"] if "displayWindow" in told else b"")
    _, top, _, bottom = struct.unpack("<4i", told["dataWindow"] if "dataWindow" in told else b"")
    (version,) = struct.unpack("<I", told[""])
    needs = 0
    if not version & 0x1A00:  # tiles, deep data, several parts: these have other tables
        chunks = -(-(bottom - top + 1) // _LINES.get(told["compression"][0], 16))
        table = data[at : at + 8 * chunks]
        last = max(struct.unpack(f"<{chunks}Q", table))
        with open(path, "rb") as file:
            file.seek(last + 4)
            tail = file.read(4)
        needs = last + 8 + (struct.unpack("<I", tail)[0] if len(tail) == 4 else 0)
    code = struct.unpack("<I", told["timeCode"][:4])[0] if "timeCode" in told else None
    rate = struct.unpack("<iI", told["framesPerSecond"]) if "framesPerSecond" in told else (0, 1)
    white = struct.unpack("<8f", told["chromaticities"])[:6] if "chromaticities" in told else _CHROMATICITIES[1]
    primaries = next((n for n, xy in _CHROMATICITIES.items() if np.allclose(xy, white, atol=2e-3)), None)
    return Header(
        x1 - x0 + 1, y1 - y0 + 1, "OpenEXR", needs, None if code is None else _tv60(code),
        rate[0] / rate[1] if rate[1] and rate[0] > 0 else None, 8, primaries,
    )  # fmt: skip


def _tv60(code: int) -> str | None:
    """Timecode as OpenEXR packs it."""
    found = _bcd(code & 0x3F7F7F3F)
    return found if found is None or not code & 0x40 else f"{found[:8]};{found[9:]}"


def _png(path: Path, data: bytes, size: int) -> Header:
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError("no PNG")
    width, height, depth, kind = struct.unpack_from(">IIBB", data, 16)
    with open(path, "rb") as file:
        file.seek(max(0, size - 12))
        whole = file.read(12)[4:8] == b"IEND"
    names = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}
    return Header(width, height, f"{depth} bits {names.get(kind, 'of an unknown kind')}", 0 if whole else size + 1)


def tiff_tags(data: bytes | mmap.mmap) -> tuple[str, dict[int, tuple[int, int, bytes]]]:
    """The byte order of a TIFF file for `struct`, and its first picture's tags: type, count and value's bytes.

    Raises ValueError: it is none, or its tags lie beyond `data`."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        raise ValueError("no TIFF")
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    found = {}
    for n in range(count):
        tag, kind, many = struct.unpack_from(order + "HHI", data, at + 2 + 12 * n)
        length = many * {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}.get(kind, 0)
        place = at + 10 + 12 * n
        if length > 4:
            (place,) = struct.unpack_from(order + "I", data, place)
        if place + length > len(data):
            raise ValueError("tags beyond the end")
        found[tag] = kind, many, data[place : place + length]
    return order, found


def tiff_numbers(order: str, tag: tuple[int, int, bytes]) -> tuple[int, ...]:
    """The values of a tag of whole numbers."""
    kind, many, data = tag
    return struct.unpack(order + {1: "B", 3: "H", 4: "I"}[kind] * many, data)


def _tiff(path: Path, data: bytes, size: int) -> Header:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        order, tags = tiff_tags(whole)  # which may lie at the end
    numbers = {tag: tiff_numbers(order, tags[tag]) for tag in (256, 257, 258, 273, 279, 277) if tag in tags}
    needs = max(map(sum, zip(numbers[273], numbers[279], strict=True)), default=0) if 273 in numbers else 0
    return Header(
        numbers[256][0], numbers[257][0], f"{numbers[258][0]} bits, {several(numbers[277][0], 'channel')}", needs
    )


def start_of(sequence: Sequence) -> Header:
    """The header of the first picture, as it holds for all: a timecode that stands still from there on is none, and
    what the sequence's own name says comes first. Raises as `header_of`."""
    stat = sequence.file(0).stat()
    return _start_of(sequence, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _start_of(sequence: Sequence, mtime_ns: int, size: int) -> Header:
    first = header_of(sequence.file(0), sequence.codec)
    code = first.start_tc
    if code is not None and sequence.count > 1 and header_of(sequence.file(1), sequence.codec).start_tc == code:
        code = None
    rate = first.rate if sequence.rate is None else float(sequence.rate)
    return Header(
        first.width, first.height, first.kind, first.needs, code, rate,
        sequence.transfer if sequence.transfer is not None else first.transfer,
        sequence.primaries if sequence.primaries is not None else first.primaries,
    )  # fmt: skip


def check_sequence(path: Path | str) -> bool:
    """Look at every header of a sequence; False where a path names none. Raises MediaError: a picture is missing,
    truncated, or of another size or kind than the first, or nobody says the frame rate."""
    sequence = find(path)
    if sequence is None:
        return False
    first = start_of(sequence)
    name = sequence.folder / sequence.pattern
    if first.rate is None:
        raise MediaError(
            f"{name} does not say its frame rate; write `rate: 24` (or 25, 24000/1001, ...) into its title, or give "
            f"{name}#rate=24 where a command takes a film."
        )
    for file in sequence.files:
        one = header_of(file, sequence.codec)
        if (one.width, one.height, one.kind) != (first.width, first.height, first.kind):
            raise MediaError(
                f"{file} is {one.width}x{one.height}, {one.kind}, and the sequence begins with {first.width}x"
                f"{first.height}, {first.kind}; a film keeps one picture size and format."
            )
    return True


def planar_name(pix_fmt: str) -> str:
    """The format in which pictures of FFmpeg's format are worked on."""
    return PACKED.get(pix_fmt) or _FLOATS.get(pix_fmt, pix_fmt)


def planar(frame: Any) -> Any:
    """A decoded picture of a sequence in planes: the same samples, or of floats their PQ codes."""
    name = frame.format.name
    wanted = planar_name(name)
    if wanted == name:
        return frame
    made = av.VideoFrame(frame.width, frame.height, wanted)
    if name in PACKED:
        kind: np.dtype[Any] = np.dtype("u1" if name in ("rgb24", "rgba") else ">u2" if name.endswith("be") else "<u2")
        rows = np.frombuffer(frame.planes[0], kind).reshape(frame.height, frame.planes[0].line_size // kind.itemsize)
        channels = 4 if "a" in name.removesuffix("be") else 3
        samples = rows[:, : frame.width * channels].reshape(frame.height, frame.width, channels)
        parts = [samples[..., c] for c in (1, 2, 0, 3)[:channels]]
    else:
        parts = [_codes_of(values, alpha=n == 3) for n, values in enumerate(floats_of(frame))]
    for there, part in zip(planes_of(made), parts, strict=True):
        there[:] = part
    made.pts = frame.pts
    if frame.time_base is not None:
        made.time_base = frame.time_base
    return made


def floats_of(frame: Any) -> list[np.ndarray]:
    """The planes of a frame of floats, float16 or float32 (H, W): green, blue, red, alpha."""
    kind = np.dtype(np.float16 if "f16" in frame.format.name else np.float32)
    rows = [np.frombuffer(p, kind).reshape(p.height, p.line_size // kind.itemsize) for p in frame.planes]
    return [r[:, : frame.width] for r in rows]


def _codes_of(values_HW: np.ndarray, alpha: bool) -> np.ndarray:
    with np.errstate(over="ignore"):
        halves = values_HW.astype(np.float16).view(np.uint16)
    return np.take(_alpha_codes() if alpha else _light_codes(), halves)


@cache
def _light_codes() -> np.ndarray:
    """The 16-bit PQ code of each half float, by its bits: 1.0 is diffuse white (SMPTE ST 2084)."""
    light = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float64)
    return np.rint(65535 * pq_value(np.nan_to_num(light, nan=0.0, posinf=1e5, neginf=0.0) * WHITE_NITS)).astype(
        np.uint16
    )


@cache
def _alpha_codes() -> np.ndarray:
    part = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float64)
    return np.rint(65535 * np.clip(np.nan_to_num(part), 0, 1)).astype(np.uint16)


def light_of(codes: np.ndarray) -> np.ndarray:
    """Linear light, float32, of 16-bit PQ codes: the inverse of what `planar` does."""
    return np.take(_lights(), codes)


@cache
def _lights() -> np.ndarray:
    return (pq_nits(np.arange(65536) / 65535) / WHITE_NITS).astype(np.float32)

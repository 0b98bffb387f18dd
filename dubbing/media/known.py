"""Which files are read and what becomes of them, asked of the code that decides it: for `dub formats`.

Each answer is what `delivery` says of a made-up file of that kind, or is a table by which another module decides. Opens
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import numpy as np

from dubbing.errors import UnsupportedMedia
from dubbing.master_choice import SEQUENCES, PictureCodec
from dubbing.media.asked import COPIED_IN_GROUPS, FFMPEG, shown_formats
from dubbing.media.colour import HDR
from dubbing.media.containers import FURTHER_PICTURES, LOSSLESS, LOSSY, SAME_FAMILY, SUBTITLES, containers_of
from dubbing.media.delivery import delivery
from dubbing.media.encoders import ENCODERS, PROFILES, Encoder
from dubbing.media.fields import Carriage
from dubbing.media.photo import LEAST_PX, MOST_BLOCKS, READ, Photograph, film_of
from dubbing.media.probe import LISTS, READERS, AudioInfo, MediaInfo, OtherInfo

__all__ = ["Known", "known_formats"]

_MP4, _MKV = READERS["films"][:2]
_NAMES = {"mp4": "mp4", "mov": "mov", "matroska": "Matroska"}
_WORDS = {
    _MP4: "mp4, m4v, 3gp", _MKV: "Matroska", "mpeg": "MPEG program stream", "mpegts": "MPEG transport stream",
    "mpegvideo": "bare MPEG-1, MPEG-2", "flv": "Flash (flv)", "asf": "WMV (asf)", "h264": "bare H.264",
    "hevc": "bare HEVC", "m4v": "bare MPEG-4", "av1": "bare AV1", "obu": "bare AV1 (obu)", "mjpeg": "bare Motion JPEG",
    "vc1": "bare VC-1", "dnxhd": "bare DNxHD", "yuv4mpegpipe": "YUV4MPEG2 (y4m)", "wv": "WavPack (wv)",
}  # fmt: skip


_IN_HEADERS = {
    "dpx": "a timecode in each header",
    "tiff": "TIFF has no place for a timecode", "png": "PNG has no place for a timecode",
    "exr": "all attributes kept, timecode too; of a sequence of OpenEXR only",
}  # fmt: skip


@dataclass(frozen=True)
class Known:
    """One kind of file, or of what is in one. part: what it is a kind of (`picture`, `sound codec`); name: its own;
    supported: whether it is taken; what: what becomes of it, or why it is refused; todo: what to do where it is
    refused, else empty."""

    part: str
    name: str
    supported: bool
    what: str
    todo: str = ""


def known_formats() -> tuple[Known, ...]:
    """Everything, part by part; names of which the same is to be said are in one."""
    found: dict[Known, list[str]] = {}
    for one in (*_containers(), *_codecs(), *_pictures(), *_sounds(), *_others(), *_stills(), *_masters()):
        found.setdefault(replace(one, name=""), []).append(one.name)
    return tuple(replace(one, name=", ".join(names)) for one, names in found.items())


def _film(**changes: Any) -> MediaInfo:
    """A film as most are: mp4, H.264, 8 bits, progressive, 25 a second; with other fields of its picture."""
    film = film_of(Path("FILM.mp4"), Photograph(np.zeros((1080, 1920, 3), np.uint8), ()), Fraction(25), 100)
    assert film.video is not None
    return replace(film, video=replace(film.video, **changes))


def _sound(codec: str = "flac", container: str = "flac", kind: str = "s16") -> MediaInfo:
    track = AudioInfo(0, codec, 48_000, 2, "stereo", kind, 16 if kind == "s16" else 32, None)
    return replace(_film(), path=Path("DUB"), container=container, video=None, audio=(track,))


def _asked(part: str, name: str, film: MediaInfo, well: str, sound: MediaInfo | None = None) -> Known:
    """What `delivery` says of a film. well: what becomes of it where nothing is to be told."""
    try:
        told = delivery(film, sound or _sound()).notices
    except UnsupportedMedia as e:
        why, _, todo = _bare(str(e), film).rpartition(": ")
        return Known(part, name, False, f"refused: it {why}", todo.rstrip("."))
    return Known(part, name, True, "; ".join(_bare(note, film) for note in told) or well)


def _of_fields(name: str, film: MediaInfo, found: Carriage) -> Known:
    """What is said of a film that is marked as interlaced, by what its fields hold."""
    try:
        return Known("picture", name, True, _bare(found.said(film.path, Fraction(25)), film))
    except UnsupportedMedia as e:
        _, _, todo = str(e).partition(": ")
        return Known("picture", name, False, "refused: its fields are no whole pictures", todo.rstrip("."))


def _bare(text: str, film: MediaInfo) -> str:
    """A sentence about a file without its name and its full stop."""
    text = re.sub(r"^DUB \((\w+)\)", r"\1", text)  # which sound it is, it says by its codec
    for name in (str(film.path), film.path.name, "DUB"):
        text = text.removeprefix(f"{name}: ").removeprefix(f"{name} ")
    return text.removesuffix(".")


def _containers() -> Iterator[Known]:
    for reader in READERS["films"]:
        name, suffix = _WORDS.get(reader, reader), reader.partition(",")[0]
        film = replace(_film(), container=reader, brand="isom" if reader == _MP4 else "", path=Path(f"FILM.{suffix}"))
        if reader == _MP4:
            film = replace(film, path=Path("FILM.mp4"))
        if reader == _MKV:
            film = _in_matroska(film)
        extension = delivery(film, _sound()).extension
        yield Known("container", name, True, f"the master is {extension}")
    prores = replace(_film(codec="prores", tag="apch", pix_fmt="yuv422p10le"), container="mxf", path=Path("FILM.mxf"))
    yield Known("container", "mxf with ProRes or DNxHR", True, f"the master is {delivery(prores, _sound()).extension}")
    for codec in SEQUENCES:
        what = "the master is one too, in which files without a patch are the source's own"
        light = ", linear light seen as PQ" if codec == "exr" else ""
        said = "" if codec in ("dpx", "exr") else "; `rate` says how many a second"
        yield Known("container", f"sequence of {ENCODERS[codec].shown}", True, what + light + said)
    quicktime = replace(_film(), brand="qt  ", path=Path("FILM.mov"))
    yield Known("container", "mov", True, f"the master is {delivery(quicktime, _sound()).extension}")
    for lists in sorted({name.removeprefix("a ").removeprefix("an ") for _, name in LISTS}):
        yield Known("container", lists, False, "refused: it names other files", "give the film or sound as one file")


def _in_matroska(film: MediaInfo) -> MediaInfo:
    assert film.video is not None
    video = replace(film.video, time_base=Fraction(1, 1000))
    return replace(film, container=_MKV, brand="", path=Path("FILM.mkv"), video=video)


def _codecs() -> Iterator[Known]:
    for codec, encoder in ENCODERS.items():
        if not encoder.as_source:
            continue
        film = _film(codec=codec, pix_fmt=_usual(encoder), profile="DNXHR HQ" if codec == "dnxhd" else "")
        again = "pictures that do not change are copied, the others encoded" if encoder.intra else "encoded once more"
        if codec in COPIED_IN_GROUPS:
            again += ", or only groups of pictures that change (untouched: copy)"
        note = "" if encoder.name == "libx264" else f" ({delivery(film, _sound()).extension})"
        yield Known("picture codec", codec, True, f"stays {encoder.shown}{note}, {again}")
    other = sorted(set().union(*FURTHER_PICTURES.values()) - {*(c for c, e in ENCODERS.items() if e.as_source), "png"})
    yield Known("picture codec", ", ".join(other), True, f"decoded; {_told(_film(codec='vp9'))}")
    yield Known("picture codec", "every other that FFmpeg decodes", True, f"decoded; {_told(_film(codec='other'))}")
    deep = _film(codec="other", pix_fmt="yuv422p10le", bit_depth=10)
    yield Known("picture codec", "those with more than 8 bits", True, f"decoded; {_told(deep)}")


def _masters() -> Iterator[Known]:
    """What a master may be where the manifest or the configuration asks for it, codec by codec."""
    for codec in get_args(PictureCodec):
        own = FFMPEG.get(codec, codec)
        encoder, profiles = ENCODERS[own], PROFILES.get(own, {})
        what = f"{shown_formats(encoder.formats)}; in {', '.join(containers_of(encoder))}"
        yield Known("master", codec, True, f"profiles {', '.join(profiles)}; {what}" if profiles else what)
    for codec in SEQUENCES:
        kinds = "half and single floats" if codec == "exr" else shown_formats(ENCODERS[codec].formats)
        what = f"a folder with one file a picture, {kinds}, and the sound as WAV; {_IN_HEADERS[codec]}"
        yield Known("master", f"{codec} (container)", True, what)


def _usual(encoder: Encoder) -> str:
    """A format that the encoder takes, the commonest first."""
    return next(f for f in ("yuv420p", "yuv422p10le", *sorted(encoder.formats)) if f in encoder.formats)


def _told(film: MediaInfo) -> str:
    return delivery(film, _sound()).notices[0].rpartition("; ")[2].removesuffix(".")


def _pictures() -> Iterator[Known]:
    for bits in (8, 10, 12, 16):
        pix_fmt = "yuv420p" if bits == 8 else f"yuv420p{bits}le"
        codec = "h264" if bits < 12 else "hevc" if bits == 12 else "ffv1"
        yield _asked("picture", f"{bits} bits a sample", _film(codec=codec, bit_depth=bits, pix_fmt=pix_fmt), "kept")
    for pix_fmt in ("yuv420p", "yuv422p", "yuv444p", "yuv411p", "rgb24", "gray"):
        name = f"4:{pix_fmt[4]}:{pix_fmt[5]} ({pix_fmt})" if pix_fmt.startswith("yuv") else pix_fmt
        yield _asked("picture", name, _film(pix_fmt=pix_fmt), "kept")
    yield _asked("picture", "planar RGB (gbrp10le)", _film(codec="hevc", pix_fmt="gbrp10le", bit_depth=10), "kept")
    for transfer, name in HDR.items():
        film = _film(codec="hevc", transfer=transfer, pix_fmt="yuv420p10le", bit_depth=10)
        yield _asked("picture", f"HDR ({name})", film, "kept, with its mastering display and light levels")
    film = _film(codec="hevc", transfer=16, pix_fmt="yuv420p10le", bit_depth=10, dynamic=("HDR10+", "Dolby Vision"))
    yield _asked("picture", "HDR with HDR10+ or Dolby Vision", film, "")
    yield _asked("picture", "square pixels, and others up to 4:1", _film(sample_aspect=Fraction(64, 45)), "kept")
    psf = _film(interlaced=True, first_field="top")
    yield _asked("picture", "progressive, marked as interlaced (PsF)", psf, "whole pictures; the marks are kept")
    for name, kind in (("truly interlaced", "interlaced"), ("telecined film", "telecined")):
        yield _of_fields(name, psf, Carriage(kind, 1, 1))  # type: ignore[arg-type]
    yield _asked("picture", "interlaced HEVC", _film(codec="hevc", interlaced=True), "kept")
    prores = _film(codec="prores", tag="ap4h", pix_fmt="yuva444p12le", bit_depth=12, alpha=True)
    yield _asked("picture", "transparency in ProRes 4444", prores, "kept")
    yield _asked("picture", "other transparency, a palette", _film(alpha=True), "kept")
    yield _asked("picture", "an odd width or height", _film(width=1919), "kept")
    one = 1 << 16
    turned = (0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    yield _asked(
        "picture", "to be shown turned by 90, 180, 270 degrees", _film(rotation_deg=90, matrix9=turned), "kept"
    )
    mirrored = (-one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    yield _asked("picture", "to be shown mirrored", _film(rotation_deg=180, matrix9=mirrored), "kept")
    yield _asked("rate", "any, constant (24000/1001, 25, 50, ...)", _film(rate=Fraction(24000, 1001)), "kept, exactly")
    yield Known("rate", "variable", True, "kept: every frame keeps its own time")


def _sounds() -> Iterator[Known]:
    lossless = set().union(*LOSSLESS.values())
    codecs = lossless.union(*LOSSY.values(), *SAME_FAMILY.values())
    for codec in sorted(codecs):
        film = {"mp4": _film(), "mov": replace(_film(), brand="qt  "), "matroska": _in_matroska(_film())}
        kind = "s16" if codec in lossless else "fltp"
        parts: dict[str, list[str]] = {}
        for name, one in film.items():
            how = _carried(one, _sound(codec, codec, kind))
            for family, container in (("mp4 or mov", _MP4), ("Matroska", _MKV)):
                other = _carried(one, _sound(codec, container, kind))
                how += f" (out of {family} {other})" if other != how.partition(" (")[0] else ""
            parts.setdefault(how, []).append(_NAMES[name])
        what = "; ".join(f"with {' or '.join(names)} {how}" for how, names in parts.items())
        yield Known("sound codec", codec, True, "copied" if list(parts) == ["copied"] else what)
    yield Known("sound codec", "every other that FFmpeg decodes", True, "PCM, sample for sample")
    yield Known("sound", "any number of tracks and channels, any layout, any rate", True, "kept")


def _carried(film: MediaInfo, sound: MediaInfo) -> str:
    told = delivery(film, sound).notices
    how = "PCM, sample for sample" if any("as PCM" in t for t in told) else "copied"
    return how + (", and the master is .mov" if any("becomes a .mov" in t for t in told) else "")


def _others() -> Iterator[Known]:
    for codec in sorted(set().union(*SUBTITLES.values())):
        carried = [_NAMES[muxer] for muxer, codecs in SUBTITLES.items() if codec in codecs]
        yield Known("subtitles", codec, True, f"copied in {', '.join(carried)}")
    film = replace(_film(), subtitles=(OtherInfo(2, "subtitle", "other", None),))
    refused = _asked("subtitles", "every other", film, "")
    yield replace(refused, what="refused: no container of a master carries it", todo="take the stream out of the film")


def _stills() -> Iterator[Known]:
    names = ", ".join(name for name in READ if name != "MPO")
    width, height = 4096, MOST_BLOCKS * 256 // 4096
    yield Known(
        "photograph", names, True, f"becomes a film as long as each dub; {LEAST_PX}x{LEAST_PX} to {width}x{height}"
    )
    yield Known("photograph", "GIF, BMP, AVIF, HEIC", False, "refused: another kind of picture", "save it as PNG")

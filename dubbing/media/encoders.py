"""Which encoder makes a picture like the source's, and how it is told to: codec by codec, one table.

It looks at what a header says (`probe`), and opens nothing. Which container takes the codec is for `delivery`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

from dubbing.media.colour import layout_of
from dubbing.media.convert import Conversion
from dubbing.media.numbered import CONTAINER
from dubbing.media.probe import VideoInfo

__all__ = [
    "DECODED", "ENCODERS", "PROFILES", "Encoder", "Encoding", "as_sequence", "as_source", "marks_of", "usual_priority",
]  # fmt: skip

_RGB = frozenset({"gbrp", "gbrp16le", "gbrap", "gbrap16le"})
_YUV = tuple(f"yuv{sub}p" for sub in ("420", "422", "444"))
_YUV8 = frozenset((*_YUV, *(f"yuvj{name[3:]}" for name in _YUV)))


def _bits(*depths: int, names: tuple[str, ...] = _YUV) -> frozenset[str]:
    return frozenset(f"{name}{depth}le" for name in names for depth in depths)


@contextmanager
def usual_priority() -> Iterator[None]:
    """Where it may, SVT-AV1 puts the thread that opens it before every other of the machine, for good; not here."""
    ask = getattr(os, "sched_getscheduler", None)  # macOS has none
    before = (ask(0), os.sched_getparam(0)) if ask else None
    try:
        yield
    finally:
        if ask and before and ask(0) != before[0]:
            os.sched_setscheduler(0, *before)


@dataclass(frozen=True)
class Encoder:
    """One of FFmpeg's encoders. name: FFmpeg's; shown: the codec's name as people write it; formats: pixel formats that
    it takes; muxers: that carry the codec, the one that is taken by itself first; intra: whether every picture stands
    alone; lossless: whether it gives back what it was given; options: always given to it; fields: how it marks pictures
    that are carried as two fields: `coded` field by field, `said` in x264's headers while they are coded whole, `kept`
    where the picture's own mark, or the container's, is all there is, '' where it does not mark them; as_source:
    whether a film of this codec is delivered in it without being asked for; least: smallest (width, height); captions:
    whether it writes captions (CTA-708) into its pictures."""

    name: str
    shown: str
    formats: frozenset[str]
    muxers: tuple[str, ...]
    intra: bool = True
    lossless: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    fields: str = ""
    as_source: bool = True
    least: tuple[int, int] = (1, 1)
    captions: bool = False


ENCODERS: dict[str, Encoder] = {
    "h264": Encoder(
        "libx264", "H.264", _YUV8 | _bits(10), ("mp4", "mov", "matroska"), intra=False,
        fields="said", captions=True,
    ),
    "hevc": Encoder(
        "libx265", "HEVC", _YUV8 | _bits(10, 12) | {"gbrp", "gbrp10le", "gbrp12le"}, ("mp4", "mov", "matroska"),
        intra=False, captions=True,
    ),
    "prores": Encoder(
        "prores_ks", "ProRes", frozenset({"yuv422p10le", "yuv444p10le", "yuva444p10le"}), ("mov", "matroska", "mxf"),
        options={"vendor": "apl0"}, fields="coded",
    ),
    "dnxhd": Encoder(
        "dnxhd", "DNxHR", frozenset({"yuv422p", "yuv422p10le", "yuv444p10le", "gbrp10le"}), ("mov", "mxf"),
        fields="coded", least=(256, 120),
    ),
    "cfhd": Encoder(
        "cfhd", "CineForm", frozenset({"yuv422p10le", "gbrp12le", "gbrap12le"}), ("mov",), options={"quality": "film1"}
    ),
    "ffv1": Encoder(
        "ffv1", "FFV1",
        _YUV8 - {"yuvj420p", "yuvj422p", "yuvj444p"}
        | _bits(10, 12, 16) | _bits(10, 16, names=("yuva420p", "yuva422p", "yuva444p"))
        | {"gbrp10le", "gbrp12le", "gbrp14le", "gbrp16le", "gbrap10le", "gbrap12le", "gbrap14le", "gbrap16le"},
        ("matroska",), lossless=True, options={"level": "3", "slices": "16", "slicecrc": "1", "g": "1"},
        fields="kept",
    ),
    "mjpeg": Encoder(
        "mjpeg", "Motion JPEG", _YUV8, ("mov", "matroska"), options={"qmin": "1", "qmax": "2", "strict": "unofficial"}
    ),
    "v210": Encoder(
        "v210", "uncompressed 10-bit 4:2:2 (v210)", frozenset({"yuv422p10le"}), ("mov",), lossless=True, fields="kept"
    ),
    "av1": Encoder(
        "libsvtav1", "AV1", frozenset({"yuv420p", "yuv420p10le"}), ("mp4", "matroska"), intra=False, as_source=False,
        least=(64, 64),
    ),
    "dpx": Encoder(
        "dpx", "DPX", _RGB | {"gbrp10le", "gbrp12le"}, (CONTAINER,), lossless=True, as_source=False
    ),
    "exr": Encoder(
        "exr", "OpenEXR", frozenset({"gbrp16le", "gbrap16le"}), (CONTAINER,), lossless=True, as_source=False
    ),
    "tiff": Encoder("tiff", "TIFF", _RGB, (CONTAINER,), lossless=True, as_source=False),
    "png": Encoder("png", "PNG", _RGB, (CONTAINER,), lossless=True, as_source=False),
}  # fmt: skip
"""By the codec's name as FFmpeg's decoders have it."""

_PRORES = {
    "apco": "proxy", "apcs": "lt", "apcn": "standard", "apch": "hq", "ap4h": "4444", "ap4x": "4444xq",
}  # fmt: skip
_DNXHD_MBPS = (
    36, 42, 45, 60, 63, 75, 80, 84, 90, 100, 110, 115, 120, 145, 175, 180, 185, 220, 240, 290, 350, 365, 390, 440, 730,
    880,
)  # fmt: skip
"""By which its encoder knows a kind of DNxHD (SMPTE ST 2019-1); a file's own rate is that of its frames' bytes."""
_YUV422, _YUV444 = frozenset({"yuv422p10le"}), frozenset({"yuv444p10le", "yuva444p10le"})
PROFILES: dict[str, dict[str, frozenset[str]]] = {
    "prores": {name: _YUV444 if name.startswith("4444") else _YUV422 for name in _PRORES.values()},
    "dnxhd": {
        "lb": frozenset({"yuv422p"}), "sq": frozenset({"yuv422p"}), "hq": frozenset({"yuv422p"}),
        "hqx": frozenset({"yuv422p10le"}), "444": frozenset({"yuv444p10le", "gbrp10le"}),
    },
}  # fmt: skip
"""Profiles by codec, and the formats of each."""
_DNXHR = tuple(PROFILES["dnxhd"])
_NEAREST = {"yuv444p12le": "yuv444p10le", "yuva444p12le": "yuva444p10le", "gbrp12le": "gbrp10le"}
"""What decoders make of ProRes and DNxHR of 4:4:4, and what their encoders take."""
DECODED = {("prores", made): found for found, made in _NEAREST.items() if found.startswith("yuv")}
"""What a decoder makes of what an encoder was given, by codec and format, where it is something else."""


@dataclass(frozen=True)
class Encoding:
    """How a master's picture is made. codec: of the source's names; pix_fmt: what the encoder is given; options: for
    it; tag: the four letters that name the codec in mp4 and mov, '' for the usual; bit_rate: bits a second, 0 where the
    encoder decides by quality; notice: what differs from the source, '' where nothing does; marks: further options by
    which it says that pictures are carried as two fields; converts: how the source's pictures become those, None where
    they are of the same planes; crf, preset: of the encoder, None for its default; untouched: what becomes of pictures
    without a patch, `copy` or `encode`, None for what is usual in the codec."""

    codec: str
    encoder: Encoder
    pix_fmt: str
    options: Mapping[str, str]
    tag: str = ""
    bit_rate: int = 0
    notice: str = ""
    marks: Mapping[str, str] = field(default_factory=dict)
    converts: Conversion | None = None
    crf: float | None = None
    preset: int | str | None = None
    untouched: Literal["copy", "encode"] | None = None

    @property
    def own(self) -> bool:
        """Whether it is the source's own encoding: its codec, and its pictures as they are."""
        return not self.notice and self.converts is None

    @property
    def alike(self) -> bool:
        """Whether pictures of the source may stand beside those that were made so, one by one."""
        return self.encoder.intra and self.own and self.untouched != "encode"

    @property
    def grouped(self) -> bool:
        """Whether groups of the source's pictures may stand beside those that were made so."""
        return not self.encoder.intra and self.own and self.untouched == "copy"


def as_source(video: VideoInfo) -> Encoding | None:
    """The encoding nearest to a source's own; None where no codec here keeps what its picture has.

    A codec of the table stays what it is, with its profile. Of others a picture of 8 bits becomes H.264, a deeper one
    HEVC, and one that neither holds FFV1, which loses nothing. HEVC has no pictures of two fields: what is interlaced
    becomes H.264 or FFV1.
    """
    made = _unmarked(video)
    return made and replace(made, marks=marks_of(made.encoder, video))


def as_sequence(video: VideoInfo) -> Encoding | None:
    """The encoding of a sequence's pictures as they are; None where no codec here keeps what they have."""
    same = ENCODERS.get(video.codec)
    return None if same is None or video.pix_fmt not in same.formats else Encoding(video.codec, same, video.pix_fmt, {})


def marks_of(encoder: Encoder, video: VideoInfo) -> dict[str, str]:
    """Options by which an encoder says that whole pictures of an interlaced film are carried as two fields."""
    if not video.interlaced:
        return {}
    if encoder.fields == "said":
        return {"x264-params": f"fake-interlaced=1:{'bff' if video.first_field == 'bottom' else 'tff'}=1"}
    return {"flags": "+ildct"} if encoder.fields == "coded" and video.field_pictures else {}


def _unmarked(video: VideoInfo) -> Encoding | None:
    same = ENCODERS.get(video.codec)
    if same is not None and same.as_source:
        pix_fmt = video.pix_fmt if video.pix_fmt in same.formats else _NEAREST.get(video.pix_fmt, "")
        if pix_fmt in same.formats and (made := _with_profile(video, same, pix_fmt)):
            return made
    layout = layout_of(video.pix_fmt)
    if layout is None:
        return None
    deep = ("h264" if video.interlaced else "hevc", "ffv1")
    for codec in deep if layout.deep or layout.rgb or layout.alpha else ("h264",):
        other = ENCODERS[codec]
        if video.pix_fmt in other.formats:
            made = Encoding(codec, other, video.pix_fmt, other.options)
            if codec == video.codec:
                return made
            return replace(made, notice=f"is {video.codec}; the master is {other.shown}")
    return None


def _with_profile(video: VideoInfo, encoder: Encoder, pix_fmt: str) -> Encoding | None:
    """An encoding in the source's codec and profile; None where the encoder does not make that profile."""
    options, tag, rate = dict(encoder.options), "", 0
    if video.codec == "prores":
        profile = _PRORES.get(video.tag.lower(), "4444" if "444" in pix_fmt else "hq")
        options |= {"profile": profile} | ({"alpha_bits": "16"} if pix_fmt.startswith("yuva") else {})
        tag = video.tag if video.tag.lower() in _PRORES else ""
    elif video.codec == "dnxhd":
        name = video.profile.lower().removeprefix("dnxhr").strip()
        if video.profile.upper().startswith("DNXHR") and name in _DNXHR:
            options["profile"] = f"dnxhr_{name}"
        elif video.bit_rate:
            rate = 10**6 * min(_DNXHD_MBPS, key=lambda mbps: abs(mbps * 10**6 - video.bit_rate))
        else:
            return None
    return Encoding(video.codec, encoder, pix_fmt, options, tag, rate)

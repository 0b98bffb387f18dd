"""What each container of a master can carry, by FFmpeg's names of containers and codecs. It opens nothing."""

from __future__ import annotations

from dubbing.master_choice import SEQUENCES
from dubbing.media.encoders import Encoder
from dubbing.media.numbered import CONTAINER

__all__ = [
    "EXTENSIONS", "FURTHER_PICTURES", "LOSSLESS", "LOSSY", "MUXERS", "SAME_FAMILY", "SUBTITLES", "containers_of",
]  # fmt: skip

EXTENSIONS = {"mp4": ".mp4", "mov": ".mov", "matroska": ".mkv", "mxf": ".mxf"}
MUXERS = {"mkv": "matroska", **dict.fromkeys(SEQUENCES, CONTAINER)}
"""FFmpeg's names of containers, where they are others."""
LOSSLESS: dict[str, set[str]] = {
    "mp4": {"flac", "alac"},
    "mov": {"alac", *map("pcm_{}".format, ("u8", "s16le", "s16be", "s24le", "s24be", "s32le", "f32le", "f64le"))},
    "matroska": {"flac", "alac", "tta"}
    | {*map("pcm_{}".format, ("u8", "s16le", "s16be", "s24le", "s32le", "f32le", "f64le"))},
    "mxf": {"pcm_s16le", "pcm_s24le"},
    CONTAINER: {"pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le"},
}
"""Sound codecs that keep every sample, by container."""
LOSSY: dict[str, set[str]] = {
    "mp4": {"aac", "ac3", "eac3", "opus"},
    "mov": {"aac", "ac3", "eac3"},
    "matroska": {"aac", "ac3", "eac3", "opus"},
    "mxf": set(),
    CONTAINER: set(),
}
"""Lossy codecs begin and end with samples that are not to be heard. How many is kept exactly when the
packets come from a bare stream or from the same family of container, not when they change it."""
SAME_FAMILY = {"matroska": {"mp3", "vorbis", "mp2"}}
"""Lossy codecs that are copied from a container of the same family alone."""
SUBTITLES: dict[str, set[str]] = {
    "mp4": {"mov_text", "dvd_subtitle"},
    "mov": {"mov_text"},
    "matroska": {"subrip", "ass", "webvtt", "dvd_subtitle", "dvb_subtitle", "hdmv_pgs_subtitle", "text"},
    "mxf": set(),
    CONTAINER: set(),
}
"""Codecs of subtitles, by container."""
FURTHER_PICTURES: dict[str, set[str]] = {
    "mp4": {"h264", "hevc", "av1", "vp9", "mpeg4", "mpeg2video", "mjpeg", "png"},
    "mov": {"h264", "hevc", "mpeg4", "mpeg2video", "mjpeg", "png", "prores", "dnxhd"},
    "matroska": {"h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "mpeg1video", "mpeg2video", "mjpeg", "png", "prores"},
    "mxf": set(),
    CONTAINER: set(),
}
"""Codecs of picture streams beside the film's, by container."""


def containers_of(encoder: Encoder) -> list[str]:
    """The containers that carry a codec, as people ask for them."""
    names = {"matroska": "mkv", CONTAINER: encoder.name}
    return [names.get(muxer, muxer) for muxer in encoder.muxers]

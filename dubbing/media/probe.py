"""What a media file holds: its container, streams, tags and times. The one place that opens files.

It decodes at most the first picture (for its display matrix). It does not know what can be
delivered (`delivery`), nor what the frames look like (`read`).

Over 400 lines: every field of a header is read in one place.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import av.logging
import numpy as np

from dubbing import sequences
from dubbing.clock import Timecode
from dubbing.errors import ManifestError, MediaError, UnsupportedMedia
from dubbing.inputs import near_names, not_a_file, read_file
from dubbing.media.numbered import CONTAINER, planar_name, start_of
from dubbing.media.square import Grid
from dubbing.media.whole import check_length

__all__ = [
    "ENDINGS", "LISTS", "READERS", "AudioInfo", "MediaInfo", "VideoInfo", "first_video", "local_url", "open_media",
    "probe", "refusal",
]  # fmt: skip

_KNOWN_RATES = [Fraction(n) for n in (24, 25, 30, 48, 50, 60, 100, 120)] + [
    Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120)
]

READERS = {
    "films": (
        "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mxf", "avi", "mpeg", "mpegts", "mpegvideo", "flv", "asf", "dv",
        "gxf", "h264", "hevc", "m4v", "av1", "obu", "ivf", "mjpeg", "vc1", "dnxhd", "yuv4mpegpipe",
    ),
    "sounds": (
        "wav", "w64", "aiff", "caf", "au", "flac", "wv", "tta", "ape", "mp3", "aac", "ac3", "eac3", "ogg", "dts", "amr",
    ),
    "pictures": ("png_pipe", "jpeg_pipe", "webp_pipe", "tiff_pipe", "bmp_pipe", "gif", "gif_pipe"),
}  # fmt: skip
"""FFmpeg's readers that read the one file they are given. Playlists and descriptions (hls, concat, dash, imf, sdp,
numbered pictures) open other files, of which no record would know."""
ENDINGS = ("avi", "flv", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "mxf", "ogv", "ts", "webm", "wmv")
"""Endings of the files that count as films where a folder is given."""
_DEMUXERS = tuple(name for names in READERS.values() for name in names)
_KINDS = "MP4, MOV, MXF, Matroska, WebM, AVI, MPEG, WAV, FLAC, MP3, AAC, Ogg"
LISTS = (
    (b"#extm3u", "an HLS playlist"), (b"ffconcat", "an ffconcat playlist"), (b"[playlist]", "a playlist"),
    (b"v=0", "an SDP description"), (b"<?xml", "an XML document"), (b"<mpd", "a DASH playlist"),
)  # fmt: skip

_FIRST_FIELDS = {2: "top", 3: "bottom", 4: "bottom", 5: "top"}  # shown first, by FFmpeg's AVFieldOrder
_CHROMA_LOCATIONS = ("left", "center", "topleft", "top", "bottomleft", "bottom")


@dataclass(frozen=True)
class VideoInfo:
    """The picture stream that is dubbed: the first one that is not a cover picture.

    width, height: as coded, before any turn; rate: nominal frames a second (an average for variable
    rate); rotation_deg: 0, 90, 180 or 270, the clockwise turn that shows it upright; matrix9: the
    display matrix as stored (nine 16.16 and 2.30 fixed-point numbers), None when there is none;
    primaries, transfer, matrix: the numbers of ITU-T H.273, range: 1 limited or 2 full, None where
    unspecified; chroma_location: FFmpeg's word ('left', 'center', 'topleft', ...); start_pts: where
    the header says the stream starts; start_tc: timecode of frame 0, None where the file names none;
    frames_hint: frames to expect, 0 when the header does not say; alpha: transparency or a palette; profile: FFmpeg's
    name of the codec's profile; first_field: of an interlaced film the one that is shown first, 'top' or 'bottom', ''
    where it does not say; field_pictures: whether its first picture says itself that it is of two fields, and not only
    the container; mastering: the mastering display (SMPTE ST 2086) as x265 writes it, None where none is said;
    light: MaxCLL and MaxFALL, nits (CTA-861.3); dynamic: names of metadata that change from picture to picture (HDR10+,
    Dolby Vision); captions: whether its first picture holds any (CTA-708).
    """

    index: int
    codec: str
    tag: str
    width: int
    height: int
    pix_fmt: str
    bit_depth: int
    alpha: bool
    rate: Fraction
    time_base: Fraction
    start_pts: int
    sample_aspect: Fraction
    rotation_deg: int
    matrix9: tuple[int, ...] | None
    primaries: int | None
    transfer: int | None
    matrix: int | None
    range: int | None
    chroma_location: str | None
    interlaced: bool
    start_tc: str | None
    frames_hint: int
    bit_rate: int
    language: str | None
    profile: str = ""
    first_field: str = ""
    field_pictures: bool = False
    mastering: str | None = None
    light: tuple[int, int] | None = None
    dynamic: tuple[str, ...] = ()
    captions: bool = False

    @property
    def grid(self) -> Grid:
        """The picture's own pixels and square ones."""
        return Grid.of(self.width, self.height, self.sample_aspect)


@dataclass(frozen=True)
class AudioInfo:
    """One sound track. channels: count; layout: FFmpeg's name of it ('stereo'); places: FFmpeg's name of each channel
    ('FL', 'FC', ...), empty where the file names none; bits: per sample as decoded (24-bit FLAC and PCM say 24);
    language: ISO 639-2 as tagged, or None; title: as tagged; roles: FFmpeg's dispositions ('default', 'original',
    'visual_impaired', ...)."""

    index: int
    codec: str
    rate_hz: int
    channels: int
    layout: str
    sample_format: str
    bits: int
    language: str | None
    places: tuple[str, ...] = ()
    title: str = ""
    roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class OtherInfo:
    """A stream that is neither the dubbed picture nor sound: kind is 'video', 'cover', 'subtitle',
    'data' or 'attachment'; codec is None where FFmpeg knows none."""

    index: int
    kind: str
    codec: str | None
    language: str | None


@dataclass(frozen=True)
class MediaInfo:
    """A file's container and streams. container: FFmpeg's demuxer name ('mov,mp4,m4a,3gp,3g2,mj2');
    duration_s: exact seconds from the header, or None; chapters: how many."""

    path: Path
    container: str
    brand: str
    video: VideoInfo | None
    audio: tuple[AudioInfo, ...]
    subtitles: tuple[OtherInfo, ...]
    others: tuple[OtherInfo, ...]
    chapters: int
    metadata: dict[str, str]
    duration_s: Fraction | None

    def track(self, number: int) -> AudioInfo:
        """The sound track of that number, counted from 1. Raises MediaError where there is none."""
        if not 1 <= number <= len(self.audio):
            count = len(self.audio)
            raise MediaError(f"{self.path} has no sound track {number}; it has {count}, counted from 1.")
        return self.audio[number - 1]

    @property
    def upright_size(self) -> tuple[int, int]:
        """(width, height) as shown, in square pixels, after the turn. Raises MediaError without a picture."""
        if self.video is None:
            raise MediaError(f"{self.path} has no video stream.")
        w, h = self.video.grid.square
        return (h, w) if self.video.rotation_deg in (90, 270) else (w, h)


def local_url(path: str | Path) -> str:
    """A file as FFmpeg must be told it, whatever its name holds (colons, dashes, per cents)."""
    return "file:" + os.path.abspath(path)


def refusal(path: str | Path, error: Exception) -> MediaError:
    """The sentence for a file that FFmpeg would not open."""
    if isinstance(error, FileNotFoundError):
        return MediaError(f"There is no file {path}.{near_names(path)}")
    if isinstance(error, IsADirectoryError):
        return MediaError(f"{path} is a folder, not a media file.")
    if isinstance(error, PermissionError):
        return MediaError(f"{path} cannot be read: permission denied.")
    if isinstance(error, UnicodeEncodeError):
        return MediaError(f"The name of {path} holds bytes that are no UTF-8; rename the file.")
    return MediaError(f"{path} is truncated or not a media file (FFmpeg says: {getattr(error, 'strerror', error)}).")


def open_media(path: str | Path) -> Any:
    """An open PyAV input container of a file that holds its media itself. Raises MediaError; UnsupportedMedia for a
    playlist, and for every kind of file that names others to be opened. Of a sequence of pictures it is one of FFmpeg's
    numbered files, which may go on behind the sequence's end (`Film` stops there)."""
    sequence = sequences.find(path)
    if sequence is not None:
        return _open_sequence(path, sequence)
    kind = not_a_file(path)
    if kind:
        raise MediaError(f"{path} is {kind}, not a media file.")
    try:
        str(path).encode("utf-8")
        container = av.open(
            local_url(path),
            options={"protocol_whitelist": "file", "format_whitelist": ",".join(_DEMUXERS)},
            metadata_errors="surrogateescape",
        )
    except (av.error.FFmpegError, OSError, ValueError) as e:
        if isinstance(e, av.error.ArgumentError | av.error.InvalidDataError):
            _refuse_list(path)
        if isinstance(e, av.error.ArgumentError):
            raise UnsupportedMedia(f"{path} is of a kind that this version does not read; give one of {_KINDS}.") from e
        raise refusal(path, e) from e
    if container.format.name not in _DEMUXERS:
        name = container.format.name
        container.close()
        raise UnsupportedMedia(f"{path} is of the kind {name}, which this version does not read; give one of {_KINDS}.")
    return container


def _open_sequence(path: str | Path, sequence: sequences.Sequence) -> Any:
    """The pictures of a sequence as one stream, at the rate that its headers or its name say; 25 where none does."""
    rate = sequence.rate or _near_rate(Fraction(start_of(sequence).rate or 25))
    begin = os.path.join(sequence.folder.absolute(), sequence.before)  # which may be nothing
    pattern = begin.replace("%", "%%") + f"%0{sequence.width}d"
    try:
        return av.open(
            pattern + sequence.after.replace("%", "%%"),
            format=CONTAINER,
            options={
                "pattern_type": "sequence", "start_number": str(sequence.first), "start_number_range": "1",
                "framerate": str(rate), "protocol_whitelist": "file",
            },
            metadata_errors="surrogateescape",
        )  # fmt: skip
    except (av.error.FFmpegError, OSError, ValueError) as e:
        raise refusal(path, e) from e


def _refuse_list(path: str | Path) -> None:
    """Raises UnsupportedMedia where a file, by its first bytes, names other files instead of holding media."""
    try:
        head = read_file(path, 4096).removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    except OSError:
        return
    for beginning, name in LISTS:
        if head.startswith(beginning):
            raise UnsupportedMedia(f"{path} is {name} and holds no media itself; give the film or sound as one file.")


def first_video(container: Any) -> Any | None:
    """The first picture stream that is not a cover picture and that FFmpeg can decode, or None."""
    for stream in container.streams.video:
        if stream.codec_context is not None and not _is_cover(stream):
            return stream
    return None


def probe(path: str | Path) -> MediaInfo:
    """The container, streams and tags of a file. Raises MediaError where there is none, or where it is no media file or
    is truncated."""
    with open_media(path) as container:
        sequence = sequences.find(path)
        if sequence is None:
            check_length(path, container.format.name)
        video = first_video(container)
        try:
            info = None if video is None else _video(container, video) if sequence is None else _of(sequence, video)
        except (av.error.FFmpegError, ValueError) as e:
            raise refusal(path, e) from e
        others = [_other(s) for s in container.streams if s.type != "audio" and s is not video]
        duration = Fraction(container.duration, av.time_base) if container.duration else None
        if sequence is not None and info is not None:
            duration = sequence.count / info.rate
        return MediaInfo(
            path=Path(path),
            container=container.format.name,
            brand=container.metadata.get("major_brand", ""),
            video=info,
            audio=tuple(_audio(container, s) for s in container.streams.audio if s.codec_context is not None),
            subtitles=tuple(o for o in others if o.kind == "subtitle"),
            others=tuple(o for o in others if o.kind != "subtitle"),
            chapters=len(container.chapters()),
            metadata=dict(container.metadata),
            duration_s=duration,
        )


def nominal_rate(stream: Any) -> Fraction:
    """Frames a second as timecode would count them; 25 where the file does not say."""
    for rate in (stream.guessed_rate, stream.average_rate, stream.base_rate):
        if rate and 1 <= rate <= 1000:
            return _near_rate(Fraction(rate))
    return Fraction(25)


def _near_rate(rate: Fraction) -> Fraction:
    """The rate that is usual where one is as good as it."""
    near = min(_KNOWN_RATES, key=lambda known: abs(known - rate))
    return near if abs(near - rate) / near < Fraction(1, 3000) else rate


def promised_frames(container: Any, stream: Any) -> int:
    """Frames in the container's index that are to be shown (an edit list may hide some); 0 without one."""
    kind = container.format.name
    if "mov" in kind:
        entries = stream.index_entries
        return sum(not entries[i].is_discard for i in range(len(entries)))
    return int(stream.frames or 0) if kind == "avi" else 0


def start_timecode(container: Any, video: Any) -> str | None:
    """Timecode of frame 0 from the picture's, a timecode track's or the file's tags; None if none is valid."""
    places = [video.metadata, *(s.metadata for s in container.streams.data), container.metadata]
    for tags in places:
        for key, value in tags.items():
            if key.lower() == "timecode":
                try:
                    return str(Timecode.parse(value, nominal_rate(video)))
                except ManifestError:
                    continue
    return None


def display_matrix(frame: Any) -> tuple[int, ...] | None:
    """The nine numbers of a frame's display matrix, or None."""
    data = frame.side_data.get("DISPLAYMATRIX")
    return tuple(int(v) for v in np.frombuffer(bytes(data), np.int32)) if data is not None else None


def turn(matrix9: tuple[int, ...] | None) -> int:
    """The clockwise turn (0, 90, 180, 270) nearest to what a display matrix does; mirroring is not seen."""
    if matrix9 is None:
        return 0
    degrees = np.degrees(np.arctan2(matrix9[1], matrix9[0]))
    return int(round(degrees / 90)) % 4 * 90


def _is_cover(stream: Any) -> bool:
    kinds = type(stream.disposition)
    return bool(stream.disposition & (kinds.attached_pic | kinds.timed_thumbnails))


def _video(container: Any, stream: Any) -> VideoInfo:
    ctx = stream.codec_context
    rate = nominal_rate(stream)
    frame = _first_frame(container, stream)
    pix_fmt = ctx.format or (frame.format if frame is not None else None)
    if pix_fmt is None:
        raise MediaError(f"The picture of {container.name} cannot be decoded ({ctx.name}).")
    matrix9 = display_matrix(frame) if frame is not None else None
    parts = pix_fmt.components
    length = Fraction(stream.duration or 0) * stream.time_base or Fraction(container.duration or 0, av.time_base)
    return VideoInfo(
        index=stream.index,
        codec=ctx.codec.canonical_name,
        tag=ctx.codec_tag.strip("\x00"),
        width=ctx.width,
        height=ctx.height,
        pix_fmt=pix_fmt.name,
        bit_depth=max(part.bits for part in parts) if parts else 8,
        alpha=any(part.is_alpha for part in parts) or pix_fmt.has_palette or _hidden_alpha(container, stream),
        rate=rate,
        time_base=stream.time_base,
        start_pts=stream.start_time or 0,
        sample_aspect=Fraction(stream.sample_aspect_ratio or 1),
        rotation_deg=turn(matrix9),
        matrix9=matrix9,
        primaries=_tag(ctx.color_primaries),
        transfer=_tag(ctx.color_trc),
        matrix=_tag(ctx.colorspace),
        range=ctx.color_range or None,
        chroma_location=_chroma_location(container, stream, pix_fmt.name),
        interlaced=(ctx.field_order or 0) > 1 or bool(frame is not None and frame.interlaced_frame),
        start_tc=start_timecode(container, stream),
        frames_hint=promised_frames(container, stream) or int(length * rate + Fraction(1, 2)),
        bit_rate=int(ctx.bit_rate or 0),
        language=_language(stream),
        profile=str(ctx.profile or ""),
        first_field=_FIRST_FIELDS.get(ctx.field_order or 0, "bottom" if ctx.codec.canonical_name == "dvvideo" else ""),
        field_pictures=bool(frame is not None and frame.interlaced_frame),
        mastering=_mastering(frame),
        light=_light(frame),
        captions=bool(frame is not None and frame.side_data.get("A53_CC")),
        dynamic=tuple(name for kind, name in _DYNAMIC.items() if frame is not None and frame.side_data.get(kind)),
    )


def _of(sequence: sequences.Sequence, stream: Any) -> VideoInfo:
    """The picture of a sequence. Of floats, which hold linear light, as it is seen here: PQ. Raises MediaError."""
    ctx, told = stream.codec_context, start_of(sequence)
    found = ctx.format
    if found is None:
        raise MediaError(f"{sequence.file(0)} cannot be decoded ({ctx.name}).")
    light = "f16" in found.name or "f32" in found.name
    return VideoInfo(
        index=stream.index, codec=sequence.codec, tag="", width=ctx.width, height=ctx.height,
        pix_fmt=planar_name(found.name), bit_depth=max(part.bits for part in found.components),
        alpha=any(part.is_alpha for part in found.components) or found.has_palette,
        rate=nominal_rate(stream), time_base=stream.time_base, start_pts=0, sample_aspect=Fraction(1), rotation_deg=0,
        matrix9=None, primaries=told.primaries, transfer=16 if light else told.transfer, matrix=0, range=2,
        chroma_location=None, interlaced=False, start_tc=told.start_tc, frames_hint=sequence.count, bit_rate=0,
        language=None, profile=told.kind,
    )  # fmt: skip


_DYNAMIC = {"DYNAMIC_HDR_PLUS": "HDR10+", "DYNAMIC_HDR_VIVID": "HDR Vivid", "DOVI_RPU_BUFFER": "Dolby Vision"}


def _mastering(frame: Any) -> str | None:
    """The mastering display of a picture as x265 writes it: G(x,y)B(x,y)R(x,y)WP(x,y)L(most,least), in 1/50000 and
    1/10000 nits. FFmpeg's AVMasteringDisplayMetadata is ten rationals (red, green, blue, white, least, most) and two
    flags."""
    data = frame.side_data.get("MASTERING_DISPLAY_METADATA") if frame is not None else None
    if data is None:
        return None
    *parts, primaries, luminance = np.frombuffer(bytes(data), np.int32, 22).tolist()
    if not (primaries and luminance) or 0 in parts[1::2]:
        return None
    values = [Fraction(a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    red, green, blue, white = ([round(v * 50_000) for v in values[n : n + 2]] for n in (0, 2, 4, 6))
    least, most = (round(v * 10_000) for v in values[8:10])
    named = {"G": green, "B": blue, "R": red, "WP": white}
    places = "".join(f"{name}({x},{y})" for name, (x, y) in named.items())
    return f"{places}L({most},{least})"


def _light(frame: Any) -> tuple[int, int] | None:
    """MaxCLL and MaxFALL of a picture: FFmpeg's AVContentLightMetadata, two unsigned numbers."""
    data = frame.side_data.get("CONTENT_LIGHT_LEVEL") if frame is not None else None
    if data is None:
        return None
    most, mean = np.frombuffer(bytes(data), np.uint32, 2).tolist()
    return (most, mean) if most or mean else None  # x265 writes 0 and 0 where nothing is known


def _chroma_location(container: Any, stream: Any, pix_fmt: str) -> str | None:
    """The position of chroma samples. FFmpeg shows it only in its verbose description of a file."""
    before = av.logging.get_level()
    av.logging.set_level(av.logging.VERBOSE)
    av.logging.set_libav_level(av.logging.VERBOSE)
    try:
        text = container.dumps_format()
    finally:
        av.logging.set_level(before)
        av.logging.set_libav_level(av.logging.INFO)
    found = re.search(rf"Stream #0:{stream.index}\b.*Video:.*\b{pix_fmt}\(([^)]*)\)", text)
    words = found[1].replace(" ", "").split(",") if found else []
    return next((word for word in words if word in _CHROMA_LOCATIONS), None)


def _hidden_alpha(container: Any, stream: Any) -> bool:
    """Whether a VP8 or VP9 stream in Matroska really carries a second, transparent layer.

    Browsers tag every recording `alpha_mode`; only the packets tell."""
    if stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE")) != "1":
        return False
    container.seek(0)
    for packet in container.demux(stream):
        return any(side.data_type == "matroska_block_additional" for side in packet.iter_sidedata())
    return False


def _first_frame(container: Any, stream: Any) -> Any | None:
    try:
        for frame in container.decode(stream):
            return frame
    except av.error.FFmpegError:
        return None
    return None


def _audio(container: Any, stream: Any) -> AudioInfo:
    ctx = stream.codec_context
    if not ctx.sample_rate or not ctx.layout.nb_channels:
        raise MediaError(
            f"{container.name.removeprefix('file:')} is damaged: its sound stream {stream.index} has {ctx.sample_rate} "
            f"samples a second and {ctx.layout.nb_channels} channels."
        )
    return AudioInfo(
        index=stream.index,
        codec=ctx.codec.canonical_name,
        rate_hz=ctx.sample_rate,
        channels=ctx.layout.nb_channels,
        layout=ctx.layout.name,
        sample_format=ctx.format.name if ctx.format else "",
        bits=_bits(ctx),
        language=_language(stream),
        places=_places(ctx.layout),
        title=stream.metadata.get("title") or stream.metadata.get("name", ""),  # mov says name
        roles=tuple(one.name for one in type(stream.disposition) if one & stream.disposition and one.name),
    )


def _places(layout: Any) -> tuple[str, ...]:
    """Names of the channels; none where the file only counts them."""
    names = tuple(channel.name for channel in layout.channels)
    return names if all(len(name) <= 3 for name in names) and "NONE" not in names else ()


def _bits(ctx: Any) -> int:
    """Bits a sample as the codec stores them, 24 for 24-bit FLAC and PCM that decode to 32."""
    extra = ctx.extradata
    if ctx.codec.canonical_name == "flac" and extra is not None and len(extra) >= 34:
        return ((extra[-34 + 12] & 1) << 4 | extra[-34 + 13] >> 4) + 1
    if "s24" in ctx.codec.name:
        return 24
    return int(ctx.format.bits) if ctx.format else 16


def _other(stream: Any) -> OtherInfo:
    kind = "cover" if stream.type == "video" and _is_cover(stream) else stream.type
    ctx = stream.codec_context
    return OtherInfo(stream.index, kind, ctx.codec.canonical_name if ctx else None, _language(stream))


def _tag(value: int | None) -> int | None:
    return None if value in (None, 2) else value


def _language(stream: Any) -> str | None:
    value = stream.metadata.get("language")
    return value if value and value != "und" else None

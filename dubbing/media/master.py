"""The master: the source decoded once, patches pasted, encoded once, everything else carried over.

Frames, their times, size, aspect, colour tags, turn, timecode, chapters, tags, subtitles and further
picture streams are the source's; its sound streams give way to the dub, which is copied packet by
packet, or written as PCM. Memory does not grow with the film. It does not know what may be delivered
how (`delivery`) or where patches come from (`paste`).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import cv2
import numpy as np

from dubbing.clock import Timeline
from dubbing.errors import OutputError
from dubbing.media.alone import beside
from dubbing.media.colour import HDR, narrowed, planes_of
from dubbing.media.delivery import Delivery, delivery
from dubbing.media.film import Film
from dubbing.media.language import three_letters
from dubbing.media.master_sound import SoundTracks
from dubbing.media.paste import pasted
from dubbing.media.probe import MediaInfo, VideoInfo, local_url, open_media, probe

__all__ = ["NO_TEXT", "Mastered", "encode_master", "kept_tags"]

_DEFAULTS = {"libx264": ("superfast", 16.0), "libx265": ("ultrafast", 14.0)}
_DRAFT = ("ultrafast", 26.0)
_DRAFT_COMMENT = "draft, not for delivery: half size, coarse mouths"
_ENCODER_THREADS = 8
_STEADY_S = Fraction(2, 1000)
_PROGRESS_FRAMES = 24
NO_TEXT = b"\0\0"
"""How mp4 marks the pause after a subtitle; its muxer writes these itself."""
_NOT_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "timecode", "alpha_mode"}
_MATROSKA_STATISTICS = ("bps", "number_of_", "_statistics_")
_ITUNES = {
    "title", "artist", "album_artist", "album", "composer", "comment", "date", "genre", "copyright", "grouping",
    "lyrics", "description", "synopsis", "show", "episode_id", "network", "keywords", "track", "disc", "media_type",
    "hd_video", "gapless_playback", "compilation", "episode_sort", "season_number", "rating", "creation_time",
}  # fmt: skip


@dataclass(frozen=True)
class Mastered:
    """A finished master. frames: how many it holds, the source's; notices: what the user should know."""

    path: Path
    frames: int
    notices: tuple[str, ...]


def encode_master(
    source: str | Path,
    timeline: Timeline,
    patch_folders: Iterable[str | Path],
    sound: str | Path,
    target: str | Path,
    *,
    language: str | None = None,
    tracks: Sequence[int] | None = None,
    crf: float | None = None,
    preset: str | None = None,
    threads: int = 0,
    frames: int | None = None,
    draft: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Mastered:
    """Write the master of `source` with patches and dub `sound` to `target`.

    timeline: the source's; sound: the dub's file, whose tracks are all delivered, beginning with frame 0; language:
    BCP 47 tag of the dub; tracks: numbers, counted from 1, of those that are delivered (None: all); crf and preset: of
    the encoder (None: visually lossless and fast, H.264 superfast 16, HEVC ultrafast 14); threads: encoder threads, 0
    for a fixed number, so that the same input gives the same bytes on every machine; frames: leave off after so many,
    where a film is made longer than this dub needs (None: all of them, as any source's are); draft: half the width and
    height, encoded fast and small unless crf and preset say otherwise, with a comment among the tags that says so;
    progress(n): n more frames are done.

    Raises UnsupportedMedia before any work, DamagedMedia by timecode, OutputError when the target
    cannot be written.
    """
    info, sound_info = probe(source), probe(sound)
    plan = delivery(info, sound_info, tracks)
    assert info.video is not None
    copies = plan.picture.alike and not draft
    with Film(source, 1 if copies else 0) as film, contextlib.ExitStack() as files:
        output = _open_output(target, plan, info, sound_info, timeline, draft)
        try:
            copied = beside(output, film, plan.picture, timeline) if copies else None
            if copied is not None:
                picture = copied.stream
            else:
                picture = _add_picture(output, plan, info.video, film, timeline, crf, preset, threads, draft)
            _describe(picture, plan, info.video, film)
            dub = SoundTracks(
                output, plan, [files.enter_context(open_media(sound)) for _ in plan.sound], sound, timeline
            )
            dub.tag(language)
            film.on_packet = _Carried(output, film).mux
            output.set_chapters(film.container.chapters())
            done = told = 0
            made: Iterator[list[Any]]
            if copied is not None:
                made = ([packet] for packet in copied.packets(film, timeline, patch_folders, frames))
            else:
                smaller = (picture.width, picture.height) if draft else None
                shown = pasted(film, timeline, patch_folders, frames)
                made = _encoded(shown, picture, plan.picture.pix_fmt, smaller)
            for packets in made:
                _mux_picture(output, packets, timeline, dub)
                done += len(packets)
                if progress is not None and done - told >= _PROGRESS_FRAMES:
                    progress(done - told)
                    told = done
            dub.mux_until(None)
            output.close()
        except BaseException as e:
            with contextlib.suppress(Exception):
                output.close()
            Path(target).unlink(missing_ok=True)
            if isinstance(e, av.error.FFmpegError | OSError):
                raise OutputError(f"The master {target} could not be written: {e.strerror or e}.") from e
            raise
    if progress is not None and done > told:
        progress(done - told)
    return Mastered(Path(target), done, plan.notices)


def _open_output(
    target: str | Path, plan: Delivery, info: MediaInfo, sound_info: MediaInfo, timeline: Timeline, draft: bool
) -> Any:
    """The output container with the source's tags and time scale.

    In mp4 and mov a start other than zero is counted in the movie's time scale: one that holds both
    the picture's ticks and the sound's samples keeps the two together to the sample."""
    options = {"fflags": "+bitexact", "avoid_negative_ts": "disabled"}
    if plan.muxer != "matroska":
        scale = timeline.time_base.denominator
        rates = {track.rate_hz for track in sound_info.audio if track.index in {one.stream for one in plan.sound}}
        both = math.lcm(scale, *rates)
        movie = both if timeline.pts[0] and both < 1 << 31 else scale
        options |= {"video_track_timescale": str(scale), "movie_timescale": str(movie)}
    tags = kept_tags(info.metadata)
    if draft:
        comment = next((key for key in tags if key.lower() == "comment"), "comment")
        tags[comment] = "; ".join(filter(None, (_DRAFT_COMMENT, tags.get(comment))))
    if plan.muxer != "matroska" and any(key.lower() not in _ITUNES for key in tags):
        options["movflags"] = "use_metadata_tags"
    output = av.open(
        local_url(target), "w", format=plan.muxer, container_options=options, metadata_errors="surrogateescape"
    )
    output.metadata.update(tags)
    return output


def kept_tags(tags: Mapping[str, str], muxer: str = "") -> dict[str, str]:
    """Tags worth carrying: not those that describe the old file's own encoding."""
    kept = {
        key: value
        for key, value in tags.items()
        if key.lower() not in _NOT_TAGS and not key.lower().startswith(_MATROSKA_STATISTICS)
    }
    if muxer == "mov" and "language" in kept:
        kept["language"] = three_letters(kept["language"], quicktime=True)
    return kept


def _add_picture(
    output: Any,
    plan: Delivery,
    video: VideoInfo,
    film: Film,
    timeline: Timeline,
    crf: float | None,
    preset: str | None,
    threads: int,
    draft: bool,
) -> Any:
    """The encoder's stream, with everything that the source says about its picture."""
    made = plan.picture
    width, height = _half(video.width, video.height) if draft else (video.width, video.height)
    stream = output.add_stream(made.encoder.name, rate=timeline.rate, width=width, height=height, pix_fmt=made.pix_fmt)
    ctx = stream.codec_context
    ctx.time_base = timeline.time_base
    stream.time_base = timeline.time_base
    ctx.sample_aspect_ratio = video.sample_aspect * Fraction(video.width * height, video.height * width)
    ctx.color_primaries, ctx.color_trc, ctx.colorspace = (
        2 if value is None else value for value in (video.primaries, video.transfer, video.matrix)
    )
    ctx.color_range = video.range or 0
    ctx.field_order = film.stream.codec_context.field_order
    ctx.gop_size = 1 if made.encoder.intra else max(1, round(2 * timeline.rate))
    ctx.thread_count = threads or _ENCODER_THREADS
    options = dict(made.options)
    if made.encoder.name in _DEFAULTS:
        default_preset, default_crf = _DRAFT if draft else _DEFAULTS[made.encoder.name]
        options |= {"preset": preset or default_preset, "crf": f"{default_crf if crf is None else crf:g}"}
        if video.chroma_location is not None:
            options["chroma_sample_location"] = video.chroma_location
    if made.bit_rate:
        ctx.bit_rate = made.bit_rate
    if not _steady(timeline):
        ctx.max_b_frames = 0
    if made.encoder.name == "libx265":
        options["x265-params"] = _x265(video, threads or _ENCODER_THREADS)
    if made.tag:
        ctx.codec_tag = made.tag
    stream.options = options
    return stream


def _x265(video: VideoInfo, threads: int) -> str:
    """x265's own settings: threads, and what it is to say about a high dynamic range."""
    said = ["log-level=none", "frame-threads=2", f"pools={threads}"]
    if video.transfer in HDR:
        said += ["hdr10=1", "repeat-headers=1"] if video.transfer == 16 else ["repeat-headers=1"]
    if video.mastering:
        said.append(f"master-display={video.mastering}")
    if video.light:
        said.append("max-cll={},{}".format(*video.light))
    return ":".join(said)


def _describe(stream: Any, plan: Delivery, video: VideoInfo, film: Film) -> None:
    """What a container says about a picture stream, whoever made its pictures."""
    if video.matrix9 is not None:
        stream.set_display_matrix(video.matrix9)
    stream.metadata.update(kept_tags(film.stream.metadata, plan.muxer))
    if video.start_tc is not None:
        stream.metadata["timecode"] = video.start_tc
    stream.disposition = film.stream.disposition


def _encoded(frames: Iterator[Any], stream: Any, pix_fmt: str, smaller: tuple[int, int] | None) -> Iterator[list[Any]]:
    """The packets of frames, as they become ready; those of the last come at the end."""
    for frame in frames:
        if smaller is not None:
            frame = _smaller(frame, *smaller)
        frame = narrowed(frame, pix_fmt)
        frame.pict_type = 0
        yield stream.encode(frame)
    yield stream.encode(None)


def _half(width: int, height: int) -> tuple[int, int]:
    """Half of a picture's sides, even; the whole where that would leave less than 32 pixels."""
    sides = (width // 4 * 2, height // 4 * 2)
    return sides if min(sides) >= 32 else (width, height)


def _smaller(frame: Any, width: int, height: int) -> Any:
    """A planar frame in another size, by the mean of what each pixel covers."""
    made = av.VideoFrame(width, height, frame.format.name)
    for there, here in zip(planes_of(made), planes_of(frame), strict=True):
        there[:] = cv2.resize(here, there.shape[::-1], interpolation=cv2.INTER_AREA)
    made.pts, made.time_base = frame.pts, frame.time_base
    made.color_range, made.colorspace = frame.color_range, frame.colorspace
    return made


def _steady(timeline: Timeline) -> bool:
    """Whether the frame rate is constant, but for the rounding of a coarse time base.

    Variable-rate film is encoded without B-frames, so that containers that store durations in
    decoding order (mp4) keep the last frame's."""
    steps = np.diff(timeline.pts)
    return len(steps) == 0 or int(steps.max() - steps.min()) * timeline.time_base <= _STEADY_S


def _mux_picture(output: Any, packets: list[Any], timeline: Timeline, dub: SoundTracks) -> None:
    """Write encoded frames with their exact durations, and the sound that belongs before them."""
    for packet in packets:
        number = int(np.searchsorted(timeline.pts, packet.pts))
        following = timeline.end_pts if number + 1 >= len(timeline) else int(timeline.pts[number + 1])
        packet.duration = following - packet.pts
        dub.mux_until(Fraction(packet.dts) * timeline.time_base)
        output.mux(packet)


class _Carried:
    """Streams that pass from the source as they are: subtitles, further pictures, covers, attachments."""

    def __init__(self, output: Any, film: Film) -> None:
        self._output = output
        self._streams: dict[int, Any] = {}
        for stream in film.container.streams:
            if stream is film.stream or stream.type not in ("video", "subtitle", "attachment"):
                continue
            if stream.type == "attachment" and output.format.name != "matroska":
                continue
            copy = output.add_stream_from_template(stream, opaque=True)
            copy.metadata.update(kept_tags(stream.metadata, output.format.name))
            copy.disposition = stream.disposition
            if stream.type == "video" and stream.sample_aspect_ratio:
                copy.codec_context.sample_aspect_ratio = stream.sample_aspect_ratio
            self._streams[stream.index] = copy

    def mux(self, packet: Any) -> None:
        """Pass on a packet of another stream, if it is one of these."""
        stream = self._streams.get(packet.stream.index)
        if stream is None:
            return
        if packet.pts is None and packet.dts is None:  # a cover
            packet.pts = packet.dts = 0
        if packet.stream.codec_context.name == "mov_text" and bytes(packet) == NO_TEXT:
            return
        packet.stream = stream
        self._output.mux(packet)

"""The picture of a master: an encoder that is told all that the source says of its own, and frames as it takes them.

It knows neither sound nor what may be delivered how (`delivery`), and writes no packet (`master`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from av.codec.context import Flags

from dubbing.clock import Timeline
from dubbing.media.alone import beside
from dubbing.media.colour import HDR, narrowed, planes_of
from dubbing.media.delivery import Delivery
from dubbing.media.encoders import Encoding, usual_priority
from dubbing.media.film import Film
from dubbing.media.group_writer import GroupWriter
from dubbing.media.groups import Ground, GroupsRefused
from dubbing.media.probe import VideoInfo
from dubbing.media.prores import Box
from dubbing.media.tags import kept_tags

__all__ = ["MadePicture", "describe", "half", "shown_as", "steady"]

_DEFAULTS: dict[str, tuple[str | int, float]] = {
    "libx264": ("superfast", 16.0), "libx265": ("ultrafast", 14.0), "libsvtav1": (8, 20.0),
}  # fmt: skip
_DRAFT: dict[str, tuple[str | int, float]] = {
    "libx264": ("ultrafast", 26.0), "libx265": ("ultrafast", 26.0), "libsvtav1": (12, 40.0),
}  # fmt: skip
_ENCODER_THREADS = 8
_STEADY_S = Fraction(2, 1000)
_ENCODER_DELAY = 2  # by how many pictures a pyramid of B-frames is coded ahead of showing, at most


class MadePicture:
    """The picture of one master, packet by packet. stream: of `output`, which may be a file that is never written;
    copies: whether the source's own packets stand in it beside new ones (one by one: `alone`, or in groups, which
    `groups` writes), else every picture is encoded; refused: why they do not though they were to, in a sentence, or
    ''."""

    def __init__(
        self, output: Any, made: Encoding, video: VideoInfo, film: Film, timeline: Timeline, threads: int, draft: bool,
        base: Ground | None = None,
    ) -> None:  # fmt: skip
        """base: of the film, where groups of its pictures are to be copied (`groups.ground`)."""
        self._made, self._timeline, self.refused = made, timeline, ""
        self._beside = beside(output, film, made, timeline) if made.alike and not draft else None
        if self._beside is None and made.alike and made.untouched == "copy" and not draft:
            self.refused = GroupsRefused("an encoder's cannot stand beside them").sentence(film.path)
        self.groups: GroupWriter | None = None
        if base is not None and made.grouped and not draft:
            try:
                self.groups = GroupWriter(
                    output, film, timeline, base, _ENCODER_DELAY if steady(timeline) else 0,
                    lambda options: _open_encoder(made, video, film, timeline, threads, options),
                )  # fmt: skip
            except GroupsRefused as e:
                self.refused = e.sentence(film.path)
        self.copies = self._beside is not None or self.groups is not None
        if self._beside is not None:
            self.stream = self._beside.stream
        elif self.groups is not None:
            self.stream = self.groups.stream
        else:
            self.stream = _encoder(output, made, video, film, timeline, threads, draft)
        self._size = (self.stream.width, self.stream.height) if draft else None

    def packets(self, number: int, packet: Any, frame: Any, parts: Sequence[Box]) -> Iterable[Any]:
        """What comes out when the next picture goes in, with its times. packet: the source's, where pictures are
        copied one by one, or a `Copied` one of a group; frame: decoded, with its patches in it; parts: where these are,
        where pictures are copied one by one."""
        if self._beside is not None:
            return [self.timed(self._beside.packet(number, frame, packet, parts), number)]
        if self.groups is not None and packet is not None:
            return self.groups.copy(packet)
        frame.pts, frame.time_base = int(self._timeline.pts[number]), self._timeline.time_base
        return self._encoded(frame)

    @property
    def encoding(self) -> Encoding:
        """How it is made."""
        return self._made

    @property
    def header(self) -> bytes:
        """What the encoder says before its first packet; nothing where the source's own packets stand alone."""
        alone = self.copies and self.groups is None
        return b"" if alone else bytes(self.stream.codec_context.extradata or b"")

    def rest(self) -> Iterable[Any]:
        """What is left in the encoder after the last picture."""
        if self.groups is not None:
            return self.groups.flush()
        return [] if self.copies else self._encoded(None)

    def timed(self, packet: Any, number: int) -> Any:
        """A packet of picture `number` with its times."""
        packet.pts = packet.dts = int(self._timeline.pts[number])
        packet.time_base, packet.stream = self._timeline.time_base, self.stream
        return packet

    def _encoded(self, frame: Any) -> Iterable[Any]:
        shown = None if frame is None else shown_as(frame, self._made, self._size)
        if self.groups is not None:
            return self.groups.encode(shown)
        with usual_priority():
            made: Iterable[Any] = self.stream.encode(shown)
        return made


def _encoder(
    output: Any,
    wanted: Encoding,
    video: VideoInfo,
    film: Film,
    timeline: Timeline,
    threads: int,
    draft: bool,
) -> Any:
    """The encoder's stream, with everything that the source says about its picture."""
    made = _draft_of(wanted) if draft else wanted
    if made.encoder.name == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # errors only: else it tells its settings on stderr
    stream = output.add_stream(made.encoder.name, rate=timeline.rate)
    stream.options = _tell(stream.codec_context, made, video, film, timeline, threads, draft)
    stream.time_base = timeline.time_base
    if made.tag:
        stream.codec_context.codec_tag = made.tag
    return stream


def _open_encoder(
    made: Encoding, video: VideoInfo, film: Film, timeline: Timeline, threads: int, options: Mapping[str, str]
) -> Any:
    """The same encoder without a stream, opened, its header apart from its packets. options: further ones; those of
    x264-params are added to its own."""
    encoder: Any = av.CodecContext.create(made.encoder.name, "w")
    own = _tell(encoder, made, video, film, timeline, threads, False)
    encoder.framerate = timeline.rate
    encoder.flags |= Flags.global_header
    for name, value in options.items():
        own[name] = f"{own[name]}:{value}" if name in own else value
    encoder.options = own
    with usual_priority():
        encoder.open()
    return encoder


def _tell(
    ctx: Any, made: Encoding, video: VideoInfo, film: Film, timeline: Timeline, threads: int, draft: bool
) -> dict[str, str]:
    """Tell an encoder everything that the source says about its picture; what comes back is told by name."""
    turned = made.converts
    matrix = video.matrix if turned is None else turned.matrix
    width, height = half(video.width, video.height, made.encoder.least) if draft else (video.width, video.height)
    ctx.width, ctx.height, ctx.pix_fmt = width, height, made.pix_fmt
    ctx.time_base = timeline.time_base
    ctx.sample_aspect_ratio = video.sample_aspect * Fraction(video.width * height, video.height * width)
    ctx.color_primaries, ctx.color_trc, ctx.colorspace = (
        2 if value is None else value for value in (video.primaries, video.transfer, matrix)
    )
    ctx.color_range = video.range or 0 if turned is None else 2 if turned.full_after else 1
    if not draft:
        ctx.field_order = film.stream.codec_context.field_order
    ctx.gop_size = 1 if made.encoder.intra else max(1, round(2 * timeline.rate))
    ctx.thread_count = threads or _ENCODER_THREADS
    options = {**made.options, **({} if draft else made.marks)}
    if made.encoder.name in _DEFAULTS:
        default_preset, default_crf = _DEFAULTS[made.encoder.name]
        if draft and made.encoder.name in _DRAFT:
            default_preset, default_crf = _DRAFT[made.encoder.name]
        options["preset"] = str(default_preset if made.preset is None else made.preset)
        if not made.bit_rate:
            options["crf"] = f"{default_crf if made.crf is None else made.crf:g}"
        if video.chroma_location is not None:
            options["chroma_sample_location"] = video.chroma_location
    if made.bit_rate:
        ctx.bit_rate = made.bit_rate
        if made.encoder.name == "libsvtav1":  # else what a picture gets depends on which thread comes first
            options["svtav1-params"] = ":".join(filter(None, (options.get("svtav1-params"), "lp=1")))
    if not steady(timeline):
        ctx.max_b_frames = 0
    if made.encoder.name == "libx264" and (video.mastering or video.light):
        said = [options.get("x264-params", "")]
        said += [f"mastering-display={video.mastering}"] if video.mastering else []
        said += ["cll={},{}".format(*video.light)] if video.light else []
        options["x264-params"] = ":".join(filter(None, said))
    if made.encoder.name == "libx265":
        options["x265-params"] = _x265(video, threads or _ENCODER_THREADS)
        options["a53cc"] = "1"  # captions, which x264 keeps without being told
    return options


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


def describe(stream: Any, plan: Delivery, video: VideoInfo, film: Film) -> None:
    """What a container says about a picture stream, whoever made its pictures."""
    if video.matrix9 is not None:
        stream.set_display_matrix(video.matrix9)
    stream.metadata.update(kept_tags(film.stream.metadata, plan.muxer))
    if video.start_tc is not None:
        stream.metadata["timecode"] = video.start_tc
    stream.disposition = film.stream.disposition


def shown_as(frame: Any, made: Encoding, size: tuple[int, int] | None) -> Any:
    """A decoded frame as a master's encoder takes it. size: (width, height) where it is another than the film's."""
    if size is not None and size != (frame.width, frame.height):
        frame = _smaller(frame, *size)
    frame = narrowed(frame, made.pix_fmt) if made.converts is None else made.converts.of(frame)
    frame.pict_type = 0
    return frame


def _draft_of(made: Encoding) -> Encoding:
    """The same for a draft: DNxHD knows only some sizes, of which half is none; DNxHR knows all."""
    if made.codec != "dnxhd" or "profile" in made.options:
        return made
    profile = "dnxhr_sq" if made.pix_fmt == "yuv422p" else "dnxhr_hqx"
    return replace(made, options={**made.options, "profile": profile}, bit_rate=0, tag="")


def half(width: int, height: int, least: tuple[int, int]) -> tuple[int, int]:
    """Half of a picture's sides, even; the whole where that would be less than 32 pixels, or than the encoder takes."""
    sides = (width // 4 * 2, height // 4 * 2)
    return sides if min(sides) >= 32 and sides[0] >= least[0] and sides[1] >= least[1] else (width, height)


def _smaller(frame: Any, width: int, height: int) -> Any:
    """A planar frame in another size, by the mean of what each pixel covers."""
    made = av.VideoFrame(width, height, frame.format.name)
    for there, here in zip(planes_of(made), planes_of(frame), strict=True):
        there[:] = cv2.resize(here, there.shape[::-1], interpolation=cv2.INTER_AREA)
    made.pts, made.time_base = frame.pts, frame.time_base
    made.color_range, made.colorspace = frame.color_range, frame.colorspace
    made.color_primaries, made.color_trc = frame.color_primaries, frame.color_trc
    return made


def steady(timeline: Timeline) -> bool:
    """Whether the frame rate is constant, but for the rounding of a coarse time base.

    Variable-rate film is encoded without B-frames, so that containers that store durations in
    decoding order (mp4) keep the last frame's."""
    steps = np.diff(timeline.pts)
    return len(steps) == 0 or int(steps.max() - steps.min()) * timeline.time_base <= _STEADY_S

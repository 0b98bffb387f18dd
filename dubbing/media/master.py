"""The master: the source decoded once, patches pasted, encoded once, everything else carried over.

Frames, their times, size, aspect, colour tags, turn, timecode, chapters, tags, subtitles and further
picture streams are the source's; its sound streams give way to the dub, which is copied packet by
packet, or written as PCM. Several masters of one dub are made side by side of one decoding. Memory does not grow with
the film. It does not know what may be delivered how (`delivery`) or where patches come from (`paste`).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from dubbing.clock import Timeline
from dubbing.errors import OutputError, UnsupportedMedia
from dubbing.master_choice import MasterChoice
from dubbing.media.alone import Beside, beside, pictures
from dubbing.media.delivery import Delivery, delivery
from dubbing.media.film import Film
from dubbing.media.groups import Ground, GroupsRefused, GroupWriter, ground, group_pictures, not_copied
from dubbing.media.master_picture import add_picture, describe, shown_as, steady
from dubbing.media.master_sound import NOT_TOGETHER, SoundTracks, begins_of, together
from dubbing.media.paste import pasted
from dubbing.media.probe import MediaInfo, local_url, open_media, probe
from dubbing.media.prores import Box
from dubbing.media.read import variable_rate
from dubbing.media.tags import kept_tags

__all__ = ["NO_TEXT", "Mastered", "encode_master", "encode_masters", "refuse_for_mxf", "write_masters"]

_DRAFT_COMMENT = "draft, not for delivery: half size, coarse mouths"
_PROGRESS_FRAMES = 24
NO_TEXT = b"\0\0"
"""How mp4 marks the pause after a subtitle; its muxer writes these itself."""
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
    """Write the master of `source`, as the source is, to `target`; all else as of `encode_masters`. crf and preset: of
    the encoder, where the source's codec has such (None: visually lossless and fast, H.264 superfast 16, HEVC
    ultrafast 14)."""
    plan = delivery(probe(source), probe(sound), tracks)
    plan = replace(plan, picture=replace(plan.picture, crf=crf, preset=preset))
    return write_masters(
        source, timeline, patch_folders, sound, {Path(target): plan}, language=language, threads=threads,
        frames=frames, draft=draft, progress=progress,
    )[0]  # fmt: skip


def encode_masters(
    source: str | Path,
    timeline: Timeline,
    patch_folders: Iterable[str | Path],
    sound: str | Path,
    targets: Mapping[Path, MasterChoice],
    *,
    language: str | None = None,
    tracks: Sequence[int] | None = None,
    threads: int = 0,
    frames: int | None = None,
    draft: bool = False,
    progress: Callable[[int], None] | None = None,
) -> list[Mastered]:
    """Write masters of `source` with patches and dub `sound`, one for each target, decoding the film once.

    timeline: the source's; sound: the dub's file, whose tracks are all delivered, beginning with frame 0; targets: how
    each file is asked for; language: BCP 47 tag of the dub; tracks: numbers, counted from 1, of those that are
    delivered (None: all); threads: encoder threads, 0 for a fixed number, so that the same input gives the same bytes
    on every machine; frames: leave off after so many, where a film is made longer than this dub needs (None: all of
    them, as any source's are); draft: half the width and height, encoded fast and small unless crf and preset say
    otherwise, with a comment among the tags that says so; progress(n): n more frames are done.

    Raises UnsupportedMedia before any work, DamagedMedia by timecode, OutputError when a target cannot be written.
    """
    info, sound_info = probe(source), probe(sound)
    plans = {path: delivery(info, sound_info, tracks, choice) for path, choice in targets.items()}
    return write_masters(
        source, timeline, patch_folders, sound, plans, language=language, threads=threads, frames=frames, draft=draft,
        progress=progress,
    )  # fmt: skip


def write_masters(
    source: str | Path,
    timeline: Timeline,
    patch_folders: Iterable[str | Path],
    sound: str | Path,
    plans: Mapping[Path, Delivery],
    *,
    language: str | None = None,
    threads: int = 0,
    frames: int | None = None,
    draft: bool = False,
    progress: Callable[[int], None] | None = None,
) -> list[Mastered]:
    """As `encode_masters`, of what was decided for each target (`delivery`)."""
    info, sound_info = probe(source), probe(sound)
    for plan in plans.values():
        if plan.muxer == "mxf" and not steady(timeline):
            raise UnsupportedMedia(f"{info.path.name} has a variable frame rate, and MXF has none: ask for `mov`.")
    copies = not draft and any(plan.picture.alike for plan in plans.values())
    base = ground(source) if not draft and any(plan.picture.grouped for plan in plans.values()) else None
    outputs: list[_Output] = []
    with Film(source, 1 if copies else 0) as film, contextlib.ExitStack() as files:
        if copies:
            film.stream.codec_context.thread_type, film.stream.codec_context.thread_count = "SLICE", 0
        try:
            for path, plan in plans.items():
                outputs.append(_Output(path, plan, draft))
                opened = [files.enter_context(open_media(sound)) for _ in plan.sound]
                opened += [files.enter_context(open_media(source)) for _ in plan.kept]
                outputs[-1].open(info, sound_info, film, timeline, threads, opened, sound, language, base)
            film.on_packet = lambda packet: _each(outputs, packet)
            done = told = 0
            shown: Iterable[tuple[int, Any, Any, tuple[Box, ...]]]
            every = any(output.copied is None and output.grouped is None for output in outputs)
            reasons: dict[str, int] = {}
            if base is not None and any(output.grouped for output in outputs):
                shown = group_pictures(film, timeline, patch_folders, base, frames, every, reasons)
            elif any(output.copied for output in outputs):
                alone = pictures(film, timeline, patch_folders, frames, every)
                shown = ((number, *picture) for number, picture in enumerate(alone))
            else:
                whole = enumerate(pasted(film, timeline, patch_folders, frames))
                shown = ((number, None, frame, ()) for number, frame in whole)
            for number, packet, frame, parts in shown:
                for output in outputs:
                    output.take(number, packet, frame, parts)
                done = outputs[0].done
                if progress is not None and done - told >= _PROGRESS_FRAMES:
                    progress(done - told)
                    told = done
            for output in outputs:
                output.finish(reasons)
        except BaseException as e:
            for output in outputs:
                output.abandon()
            if isinstance(e, av.error.FFmpegError | OSError):
                names = " and ".join(map(str, plans))
                raise OutputError(f"The master {names} could not be written: {e.strerror or e}.") from e
            raise
    done = outputs[0].done
    if progress is not None and done > told:
        progress(done - told)
    return [Mastered(output.path, output.done, (*output.plan.notices, *output.told)) for output in outputs]


def _each(outputs: Sequence[_Output], packet: Any) -> None:
    """Pass a packet of another stream on to every master; muxing counts its times in the master's own unit."""
    kept = (packet.stream, packet.pts, packet.dts, packet.duration, packet.time_base)
    for output in outputs:
        packet.stream, packet.pts, packet.dts, packet.duration, packet.time_base = kept
        output.carried.mux(packet)


def refuse_for_mxf(plan: Delivery, film: MediaInfo, sound: MediaInfo) -> None:
    """Raises UnsupportedMedia where MXF cannot hold what the files are, as far as their beginnings tell: a variable
    rate, sound that does not begin with the picture."""
    if variable_rate(film.path):
        raise UnsupportedMedia(f"{film.path.name} has a variable frame rate, which MXF cannot say: ask for mov.")
    start = film.video.start_pts * film.video.time_base if film.video else Fraction(0)
    if not together(*begins_of(plan, sound.path, film.path), start):
        raise UnsupportedMedia(NOT_TOGETHER.format(sound.path))


class _Output:
    """One master on its way. done: how many of its pictures are written; told: sentences for the user."""

    def __init__(self, path: Path, plan: Delivery, draft: bool) -> None:
        self.path, self.plan, self._draft = path, plan, draft
        self._file: Any = None
        self.copied: Beside | None = None
        self.grouped: GroupWriter | None = None
        self.done = 0
        self.told: list[str] = []

    def open(
        self, info: MediaInfo, sound_info: MediaInfo, film: Film, timeline: Timeline, threads: int,
        files: Sequence[Any], sound: str | Path, language: str | None, base: Ground | None,
    ) -> None:  # fmt: skip
        """Begin the file, with all of its streams. files: the dub's, opened once for each
        of its tracks, then the film's for each of those that are kept; base: of groups that are to be copied."""
        assert info.video is not None
        plan, self._timeline = self.plan, timeline
        start = int(timeline.pts[0]) * timeline.time_base
        at_zero = start == 0 and together(*begins_of(plan, sound, film.path), start)
        self._file = _open_output(self.path, plan, info, sound_info, timeline, self._draft, at_zero)
        alike = plan.picture.alike and not self._draft
        self.copied = beside(self._file, film, plan.picture, timeline) if alike else None
        if base is not None and plan.picture.grouped:
            try:
                self.grouped = GroupWriter(self._file, film, plan, info.video, timeline, threads, base)
            except GroupsRefused as e:
                self.told.append(e.sentence(film.path))
        one = self.copied or self.grouped
        if one is not None:
            self._picture = one.stream
        else:
            self._picture = add_picture(self._file, plan, info.video, film, timeline, threads, self._draft)
        self._size = (self._picture.width, self._picture.height) if self._draft else None
        describe(self._picture, plan, info.video, film)
        self._sound = SoundTracks(self._file, plan, files, sound, film.path, timeline)
        self._sound.tag(language)
        self.carried = _Carried(self._file, film, plan.left_out)
        self._file.set_chapters(film.container.chapters())

    def take(self, number: int, packet: Any, frame: Any, parts: tuple[Box, ...]) -> None:
        """The next picture. packet: the source's, where pictures are copied, or one of a group that is; frame: decoded,
        with its patches in it; parts: where these are, where pictures are copied one by one."""
        if self.copied is not None:
            made = self.copied.packet(number, frame, packet, parts)
            made.pts = made.dts = int(self._timeline.pts[number])
            made.time_base, made.stream = self._timeline.time_base, self._picture
            self._mux([made])
        elif self.grouped is not None and packet is not None:
            self._mux(self.grouped.copy(packet))
        else:
            frame.pts, frame.time_base = int(self._timeline.pts[number]), self._timeline.time_base
            if self.grouped is not None:
                self._mux(self.grouped.encode(frame))
            else:
                self._mux(self._picture.encode(shown_as(frame, self.plan, self._size)))

    def finish(self, reasons: Mapping[str, int]) -> None:
        """Write what is left, and the file's end. reasons: why groups without a patch were not copied."""
        if self.grouped is not None:
            self._mux(self.grouped.flush())
            self.told += not_copied(self.path, reasons)
        elif self.copied is None:
            self._mux(self._picture.encode(None))
        self._sound.mux_until(None)
        self._file.close()

    def abandon(self) -> None:
        """Remove the file."""
        if self._file is not None:
            with contextlib.suppress(Exception):
                self._file.close()
        self.path.unlink(missing_ok=True)

    def _mux(self, packets: Iterable[Any]) -> None:
        """Write encoded frames with their exact durations, and the sound that belongs before them."""
        line = self._timeline
        for packet in packets:
            number = int(np.searchsorted(line.pts, packet.pts))
            following = line.end_pts if number + 1 >= len(line) else int(line.pts[number + 1])
            packet.duration = following - packet.pts
            self._sound.mux_until(Fraction(packet.dts) * line.time_base)
            self._file.mux(packet)
            self.done += 1


def _open_output(
    target: str | Path, plan: Delivery, info: MediaInfo, sound_info: MediaInfo, timeline: Timeline, draft: bool,
    at_zero: bool,
) -> Any:  # fmt: skip
    """The output container with the source's tags and time scale.

    In mp4 and mov a start other than zero, of the picture or of a track, is counted in the movie's time scale: one that
    holds both the picture's ticks and the sound's samples keeps them together to the sample. at_zero: all begin there.
    """
    options = {"fflags": "+bitexact", "avoid_negative_ts": "disabled"}
    if plan.muxer != "matroska":
        scale = timeline.time_base.denominator
        rates = {track.rate_hz for track in sound_info.audio if track.index in {one.stream for one in plan.sound}}
        rates |= {track.rate_hz for track in info.audio if track.index in {one.stream for one in plan.kept}}
        both = math.lcm(scale, *rates)
        movie = scale if at_zero else both if both < 1 << 31 else max(scale, *rates)
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


class _Carried:
    """Streams that pass from the source as they are: subtitles, further pictures, covers, attachments."""

    def __init__(self, output: Any, film: Film, left_out: frozenset[int]) -> None:
        self._output = output
        self._streams: dict[int, Any] = {}
        for stream in film.container.streams:
            if (
                stream is film.stream
                or stream.index in left_out
                or stream.type not in ("video", "subtitle", "attachment")
            ):
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

"""A master's file on its way: its container with all that the source says, packets of picture and sound in their order,
and the streams that pass from the source as they are.

Their packets are made elsewhere (`master_picture`). It knows no patches.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from dubbing.clock import Timeline
from dubbing.media.delivery import Delivery
from dubbing.media.encoders import usual_priority
from dubbing.media.film import Film
from dubbing.media.groups import Ground
from dubbing.media.master_picture import MadePicture, describe
from dubbing.media.master_sound import SoundTracks, begins_of, together
from dubbing.media.probe import MediaInfo, local_url
from dubbing.media.tags import kept_tags

__all__ = ["NO_TEXT", "MasterFile", "carry"]

_DRAFT_COMMENT = "draft, not for delivery: half size, coarse mouths"
NO_TEXT = b"\0\0"
"""How mp4 marks the pause after a subtitle; its muxer writes these itself."""
_ITUNES = {
    "title", "artist", "album_artist", "album", "composer", "comment", "date", "genre", "copyright", "grouping",
    "lyrics", "description", "synopsis", "show", "episode_id", "network", "keywords", "track", "disc", "media_type",
    "hd_video", "gapless_playback", "compilation", "episode_sort", "season_number", "rating", "creation_time",
}  # fmt: skip


def carry(outputs: Sequence[MasterFile], packet: Any) -> None:
    """Pass a packet of another stream on to every master; muxing counts its times in the master's own unit."""
    kept = (packet.stream, packet.pts, packet.dts, packet.duration, packet.time_base)
    for output in outputs:
        packet.stream, packet.pts, packet.dts, packet.duration, packet.time_base = kept
        output.carried.mux(packet)


class MasterFile:
    """One master on its way. done: how many of its pictures are written."""

    def __init__(self, path: Path, plan: Delivery, draft: bool) -> None:
        self.path, self.plan, self._draft = path, plan, draft
        self._file: Any = None
        self.carried: Any = None
        self.done = 0

    def open(
        self, info: MediaInfo, sound_info: MediaInfo, film: Film, timeline: Timeline, threads: int,
        files: Sequence[Any], sound: str | Path, language: str | None, base: Ground | None = None,
    ) -> None:  # fmt: skip
        """Begin the file, with all of its streams. files: the dub's, opened once for each
        of its tracks, then the film's for each of those that are kept; base: as of `MadePicture`."""
        assert info.video is not None
        plan, self._timeline = self.plan, timeline
        start = int(timeline.pts[0]) * timeline.time_base
        at_zero = start == 0 and together(*begins_of(plan, sound, film.path), start)
        self._file = _open_output(self.path, plan, info, sound_info, timeline, self._draft, at_zero)
        self.picture = MadePicture(self._file, plan.picture, info.video, film, timeline, threads, self._draft, base)
        describe(self.picture.stream, plan, info.video, film)
        self._sound = SoundTracks(self._file, plan, files, sound, film.path, timeline)
        self._sound.tag(language)
        self.carried = _Carried(self._file, film, plan.left_out)
        self._file.set_chapters(film.container.chapters())

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know."""
        return self.plan.notices

    def take(self, packets: Iterable[Any]) -> None:
        """The next packets of the picture, with their times: they are written with their exact durations, and the sound
        that belongs before them."""
        line = self._timeline
        for packet in packets:
            number = int(np.searchsorted(line.pts, packet.pts))
            following = line.end_pts if number + 1 >= len(line) else int(line.pts[number + 1])
            packet.duration, packet.stream = following - packet.pts, self.picture.stream
            self._sound.mux_until(Fraction(packet.dts) * line.time_base)
            self._file.mux(packet)
            self.done += 1

    def header(self) -> bytes:
        """What the encoder of the picture says before its first packet; nothing may be added to the file any more."""
        with usual_priority():
            self._file.start_encoding()
        return bytes(self.picture.stream.codec_context.extradata or b"")

    def finish(self) -> None:
        """Write the sound that is left, and the file's end."""
        self._sound.mux_until(None)
        self._file.close()

    def abandon(self) -> None:
        """Remove the file."""
        if self._file is not None:
            with contextlib.suppress(Exception):
                self._file.close()
        self.path.unlink(missing_ok=True)


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

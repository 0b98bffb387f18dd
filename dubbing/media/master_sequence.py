"""A master that is one file a picture, in a folder, with the dub's sound as WAV beside them.

Where the source is such a sequence, a picture without a patch is the source's own file: a clone where the disk can make
one, else a hard link, else a copy. It knows how files are numbered and written whole, not what is in them
(`numbered_files`).
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from dubbing.clock import Timecode, Timeline, samples_at
from dubbing.errors import several
from dubbing.media.delivery import Delivery
from dubbing.media.encoders import Encoding
from dubbing.media.film import Film
from dubbing.media.groups import Ground
from dubbing.media.master_file import MasterFile
from dubbing.media.master_picture import MadePicture, half, shown_as
from dubbing.media.master_sound import SoundTracks, begins_of
from dubbing.media.numbered import planar
from dubbing.media.numbered_files import new_file, rewritten
from dubbing.media.probe import MediaInfo, VideoInfo, local_url
from dubbing.media.prores import Box

__all__ = ["PictureFiles", "SequencePicture", "sound_name"]

_CLONE = 0x40049409  # FICLONE of Linux
_DIGITS = 7
_CANNOT = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EACCES, errno.EINVAL)


def sound_name(master: str, track: int = 1) -> str:
    """The name of a sequence's sound: of `reel.fr.dpx` `reel.fr.wav`, of its second track `reel.fr.2.wav`."""
    stem = master.rpartition(".")[0]
    return f"{stem}.wav" if track == 1 else f"{stem}.{track}.wav"


class SequencePicture(MadePicture):
    """The pictures of such a master: each packet is a file. copies: whether they are the source's own where nobody
    changed them."""

    def __init__(self, made: Encoding, video: VideoInfo, film: Film, timeline: Timeline, draft: bool) -> None:
        self._made, self._timeline, self._video, self._film = made, timeline, video, film
        self.copies = made.alike and not draft
        self.groups, self.refused = None, ""
        self.stream = None
        self._start = Timecode.parse(timeline.start_tc, timeline.rate)
        self._size = half(video.width, video.height, (1, 1)) if draft else None

    @property
    def header(self) -> bytes:
        return b""

    def packets(self, number: int, packet: Any, frame: Any, parts: Sequence[Box]) -> Iterable[Any]:
        if self.copies and not parts:
            return [self.timed(packet, number)]
        if self.copies:
            before = planar(packet.decode()[0])  # once more: the patches are in the frame itself
            path = self._film.sequence.file(number) if self._film.sequence else self._film.path
            data = rewritten(self._made.codec, bytes(packet), before, frame, tuple(parts), path)
        else:
            data = new_file(
                self._made.codec, shown_as(frame, self._made, self._size),
                self._start + number if self._video.start_tc else None, self._timeline.rate, self._video.transfer,
                self._video.primaries, self._start.frames + number,
            )  # fmt: skip
        return [self.timed(av.Packet(data), number)]

    def rest(self) -> Iterable[Any]:
        return []

    def timed(self, packet: Any, number: int) -> Any:
        packet.pts = packet.dts = int(self._timeline.pts[number])
        packet.time_base = self._timeline.time_base
        return packet


class PictureFiles(MasterFile):
    """One master on its way. path: its folder, which is not there yet; done: how many of its pictures are written."""

    def __init__(self, path: Path, plan: Delivery, draft: bool) -> None:
        super().__init__(path, plan, draft)
        self._film: Film | None = None

    def open(
        self, info: MediaInfo, sound_info: MediaInfo, film: Film, timeline: Timeline, threads: int,
        files: Sequence[Any], sound: str | Path, language: str | None, base: Ground | None = None,
    ) -> None:  # fmt: skip
        assert info.video is not None
        self.path.mkdir(parents=True)
        self._film, self._timeline = film, timeline
        self.picture = SequencePicture(self.plan.picture, info.video, film, timeline, self._draft)
        self.carried = self
        self._how: dict[str, int] = {}
        self._tracks = list(zip((*self.plan.sound, *self.plan.kept), files, strict=True))
        self._heard = (sound, film.path)

    def take(self, packets: Iterable[Any]) -> None:
        """The next pictures, each as the bytes of its file. One that is the source's own is not written again."""
        assert self._film is not None
        sequence = self._film.sequence if self.picture.copies else None
        first = Timecode.parse(self._timeline.start_tc, self._timeline.rate).frames
        for packet in packets:
            number, data = int(np.searchsorted(self._timeline.pts, packet.pts)), bytes(packet)
            if sequence is None:
                name = f"{self.path.name.rpartition('.')[0]}.{first + number:0{_DIGITS}d}{self.plan.extension}"
                (self.path / name).write_bytes(data)
            elif sequence.file(number).stat().st_size == len(data) and sequence.file(number).read_bytes() == data:
                how = _same(sequence.file(number), self.path / sequence.name(number))
                self._how[how] = self._how.get(how, 0) + 1
            else:
                (self.path / sequence.name(number)).write_bytes(data)
            self.done += 1

    def mux(self, packet: Any) -> None:
        """A packet of another stream: nothing carries it."""

    def header(self) -> bytes:
        return b""

    def finish(self) -> None:
        """Write the sound: a WAV of each track, which says at which sample of the day it begins."""
        line = self._timeline
        seconds = Fraction(Timecode.parse(line.start_tc, line.rate).frames) / line.rate
        own, kept = begins_of(self.plan, *self._heard)
        late = [begin - min(own) for begin in own] + kept
        for n, (one, file) in enumerate(self._tracks):
            rate_hz = file.streams[one.stream].codec_context.sample_rate
            output = av.open(
                local_url(self.path / sound_name(self.path.name, n + 1)), "w", format="wav",
                container_options={"fflags": "+bitexact", "write_bext": "1", "rf64": "auto"},
            )  # fmt: skip
            output.metadata["time_reference"] = str(samples_at(seconds + late[n], rate_hz))
            dubs = n < len(own)
            plan = replace(self.plan, sound=(one,) if dubs else (), kept=() if dubs else (one,))
            SoundTracks(output, plan, [file], *self._heard, line).mux_until(None)
            output.close()

    def abandon(self) -> None:
        """Remove the folder, where it is this master's."""
        if self._film is not None:
            shutil.rmtree(self.path, ignore_errors=True)

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know, with what became of the pictures that nobody changed."""
        told = [f"{several(count, 'picture')} {how}" for how, count in sorted(self._how.items())]
        warned = " A hard link is the source's file itself: change none in place." if "hard links" in str(told) else ""
        own = (f"{self.path.name}: of the source's own files, {', '.join(told)}.{warned}",) if told else ()
        return self.plan.notices + own


def _same(source: Path, target: Path) -> str:
    """Put a file at another place too, the cheapest way that the disk has; returns which that was."""
    with source.open("rb") as there, target.open("xb") as here:
        try:
            fcntl.ioctl(here.fileno(), _CLONE, there.fileno())
            return "are clones"
        except OSError as e:
            if e.errno not in (*_CANNOT, errno.ENOTTY):
                raise
    target.unlink()
    try:
        os.link(source.resolve(), target)
    except OSError as e:
        if e.errno not in _CANNOT:
            raise
        shutil.copy2(source, target)
        return "are copies"
    return "are hard links"

"""A master that is one file a picture, in a folder, with the dub's sound as WAV beside them.

Where the source is such a sequence, a picture without a patch is the source's own file: a clone where the disk can make
one, else a hard link, else a copy. It knows how files are numbered and written whole, not what is in them
(`numbered_files`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from dubbing.clock import Timecode, Timeline, samples_at
from dubbing.errors import several
from dubbing.media.delivery import Delivery
from dubbing.media.film import Film
from dubbing.media.master_picture import half, shown_as
from dubbing.media.master_sound import SoundTracks, begins_of
from dubbing.media.numbered import planar
from dubbing.media.numbered_files import new_file, rewritten
from dubbing.media.probe import MediaInfo, local_url
from dubbing.media.prores import Box

__all__ = ["PictureFiles", "sound_name"]

_CLONE = 0x40049409  # FICLONE of Linux
_DIGITS = 7
_CANNOT = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EACCES, errno.EINVAL)


def sound_name(master: str, track: int = 1) -> str:
    """The name of a sequence's sound: of `reel.fr.dpx` `reel.fr.wav`, of its second track `reel.fr.2.wav`."""
    stem = master.rpartition(".")[0]
    return f"{stem}.wav" if track == 1 else f"{stem}.{track}.wav"


class PictureFiles:
    """One master on its way, as `master` writes it beside others. path: its folder; done: how many of its pictures are
    written."""

    def __init__(self, path: Path, plan: Delivery, draft: bool) -> None:
        self.path, self.plan, self._draft = path, plan, draft
        self.done = 0
        self.carried = self
        self.copied: PictureFiles | None = self if plan.picture.alike and not draft else None
        self._how: dict[str, int] = {}

    def open(
        self, info: MediaInfo, sound_info: MediaInfo, film: Film, timeline: Timeline, threads: int,
        files: Sequence[Any], sound: str | Path, language: str | None,
    ) -> None:  # fmt: skip
        """Begin the folder. files: the dub's, opened once for each of its tracks, then the film's for each of those
        that are kept."""
        assert info.video is not None
        self.path.mkdir(parents=True)
        self._video, self._film, self._timeline = info.video, film, timeline
        self._start = Timecode.parse(timeline.start_tc, timeline.rate)
        self._size = half(info.video.width, info.video.height, (1, 1)) if self._draft else None
        self._sounds = list(zip((*self.plan.sound, *self.plan.kept), files, strict=True))
        self._sound, self._own = (sound, film.path), len(self.plan.sound)

    def mux(self, packet: Any) -> None:
        """A packet of another stream: nothing carries it."""

    def take(self, number: int, packet: Any, frame: Any, parts: tuple[Box, ...]) -> None:
        """The next picture. packet: the source's, where it is a sequence of the same kind; frame: decoded, with its
        patches in it; parts: where these are."""
        sequence = self._film.sequence
        if self.copied is None or sequence is None:
            name = f"{self.path.name.rpartition('.')[0]}.{self._start.frames + number:0{_DIGITS}d}{self.plan.extension}"
            shown = shown_as(frame, self.plan, self._size)
            code = self._start + number if self._video.start_tc else None
            data = new_file(
                self.plan.picture.codec, shown, code, self._timeline.rate, self._video.transfer, self._video.primaries,
                self._start.frames + number,
            )  # fmt: skip
            (self.path / name).write_bytes(data)
        elif not parts:
            how = _same(sequence.file(number), self.path / sequence.name(number))
            self._how[how] = self._how.get(how, 0) + 1
        else:
            path, data = sequence.file(number), bytes(packet)
            before = planar(packet.decode()[0])  # once more: the patches are in the frame itself
            (self.path / sequence.name(number)).write_bytes(
                rewritten(self.plan.picture.codec, data, before, frame, parts, path)
            )
        self.done += 1

    def finish(self) -> None:
        """Write the sound: a WAV of each track, which says at which sample of the day it begins."""
        seconds = Fraction(self._start.frames) / self._timeline.rate
        own, kept_own = begins_of(self.plan, *self._sound)
        late = [begin - min(own) for begin in own] + kept_own
        for n, (one, file) in enumerate(self._sounds):
            kept = n >= self._own
            output = av.open(
                local_url(self.path / sound_name(self.path.name, n + 1)), "w", format="wav",
                container_options={"fflags": "+bitexact", "write_bext": "1", "rf64": "auto"},
            )  # fmt: skip
            rate_hz = file.streams[one.stream].codec_context.sample_rate
            output.metadata["time_reference"] = str(samples_at(seconds + late[n], rate_hz))
            plan = replace(self.plan, sound=() if kept else (one,), kept=(one,) if kept else ())
            tracks = SoundTracks(output, plan, [file], self._sound[0], self._sound[1], self._timeline)
            tracks.mux_until(None)
            output.close()

    def abandon(self) -> None:
        """Remove the folder."""
        with contextlib.suppress(OSError):
            shutil.rmtree(self.path)

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

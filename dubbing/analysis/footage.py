"""What the picture of a title is: its own film, or the film that is made of its photograph.

A photograph has no length of its own: each dub gives one, rounded up to whole frames. One film is made for
all dubs of a title, as long as the longest needs, because analysis is shared; each master ends where
its own dub does. The stage `still` decides what the film looks like.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from dubbing import media
from dubbing.clock import Timeline
from dubbing.errors import ManifestError, MediaError, OutputError, blaming, several
from dubbing.manifest import Still, Title
from dubbing.remote import Uri
from dubbing.store import Store, read_json

__all__ = ["MadeOf", "Sounds", "made_of"]

_INAUDIBLE = 1e-3  # -60 dBFS, as the audio stage has it


@dataclass(frozen=True)
class MadeOf:
    """The film that a photograph becomes. info: what `media.probe` will find in it; frames: of each dub's master, by
    language; settings: the title's `still`; notices: what differs from the photograph."""

    info: media.MediaInfo
    frames: Mapping[str, int]
    settings: Still
    notices: tuple[str, ...]

    @property
    def rate(self) -> Fraction:
        return Fraction(self.settings.rate)

    @property
    def length(self) -> int:
        """Frames of the film: as many as the longest dub needs."""
        return max(self.frames.values())

    def line(self, language: str | None = None) -> Timeline:
        """When each frame of one dub's master is shown; of the whole film where no language is given."""
        count = self.frames[language] if language else self.length
        return Timeline(np.arange(count, dtype=np.int64), 1 / self.rate, count, self.rate)


class Sounds:
    """Lengths and peaks of decoded sounds, of all tracks of a file, and what its fields hold. Where the output folder
    exists they are remembered in it by path, size and time, so that a run that goes on does not decode them again; the
    file may be deleted."""

    def __init__(self, out: Path) -> None:
        self._file = out / ".sounds.json"
        self._known: dict[str, list[Any]] = {}
        with suppress(OSError, ValueError):
            self._known = dict(read_json(self._file))

    def length(self, path: Path) -> int:
        """Decoded samples of the longest sound track, at the first one's rate. Raises MediaError where nothing can be
        heard in any."""
        samples, peak = self._decoded(path)
        if peak <= _INAUDIBLE:
            raise MediaError(
                f"{path} has no sound in it: none of its {several(samples, 'sample')} is louder than -60 dBFS."
            )
        return samples

    def peak(self, path: Path) -> float:
        """The largest sample of all sound tracks; 1.0 is full scale. Raises DamagedMedia for one that is no number."""
        return self._decoded(path)[1]

    def carriage(self, path: Path) -> media.Carriage:
        """What an interlaced film really holds. Raises MediaError where it cannot be opened."""
        name = f"{path} (fields)"
        stamp, known = _stamp(path), self._known.get(name)
        with suppress(TypeError, ValueError):
            if known is not None and known[:2] == stamp:
                return media.Carriage(*known[2:])
        found = media.carriage(path)
        self._known[name] = [*stamp, *astuple(found)]
        self._remember()
        return found

    def _decoded(self, path: Path) -> tuple[int, float]:
        name, stamp = str(path), _stamp(path)
        known = self._known.get(name)
        if isinstance(known, list) and len(known) == 4 and known[:2] == stamp:
            return int(known[2]), float(known[3])
        samples, peak = 0, 0.0
        tracks = media.probe(path).audio
        for track in tracks:
            count = 0
            for block in media.sound_blocks(path, None, mono=False, align_to_video=False, stream_index=track.index):
                count += len(block)
                peak = max(peak, float(np.abs(block).max(initial=0.0)))
            samples = max(samples, round(count * tracks[0].rate_hz / track.rate_hz))
        self._known[name] = [*stamp, samples, round(peak, 6)]
        if peak > _INAUDIBLE:
            self._remember()
        return samples, peak

    def _remember(self) -> None:
        if self._file.parent.is_dir():
            with suppress(OutputError):
                Store(self._file.parent).write_json(self._file, self._known)


def _stamp(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def made_of(title: Title, local: Callable[[Path | Uri], Path], sounds: Sounds) -> MadeOf | None:
    """How a title's film is made of its photograph; None where its picture is a film.

    local: where a file of the manifest lies on this machine. Raises ManifestError for settings that do not belong
    together, MediaError for a photograph or a sound that cannot be used.
    """
    path = local(title.video)
    if not media.is_photograph(path):
        if title.still is not None:
            raise ManifestError(f"{title.video} is a film; 'still' is for photographs: remove it.", at=("still",))
        return None
    if title.shots is not None:
        raise ManifestError(f"{title.video} is a photograph, which has no cuts; remove 'shots'.", at=("shots",))
    if title.expression is not None:
        raise ManifestError(
            f"{title.video} is a photograph, whose 'expression' stands under 'still'; write it there.",
            at=("expression",),
        )
    photograph = media.read_photograph(path)
    settings = title.still or Still()
    rate = Fraction(settings.rate)
    frames = {}
    for n, dub in enumerate(title.dubs):
        with blaming("dubs", n, "audio"):
            sound = local(dub.audio)
            info = media.probe(sound)
            if not info.audio:
                raise MediaError(f"{dub.audio} has no sound stream; 'audio' must be the {dub.language} mix.")
            lasts_s = Fraction(sounds.length(sound), info.audio[0].rate_hz)
        frames[dub.language] = max(1, -int(-lasts_s * rate // 1))
    film = media.film_of(path, photograph, rate, max(frames.values()))
    return MadeOf(film, frames, settings, photograph.notices)

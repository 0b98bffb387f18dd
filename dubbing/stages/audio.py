"""Audio: what drives or judges the lips: 16 kHz mono samples, and where in them someone speaks.

The same work for a dub (its dialogue, or its mix) and for the film's own sound. It knows no faces. A long sound that
is one file is listened to by a task of its own, which waits for nothing, while the film's shots are found; another then
lays it along them. It is not cut into windows: what is heard at a time depends on all that was heard before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import numpy as np

from dubbing import media, phones
from dubbing.analysis import dialogue
from dubbing.analysis.crosstalk import copied, gate
from dubbing.analysis.speech import Listener, samples16, speech_ranges
from dubbing.artifact import File, Ref
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.sound import DubSound, Sound, SourceSound, new_wave, save_phones, save_speech, sound_of
from dubbing.clock import Timeline, joined
from dubbing.errors import ManifestError, MediaError
from dubbing.manifest import Original
from dubbing.records import Shot
from dubbing.sound import RATE_HZ
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.task import WindowedFilm

__all__ = ["LONG_S", "Audio", "DubAudio", "DubAudioInputs", "SourceAudio", "SourceAudioInputs", "different_lengths"]

_BLOCK = 1 << 20
LONG_S = 600.0  # of a film: a shorter one's sounds are listened to by one task each
_HEARD, _CHANCE = "heard.int16", "chance.npy"  # what a task that only listens leaves
_PAUSE_S = 0.15  # between phones, in which nobody speaks
MARGIN_S = 0.6  # sound this far outside a shot can still change its lips
_INAUDIBLE = 33  # int16: -60 dBFS


@dataclass(frozen=True)
class SourceAudioInputs(WindowedFilm):
    """The inputs of the stage `source_audio`. The sound is cut or padded to the film's length, and may be silent."""

    sound: File
    """The film."""
    shots: Ref[ShotList] | None
    """The shots, and the film's frames in time; None where it is only listened to, before they are known."""
    track: int | None = field(default=None, kw_only=True)
    """Number of the sound track that is listened to, counted from 1; None to find it."""
    channels: tuple[str, ...] | None = field(default=None, kw_only=True)
    """Names of the channels that are listened to; None to find them."""
    apart: bool | None = field(default=None, kw_only=True)
    """True where the sound lies in a file of its own, which begins with frame 0."""


@dataclass(frozen=True)
class DubAudioInputs(SourceAudioInputs):
    """The inputs of the stage `audio`."""

    length_difference: str
    """`refuse` or `allow` one that is longer or shorter than the picture."""
    length_tolerance_frames: float
    """Differences up to this are always accepted."""
    frames: int | None = None
    """How many frames of the film it is for; None for all."""
    language: str | None = None
    """BCP 47 tag of the dub, where there are several tracks: one that is tagged so comes first."""
    stems: tuple[tuple[str, File], ...] | None = field(default=None, kw_only=True)
    """Each character's name and stem, in order of the names; `sound` is then the first of them."""
    phones: File | None = field(default=None, kw_only=True)
    """Which phone of it is said when, where that is known."""


In = TypeVar("In", bound=SourceAudioInputs)
Out = TypeVar("Out", bound=Sound)


class Audio(Stage[In, Out], Generic[In, Out]):
    """One sound of a title. A shot's key changes exactly when sound within MARGIN_S of it does. Raises ManifestError
    when the length does not fit, MediaError when there is nothing to hear."""

    version = 2
    resources = Resources(cpus=1.0, memory_mb=900)
    chain_ms = 75.0
    folder = "sound"

    def setup(self) -> None:
        self._listener = Listener()

    @classmethod
    def windows(cls, inputs: In, at: Place) -> list[In]:
        """One, which listens to a long sound."""
        stems = isinstance(inputs, DubAudioInputs) and inputs.stems
        if stems or at.made_of is not None or inputs.end < LONG_S * at.rate:
            return []
        return [replace(inputs, shots=None, window=(0, inputs.end))]

    def process(self, inputs: In, out: Path, progress: Callable[[int], None]) -> Out:
        dub = inputs if isinstance(inputs, DubAudioInputs) else None
        if inputs.shots is None:
            with (out / _HEARD).open("wb") as file:
                only, chance = self._hear(inputs, lambda at, part: file.write(part.tobytes()))
            np.save(out / _CHANCE, chance)
            progress(inputs.end)
            return only
        film = media.load_timeline(inputs.shots.folder)
        count = film.sample(len(film), RATE_HZ)
        wave = new_wave(out, count)
        if dub is not None and dub.stems:
            return self._of_stems(dub, dub.stems, film, wave, out, progress)
        if inputs.parts is None:
            heard, chance = self._hear(inputs, partial(_place, wave))
        else:
            (part,) = inputs.parts
            heard, chance = part.read(), np.load(part.folder / _CHANCE)
            kept = min(count, heard.samples)
            for start in range(0, kept, _BLOCK):
                size = min(_BLOCK, kept - start)
                wave[start : start + size] = np.fromfile(part.folder / _HEARD, np.int16, size, offset=2 * start)
        if dub is not None:
            _check_length(dub, dub.sound.path, heard.samples, film)
            if _loudest(wave) < _INAUDIBLE:
                raise MediaError(
                    f"{dub.sound.path} holds no sound: nothing in it is louder than -60 dBFS; give another file."
                )
        speech = speech_ranges(wave, chance)
        said: tuple[phones.Phone, ...] = ()
        if dub is not None and dub.phones is not None:
            said = phones.read(dub.phones.path)
            speech = _spoken(said, count)
            save_phones(out, said)
        wave.flush()
        keys = {s.id: _shot_key(wave, speech, film, s, said) for s in inputs.shots.read().shots}
        save_speech(out, count, speech)
        progress(len(film) if inputs.parts is None else 0)
        spoken = int((speech[:, 1] - speech[:, 0]).sum())
        found: Out = self.Result(
            count, round(spoken / RATE_HZ, 3), len(speech), keys, heard.listened, heard.stream, heard.channels,
            **({"phones": len(said)} if said else {}),
        )  # fmt: skip
        return found

    def _hear(self, inputs: In, take: Callable[[int, np.ndarray], object]) -> tuple[Out, np.ndarray]:
        """Which track and channels are listened to, and how long they are, as a result without shots; and the chance of
        speech in each chunk. take: of each block of samples where it begins, and the block."""
        dub = inputs if isinstance(inputs, DubAudioInputs) else None
        path = inputs.sound.path
        listening = dialogue.choose(
            path, media.probe(path), self._listener, track=inputs.track, channels=inputs.channels,
            language=dub.language if dub is not None else None,
        )  # fmt: skip
        own = listening.chosen
        chance, total = self._listen(path, take, dub is None and not inputs.apart, own)
        heard: Out = self.Result(total, 0.0, 0, {}, listening.said, own.stream, own.channels)
        return heard, chance

    def _of_stems(
        self, dub: DubAudioInputs, stems: Sequence[tuple[str, File]], film: Timeline, whole: np.memmap, out: Path,
        progress: Callable[[int], None],
    ) -> Out:  # fmt: skip
        """One sound for each character, and their sum, in which somebody speaks wherever one of them does."""
        assert dub.shots is not None
        waves, chances, totals = [], [], {}
        for name, file in stems:
            folder = sound_of(out, name)
            folder.mkdir()
            waves.append(wave := new_wave(folder, len(whole)))
            language = dub.language if len(media.probe(file.path).audio) > 1 else None
            heard = dialogue.choose(file.path, media.probe(file.path), self._listener, language=language).chosen
            chance, totals[name] = self._listen(file.path, partial(_place, wave), False, heard)
            chances.append(chance)
        _check_stems(dub, totals, film)
        if max(map(_loudest, waves)) < _INAUDIBLE:
            raise MediaError("The stems hold no sound: nothing in any is louder than -60 dBFS; give other files.")
        held = {}
        for (name, _), wave, chance, mask in zip(stems, waves, chances, copied(waves, chances), strict=True):
            held[name] = round(gate(wave, chance, mask), 2)
        for start in range(0, len(whole), _BLOCK):
            part = sum((w[start : start + _BLOCK].astype(np.int32) for w in waves), np.int32(0))
            whole[start : start + _BLOCK] = np.clip(part, -32767, 32767)
        speech, digests = [], {s.id: hashlib.sha256() for s in dub.shots.read().shots}
        for (name, _), wave, chance in zip(stems, waves, chances, strict=True):
            speech.append(speech_ranges(wave, chance))
            save_speech(sound_of(out, name), len(wave), speech[-1])
            for shot in dub.shots.read().shots:
                digests[shot.id].update(json.dumps([name, _shot_key(wave, speech[-1], film, shot)]).encode())
            wave.flush()
        every = np.array(joined(tuple(one) for part in speech for one in part.tolist()), np.int64).reshape(-1, 2)
        save_speech(out, len(whole), every)
        whole.flush()
        progress(len(film))
        spoken = {
            n: round(int((s[:, 1] - s[:, 0]).sum()) / RATE_HZ, 2) for (n, _), s in zip(stems, speech, strict=True)
        }
        keys = {shot: one.hexdigest() for shot, one in digests.items()}
        found: Out = self.Result(
            len(whole), round(int((every[:, 1] - every[:, 0]).sum()) / RATE_HZ, 3), len(every), keys,
            stems=tuple(name for name, _ in stems), spoken_s=spoken, held_s={n: s for n, s in held.items() if s},
        )  # fmt: skip
        return found

    def _listen(
        self, path: Path, take: Callable[[int, np.ndarray], object], align_to_video: bool, heard: dialogue.Heard
    ) -> tuple[np.ndarray, int]:
        """The chance of speech in each chunk, float32, and the file's length in samples. take: as of `_hear`."""
        chance: list[float] = []
        total = 0
        self._listener.begin()
        blocks = media.sound_blocks(
            path, RATE_HZ, align_to_video=align_to_video, stream_index=heard.stream, channels=heard.channels
        )
        for block in blocks:
            part = samples16(block)
            take(total, part)
            total += len(part)
            chance += self._listener.hear(block)
        return np.array(chance, np.float32), total


class SourceAudio(Audio[SourceAudioInputs, SourceSound]):
    """The film's own sound."""

    name: ClassVar[str] = "source_audio"
    scope = Scope.TITLE

    @classmethod
    def inputs(cls, at: Place) -> SourceAudioInputs | None:
        own = at.title.original or Original()
        if own.dialogue is None and not at.has_sound:
            return None
        apart = True if own.dialogue else None
        return SourceAudioInputs(
            at.file(own.dialogue or at.title.video),
            at.ref(ShotList),
            track=own.track,
            channels=own.channels,
            apart=apart,
            end=at.frames_hint,
        )


class DubAudio(Audio[DubAudioInputs, DubSound]):
    """The sound that drives the lips in one language: the dialogue where it is given, else the mix."""

    name: ClassVar[str] = "audio"
    scope = Scope.DUB
    expands = True

    @classmethod
    def inputs(cls, at: Place) -> DubAudioInputs:
        stems = tuple((name, at.file(file)) for name, file in sorted((at.dub.stems or {}).items()))
        driver = at.dub.drivers[0]
        frames = at.made_of.frames[at.dub.language] if at.made_of else None
        return DubAudioInputs(
            at.file(driver), at.ref(ShotList), at.config.length_difference,
            at.config.length_tolerance_frames, frames,
            at.dub.language if stems or at.tracks(driver) > 1 else None,
            track=at.dub.track, channels=at.dub.channels, stems=stems or None,
            phones=at.file(at.dub.phones) if at.dub.phones else None, end=at.frames_hint,
        )  # fmt: skip


def _place(wave: np.ndarray, at: int, part: np.ndarray) -> None:
    """Lay a block of samples where it belongs; what lies beyond the film is left out."""
    wave[at : at + len(part)] = part[: max(0, len(wave) - at)]


def _loudest(wave: np.ndarray) -> int:
    return max((int(np.abs(wave[a : a + (1 << 20)]).max()) for a in range(0, len(wave), 1 << 20)), default=0)


def different_lengths(lasts_s: Mapping[str, float]) -> str:
    """The refusal of stems of different lengths. lasts_s: seconds by character."""
    order = sorted(lasts_s, key=lambda name: lasts_s[name])
    short, long = order[0], order[-1]
    return (
        f"stems of different lengths: that of {short} lasts {lasts_s[short]:.3f} s and that of {long} "
        f"{lasts_s[long]:.3f} s; give each character a file as long as the picture."
    )


def _check_stems(dub: DubAudioInputs, totals: Mapping[str, int], film: Timeline) -> None:
    """Raises ManifestError where stems differ in length, or from the picture's. totals: samples by character."""
    long, short = (pick(totals, key=lambda name: totals[name]) for pick in (max, min))
    frame_s = float(film.duration) / len(film)
    if (totals[long] - totals[short]) / RATE_HZ > dub.length_tolerance_frames * frame_s + 1e-3:
        raise ManifestError(different_lengths({name: total / RATE_HZ for name, total in totals.items()}))
    for name, file in dub.stems or ():
        _check_length(dub, file.path, totals[name], film)


def _check_length(dub: DubAudioInputs, path: Path, total: int, film: Timeline) -> None:
    frame_s = float(film.duration) / len(film)
    lasts_s = float(film.time(len(film) if dub.frames is None else dub.frames))
    off = total / RATE_HZ - lasts_s
    if dub.length_difference == "refuse" and abs(off) > dub.length_tolerance_frames * frame_s + 1e-3:
        raise ManifestError(
            f"{path} lasts {total / RATE_HZ:.3f} s and the picture {lasts_s:.3f} s, "
            f"{abs(off) / frame_s:.1f} frames {'more' if off > 0 else 'less'}; give a dub of the picture's length, "
            "or set length_difference: allow."
        )


def _spoken(said: Sequence[phones.Phone], count: int) -> np.ndarray:
    """Where somebody speaks, int64 (S, 2) ranges of samples, by what is said there."""
    edges = [(round(a * RATE_HZ), round(b * RATE_HZ)) for a, b in phones.runs_of(said, _PAUSE_S)]
    return np.array([(a, min(b, count)) for a, b in edges if a < count], np.int64).reshape(-1, 2)


def _shot_key(
    wave: np.ndarray, speech: np.ndarray, film: Timeline, shot: Shot, said: Sequence[phones.Phone] = ()
) -> str:  # fmt: skip
    """sha256 of the samples in and around a shot, and of the speech in them, from the shot's start; and of phones."""
    margin = int(MARGIN_S * RATE_HZ)
    start = film.sample(shot.start_frame, RATE_HZ)
    a, b = start - margin, film.sample(shot.end_frame, RATE_HZ) + margin
    digest = hashlib.sha256(json.dumps([a, b]).encode())
    near = speech[(speech[:, 1] > a) & (speech[:, 0] < b)]
    digest.update(np.clip(near, a, b).astype("<i8").tobytes())
    digest.update(np.asarray(wave[max(a, 0) : b], "<i2").tobytes())
    if said:
        inside = phones.within(said, a / RATE_HZ, b / RATE_HZ)
        digest.update(json.dumps([(p.symbol, round(p.start_s, 4), round(p.end_s, 4)) for p in inside]).encode())
    return digest.hexdigest()

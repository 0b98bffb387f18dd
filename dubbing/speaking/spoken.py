"""The sound of a dub that is given as text: made once, before a job is planned, and from then on a dub like any other.

    OUT/<title>/<language>/speech-<key>/speech.flac   48 kHz, mono; as long as the film, of a photograph as the speech
                                        phones.json   when which phone is said
                                        result.json   by which voice, at which rates

Its key is made of the words, the voice with its package and weights, and the settings: where nothing of these changed,
nothing is spoken again. The words themselves are written nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from dubbing import media
from dubbing.clock import samples_at
from dubbing.config import Config
from dubbing.errors import InputError, ManifestError, several
from dubbing.manifest import Dub, Manifest, Title
from dubbing.phones import Phone, packed
from dubbing.remote import Uri, place
from dubbing.speaking import Break, Speech, Synthesiser, Voice, Words, chosen, load
from dubbing.speaking.scripts import Reader, Script, clock
from dubbing.speaking.slots import TooLong, said_within
from dubbing.store import RESULT, Store, key_of

__all__ = ["Spoken", "any_written", "speak"]

VERSION = 1  # raise it when the same words would sound different
RATE_HZ = 48_000
SOUND, PHONES = "speech.flac", "phones.json"
_AT_ONCE = 16  # passages that are spoken together
_LOUD, _MOST = 0.08, 0.9  # root mean square and peak of a passage that is said, of full scale
_EDGE_S = 0.004
_TAIL_S = 0.3  # after the last word of a photograph


@dataclass
class Spoken:
    """manifest: with a sound for every dub; notes: who speaks, and what is left out; problems: why dubs have no sound,
    which are left out of the manifest; a title without any dub is left out too."""

    manifest: Manifest
    notes: list[str] = field(default_factory=list)
    problems: list[InputError] = field(default_factory=list)


def any_written(manifest: Manifest) -> bool:
    """Whether any dub is still to be spoken."""
    return any(dub.spoken for title in manifest.titles for dub in title.dubs)


def speak(
    manifest: Manifest, store: Store, config: Config, *, into: Path | None = None,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
) -> Spoken:  # fmt: skip
    """Make the sounds of all dubs that are given as text. What is spoken already is found in the output folder.

    into: a folder for what is not, instead of the output folder, which then stays as it is; on_progress(done, of): so
    many of so many sentences are said, dub by dub. What is wrong is in `Spoken.problems`. Raises OutputError.
    """
    made = Spoken(manifest)
    titles = []
    for i, title in enumerate(manifest.titles):
        dubs = []
        for j, dub in enumerate(title.dubs):
            if not dub.spoken:
                dubs.append(dub)
                continue
            try:
                one, notes = _Dub(title, dub, store, config, into, on_progress).made()
                dubs.append(one)
                made.notes += [f"{title.id}/{dub.language}: {note}" for note in notes]
            except InputError as e:
                key = "voice" if "voice" in str(e) and dub.voice else "text" if dub.text is not None else "lines"
                at = manifest.place("titles", i, "dubs", j, *(e.at or (key,)))
                made.problems.append(type(e)(store.copies.named(f"{at}: {e}")))
        if dubs:
            titles.append(title.model_copy(update={"dubs": dubs}))
    made.manifest = manifest.model_copy(update={"titles": titles})
    return made


class _Dub:
    """One dub, being spoken."""

    def __init__(
        self, title: Title, dub: Dub, store: Store, config: Config, into: Path | None,
        on_progress: Callable[[int, int], None],
    ) -> None:  # fmt: skip
        self._title, self._dub, self._store, self._config = title, dub, store, config
        self._into, self._tell = into, on_progress

    def made(self) -> tuple[Dub, list[str]]:
        """The dub with its sound, and notes. Raises InputError."""
        voice = chosen(self._dub.voice, self._dub.language, self._config.models.folder)
        speaker = load(voice.synthesiser, self._config.models.folder)
        reader = Reader(self._title, self._dub, self._store, speaker.emphasis)
        script = reader.script()
        begins_s, lasts_s = reader.times(script)
        settings = self._config.speaking
        key = key_of(
            "speech", VERSION, script.plain, voice.name, speaker.version(voice.own_name), settings.model_dump(),
            str(begins_s), str(lasts_s),
        )  # fmt: skip
        name = f"speech-{key[:12]}"
        folder = self._store.dub(self._title.id, self._dub.language) / name
        aside = self._into if not self._store.done(folder) else None
        if aside is None:
            if not self._store.done(folder):
                with self._store.commit(folder) as part:
                    self._write(part, speaker, voice, script, begins_s, lasts_s)
            at: Path | Uri = place(self._store.shown(folder))
            at = at if isinstance(at, Uri) else at.absolute()
        else:
            at = folder = aside / self._title.id / self._dub.language / name
            folder.mkdir(parents=True)
            self._write(folder, speaker, voice, script, begins_s, lasts_s)
        told: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            file = folder / RESULT
            told = json.loads(file.read_bytes() if aside else self._store.read_bytes(file))
        notes = self._notes(told, speaker, voice, script)
        own = None if self._dub.text is None else self._dub.lines
        plain = {
            "audio": at / SOUND,
            "phones": at / PHONES if told.get("phones") else None,
            "text": None,
            "voice": None,
        }
        return self._dub.model_copy(update={**plain, "lines": own or script.file}), notes

    def _notes(self, told: Mapping[str, Any], speaker: Synthesiser, voice: Voice, script: Script) -> list[str]:
        notes = []
        if self._dub.voice is None:
            notes.append(f"spoken by {voice.name}, the best voice that is there; 'voice' names another.")
        if not told.get("phones"):
            notes.append(f"the voice {voice.name} does not tell which sound is said when: the mouth listens.")
        if script.slots and (rates := told.get("rates")):
            notes.append(
                f"{several(len(script.slots), 'line')} said at {rates[0]:g} to {rates[1]:g} times the voice's rate."
            )
        if script.emphasised and not speaker.emphasis:
            notes.append(f"the voice {voice.name} stresses no words; `emphasis` is left out.")
        if script.left_out:
            notes.append(f"marks of SSML that mean nothing here are left out: {', '.join(script.left_out)}.")
        return notes

    # -- saying it ---------------------------------------------------------------------------

    def _write(
        self, folder: Path, speaker: Synthesiser, voice: Voice, script: Script, begins_s: Fraction,
        lasts_s: Fraction | None,
    ) -> None:  # fmt: skip
        """Fill a folder. Raises ManifestError where it does not fit."""
        phones: list[Phone] = []
        rates: list[float] = []
        told_all = True
        with _Track(folder / SOUND) as track:
            said = self._in_slots(speaker, voice, script, rates) if script.slots else self._on(
                speaker, voice, script, begins_s, lasts_s, rates)  # fmt: skip
            for at, one in said:
                track.say(at, _level(one))
                phones += [Phone(p.symbol, p.start_s + at / RATE_HZ, p.end_s + at / RATE_HZ) for p in one.phones]
                told_all = told_all and bool(one.phones or not len(one.samples))
            tail = track.samples + round(_TAIL_S * RATE_HZ)
            if script.slots:
                tail = max(track.samples, samples_at(script.slots[-1].end_s, RATE_HZ))
            track.until(tail if lasts_s is None else samples_at(lasts_s, RATE_HZ))
        if told_all:
            (folder / PHONES).write_bytes(packed(tuple(_in_order(phones))))
        told = {
            "schema": "dub.speech.1", "voice": voice.name, "version": speaker.version(voice.own_name),
            "language": self._dub.language, "rates": [min(rates), max(rates)], "phones": len(phones) if told_all else 0,
        }  # fmt: skip
        (folder / RESULT).write_text(json.dumps(told) + "\n", encoding="utf-8")

    def _in_slots(
        self, speaker: Synthesiser, voice: Voice, script: Script, rates: list[float]
    ) -> Iterator[tuple[int, Speech]]:
        long: list[TooLong] = []
        how = self._config.speaking
        for first in range(0, len(script.slots), _AT_ONCE):
            slots = script.slots[first : first + _AT_ONCE]
            said, at, misfits = said_within(speaker, voice.own_name, slots, how.slowest, how.fastest)
            long += misfits
            rates += at
            for slot, one in zip(slots, said, strict=True):
                if not long:
                    yield samples_at(slot.start_s, RATE_HZ), one
            self._tell(min(first + _AT_ONCE, len(script.slots)), len(script.slots))
        if long:
            slot = long[0].slot
            more = f" (and {several(len(long) - 1, 'line')} more)" if len(long) > 1 else ""
            raise ManifestError(
                f"line {slot.number} ({clock(slot.start_s)} to {clock(slot.end_s)}) needs {long[0].needs_s:.1f} s at "
                f"the fastest rate ({how.fastest:g}) and has {slot.lasts_s:.1f} s{more}; shorten it, give it more "
                "time, or raise speaking.fastest."
            )

    def _on(
        self, speaker: Synthesiser, voice: Voice, script: Script, begins_s: Fraction, lasts_s: Fraction | None,
        rates: list[float],
    ) -> Iterator[tuple[int, Speech]]:  # fmt: skip
        """One passage after the other; as much faster as a film needs."""
        fastest = self._config.speaking.fastest
        rate, room_s = 1.0, None if lasts_s is None else float(lasts_s - begins_s)
        if room_s is not None:  # how long it would be
            needs_s = self._length(speaker, voice, script, 1.0)
            if needs_s > room_s:
                rate = min(fastest, max(1.02 * needs_s / room_s, 1.0))
                needs_s = self._length(speaker, voice, script, rate)
                if needs_s > room_s and rate < fastest:
                    rate = fastest
                    needs_s = self._length(speaker, voice, script, rate)
                if needs_s > room_s:
                    raise ManifestError(
                        f"the text needs {needs_s:.1f} s at the fastest rate ({fastest:g}), and the film has "
                        f"{room_s:.1f} s from its first line at {clock(begins_s)}; shorten the text, or raise "
                        "speaking.fastest."
                    )
        rates.append(round(rate, 3))
        at = samples_at(begins_s, RATE_HZ)
        pause_s = 0.0
        for one in self._passages(speaker, voice, script, rate, tells=True):
            if isinstance(one, Break):
                pause_s = max(pause_s, one.seconds)
                continue
            at += round(pause_s * RATE_HZ)
            yield at, one
            at, pause_s = at + _samples(one), 0.0

    def _length(self, speaker: Synthesiser, voice: Voice, script: Script, rate: float) -> float:
        """Seconds of all of it."""
        whole_s = pause_s = 0.0
        for one in self._passages(speaker, voice, script, rate):
            if isinstance(one, Break):
                pause_s = max(pause_s, one.seconds)
            else:
                whole_s, pause_s = whole_s + pause_s + _samples(one) / RATE_HZ, 0.0
        return whole_s

    def _passages(
        self, speaker: Synthesiser, voice: Voice, script: Script, rate: float, *, tells: bool = False
    ) -> Iterator[Speech | Break]:
        for first in range(0, len(script.passages), _AT_ONCE):
            part = script.passages[first : first + _AT_ONCE]
            words = [p for p in part if any(isinstance(one, Words) for one in p)]
            said = iter(speaker.speak(words, voice.own_name, [rate] * len(words)) if words else ())
            for passage in part:
                if any(isinstance(one, Words) for one in passage):
                    yield next(said)
                else:
                    yield from (one for one in passage if isinstance(one, Break))
            if tells:
                self._tell(min(first + _AT_ONCE, len(script.passages)), len(script.passages))


class _Track:
    """A sound that grows; silence where nothing is said. A context manager."""

    def __init__(self, path: Path) -> None:
        self._writer = media.ClipWriter(path, sample_rate_hz=RATE_HZ, channels=1)
        self.samples = 0

    def __enter__(self) -> _Track:
        self._writer.__enter__()
        return self

    def __exit__(self, *about: Any) -> None:
        self._writer.__exit__(*about)

    def until(self, at: int) -> None:
        """Silence up to a sample."""
        while self.samples < at:
            count = min(at - self.samples, RATE_HZ)
            self._writer.sound(np.zeros(count, np.float32))
            self.samples += count

    def say(self, at: int, wave: np.ndarray) -> None:
        self.until(at)
        if len(wave):
            self._writer.sound(wave)
            self.samples += len(wave)


def _samples(one: Speech) -> int:
    """How many it will have at RATE_HZ."""
    return -(-len(one.samples) * RATE_HZ // one.rate_hz)


def _level(one: Speech) -> np.ndarray:
    """Its samples at RATE_HZ, float32, as loud as every passage is, and soft at both ends."""
    from scipy.signal import resample_poly

    if not len(one.samples):
        return np.zeros(0, np.float32)
    common = int(np.gcd(RATE_HZ, one.rate_hz))
    wave = resample_poly(one.samples.astype(np.float64), RATE_HZ // common, one.rate_hz // common)[: _samples(one)]
    loud, peak = np.sqrt(np.mean(wave**2)), np.abs(wave).max()
    wave *= min(_LOUD / max(loud, 1e-6), _MOST / max(peak, 1e-6))
    ramp = np.linspace(0, 1, min(round(_EDGE_S * RATE_HZ), len(wave)))
    wave[: len(ramp)] *= ramp
    wave[len(wave) - len(ramp) :] *= ramp[::-1]
    return wave.astype(np.float32)


def _in_order(phones: Sequence[Phone]) -> Iterator[Phone]:
    """None begins before the last one ends."""
    before = 0.0
    for p in phones:
        start = max(p.start_s, before)
        if p.end_s - start > 1e-3:
            yield Phone(p.symbol, start, p.end_s)
            before = p.end_s

"""A trial: the whole pipeline on a few seconds of the first title, in a temporary folder, to see what it costs.

Excerpts come from near a quarter, the half and three quarters of the film, where the dub speaks: one place would say
next to nothing about how often a face is seen, and where a dub pauses there is nothing to render. Nothing of it is kept
but numbers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import numpy as np

from dubbing import media, sequences
from dubbing.analysis.speech import Listener, samples16, speech_ranges
from dubbing.config import Config
from dubbing.engine import Event, run_job
from dubbing.errors import InputError, MediaError
from dubbing.estimate.costs import Measured, measure
from dubbing.job import Job
from dubbing.manifest import BestOf, Dub, Manifest, Title
from dubbing.remote import Uri
from dubbing.sound import RATE_HZ
from dubbing.store import open_store, temporary

__all__ = ["PLACES", "SECONDS", "spoken", "trial"]

PLACES = (Fraction(1, 4), Fraction(1, 2), Fraction(3, 4))
SECONDS = Fraction(3)
_REACH_S, _ENOUGH_S = Fraction(20), Fraction(180)  # to each side: what is listened to first, and for speech at most
_AUDIBLE = 33  # int16 code values: -60 dBFS


def trial(manifest: Manifest, config: Config, on_event: Callable[[Event], None] = lambda event: None) -> Measured:
    """Run `PLACES` of the first title's first dub in this process, and say what they cost: every generator that the
    manifest names renders all of them.

    Raises InputError where the film cannot be cut or the pipeline refuses it; it names files as the manifest does.
    """
    first = manifest.titles[0]
    local = open_store(tempfile.gettempdir()).local  # brings what lies elsewhere
    still = media.is_photograph(local(first.video))  # its length is its dub's
    length = media.probe(local(first.dubs[0].audio if still else first.video)).duration_s
    if not length:
        raise MediaError(
            f"{first.video} does not say how long it is, so no excerpt can be taken; plan without --trial."
        )
    settings = config.model_copy(update={"length_difference": "allow"})
    driver = first.dubs[0].dialogue or first.dubs[0].audio
    try:
        starts = spoken(local(driver), length)
    except InputError as e:
        raise type(e)(str(e).replace(str(local(driver)), str(driver))) from e
    with temporary("trial") as folder:
        titles = [_cut(first, local, folder, n, start) for n, start in enumerate(starts)]
        every = manifest.generators
        small = Manifest(version=1, titles=titles, generator=BestOf(of=every) if len(every) > 1 else every[0])
        job = Job(small, folder / "out", settings)
        try:
            report = run_job(job, "local", on_event)
        except InputError as e:  # it names an excerpt, of which nobody but this function knows
            raise type(e)(_as_given(str(e), first, titles)) from e
        at = datetime.now(UTC).isoformat(timespec="seconds")
        run_s = float(report.run_json["seconds"])
        return measure(job, "local", manifest=manifest, run_s=run_s, at=at, trial=True)


def _as_given(text: str, given: Title, cut: Sequence[Title]) -> str:
    """A message with the files of the manifest instead of the excerpts that were made of them."""
    dub = given.dubs[0]
    for one in cut:
        made = one.dubs[0]
        for mine, theirs in ((made.dialogue, dub.dialogue), (made.audio, dub.audio), (one.video, given.video)):
            if mine is not None:
                text = text.replace(str(mine), str(theirs))
    return text


def spoken(path: Path, length_s: Fraction) -> list[Fraction]:
    """Where the excerpts begin, in seconds: nearest to each of `PLACES` that holds at least a second of speech, or at
    least a sound where there is no speech for minutes around.

    path: what drives the lips; length_s: of the film. Raises MediaError where all is silent.
    """
    listener, starts = Listener(), []
    for place in PLACES:
        middle, reach, found = length_s * place, _REACH_S, None
        while found is None:
            first, last = max(Fraction(0), middle - reach), min(length_s, middle + reach)
            whole = last - first >= length_s
            found = _best(listener, path, first, last, middle, whole or reach >= _ENOUGH_S)
            if found is None and whole:
                raise MediaError(f"{path} holds no sound: nothing in it is louder than -60 dBFS; give another file.")
            reach *= 3
        starts.append(found)
    return starts


def _best(
    listener: Listener, path: Path, first_s: Fraction, last_s: Fraction, near_s: Fraction, any_sound: bool
) -> Fraction | None:
    """The start of the excerpt in [first_s, last_s) with a second of speech in it that is nearest to `near_s`; where
    there is none and any_sound, the nearest with a sound in it. None where there is no such."""
    listener.begin()
    parts, chance = [], []
    for block in media.sound_between(path, first_s, last_s, RATE_HZ):
        parts.append(samples16(block))
        chance += listener.hear(block)
    wave = np.concatenate(parts) if parts else np.zeros(0, np.int16)
    speaks = np.zeros(len(wave) + 1, np.int64)
    for a, b in speech_ranges(wave, np.array(chance, np.float32)):
        speaks[a + 1 : b + 1] = 1
    spoken = speaks.cumsum()
    heard = np.concatenate([[0], (np.abs(wave.astype(np.int32)) > _AUDIBLE).cumsum()])
    length, step = int(SECONDS * RATE_HZ), RATE_HZ // 4
    starts = sorted(
        range(0, max(1, len(wave) - length // 2), step), key=lambda n: abs(first_s + Fraction(n, RATE_HZ) - near_s)
    )
    for counted, least in ((spoken, RATE_HZ), (heard, 1))[: 2 if any_sound else 1]:
        for start in starts:
            if counted[min(start + length, len(wave))] - counted[start] >= least:
                return first_s + Fraction(start, RATE_HZ)
    return None


def _cut(title: Title, local: Callable[[Path | Uri], Path], folder: Path, number: int, start_s: Fraction) -> Title:
    """One excerpt as a title of its own; its cuts are looked for, whatever cut list the film has."""
    film, begins_s, lasts_s = local(title.video), start_s, SECONDS
    sequence = sequences.find(film)
    if sequence is not None:
        video = media.probe(film).video
        assert video is not None
        rate = video.rate
        first = min(int(start_s * rate), sequence.count - 1)
        last = min(first + max(1, round(SECONDS * rate)), sequence.count)
        film, begins_s, lasts_s = sequence.part(first, last), first / rate, (last - first) / rate
    elif not media.is_photograph(film):
        film = folder / f"{number}{title.video.suffix}"
        begins_s = media.excerpt(local(title.video), film, start_s, SECONDS)
        lasts_s = media.probe(film).duration_s or SECONDS
    dub = title.dubs[0]
    mix = folder / f"{number}.flac"
    media.sound_excerpt(local(dub.audio), mix, begins_s, lasts_s)
    spoken = None
    if dub.dialogue is not None:
        spoken = folder / f"{number}-dialogue.flac"
        media.sound_excerpt(local(dub.dialogue), spoken, begins_s, lasts_s)
    return Title(
        id=f"trial-{number}", video=film, dubs=[Dub(language=dub.language, audio=mix, dialogue=spoken, stems=None)],
        shots=None, cast=None, still=title.still,
    )  # fmt: skip

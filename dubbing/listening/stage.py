"""Words: one sound of a title, heard. Which language it is, and which words are said when. Knows no shots and no faces.

The sound is listened to where its speech is (silero-vad), in windows of up to 20 s. A window whose text goes round in
circles is heard again in halves, and speech in which no word was found is heard again by itself.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dubbing import media, models
from dubbing.analysis import dialogue
from dubbing.analysis.speech import Listener, samples16, speech_ranges
from dubbing.artifact import Artifact, File
from dubbing.listening import tongues
from dubbing.listening.timing import settled
from dubbing.listening.windows import Window, windows
from dubbing.sound import RATE_HZ
from dubbing.stage import Resources, Scope, Stage
from dubbing.store import read_json
from dubbing.task import Inputs, uncounted
from dubbing.words import Word

if TYPE_CHECKING:  # they bring torch, which the process that only plans does without
    from dubbing.listening.ear import Ear, Said, Spoken

__all__ = ["HeardWords", "ListenInputs", "Listening", "load_words"]

_FILE = "words.json"
_UNHEARD_S, _PART_S = 0.8, 0.25  # so much speech without a word is heard again, with its parts of at least the second
_TRIES = 3  # how often
_AROUND = RATE_HZ // 20  # sound kept around that: little, because words that were heard are beside it
_LONG_S, _SURE, _HARDLY = 3.0, 0.8, 0.1  # a window this long may be another language than the rest
_KEPT = 0.001  # chances of languages below this are not kept


@dataclass(frozen=True)
class ListenInputs(Inputs):
    """The inputs of listening to one sound."""

    sound: File
    """The file."""
    weights: str
    """12 hex digits of the model's file."""
    language: str | None
    """BCP 47 tag that it has; None for the original."""
    track: int | None = None
    """Number of the sound track that is listened to, counted from 1; None to find it."""
    channels: tuple[str, ...] | None = None
    """Names of the channels that are listened to; None to find them."""
    of_film: bool = False
    """Whether it is the film's own sound, whose time begins with frame 0."""
    frames: int = uncounted("they are only for progress", default=0)
    """Frames of the film."""
    model: str = uncounted("the model's hash counts, not what it is called", default="")
    """Name of a published model, or the path of a file."""
    models_folder: str = uncounted("the model's hash counts, not where it lies", default="")
    """Where published models lie."""


@dataclass(frozen=True)
class HeardWords(Artifact):
    """What was heard in a sound. Its folder holds the words (`load_words`)."""

    schema: ClassVar[str] = "dub.heard.1"
    verdict: tongues.Verdict
    """Whether its language is the one of its tag."""
    language: str | None
    """The likeliest language, Whisper's code; None where nobody speaks."""
    probability: float
    """Its chance, 0..1."""
    tagged: float | None
    """The chance of the tag's own language; None without a tag, or where the network does not know it."""
    listened: str
    """Which track and channels of the file were listened to, and why."""
    speech_s: float
    """Seconds of speech."""
    words: int
    """How many words there are."""
    elsewhere: tuple[tuple[float, float, str, float], ...] = ()
    """Windows that are surely another language than the tag's: start_s, end_s, code, chance."""


class Listening(Stage[ListenInputs, HeardWords]):
    """One sound, heard from its beginning to its end."""

    name: ClassVar[str] = "listen"
    folder: ClassVar[str] = "words"
    scope = Scope.DUB
    resources = Resources(cpus=1.0, memory_mb=2000)
    profits_from_gpu = True

    def __init__(self) -> None:
        self._ears: dict[str, Ear] = {}

    def process(self, inputs: ListenInputs, out: Path, progress: Callable[[int], None]) -> HeardWords:
        if inputs.weights not in self._ears:
            from dubbing.listening.ear import Ear

            self._ears = {inputs.weights: Ear(models.chosen(inputs.model, inputs.models_folder)[0])}
        heard = _Sound(self._ears[inputs.weights], inputs, progress)
        words = heard.words()
        kept = [(w.word, round(w.start_s, 3), round(w.end_s, 3), round(w.probability, 3), w.heard, w.spaced)
                for w in words]  # fmt: skip
        (out / _FILE).write_text(json.dumps(kept, ensure_ascii=False) + "\n", encoding="utf-8")
        it = tongues.verdict(tongues.mean(heard.chances), inputs.language, heard.ear.languages)
        return HeardWords(
            it.verdict, it.language, round(it.probability, 4), None if it.tagged is None else round(it.tagged, 4),
            heard.listening.said, round(float((heard.speech[:, 1] - heard.speech[:, 0]).sum()) / RATE_HZ, 3),
            len(words), tuple(heard.elsewhere),
        )  # fmt: skip

    def close(self) -> None:
        self._ears.clear()


def load_words(folder: Path | str, character: str | None = None) -> list[Word]:
    """The words of a finished result, in order. character: whose they are."""
    rows = read_json(Path(folder) / _FILE)
    return [Word(*[*row, character]) for row in rows]


class _Sound:
    """One sound while it is listened to. chances: of each language in each window, with its seconds; elsewhere: as in
    the result."""

    def __init__(self, ear: Ear, inputs: ListenInputs, progress: Callable[[int], None]) -> None:
        self.ear, self._progress = ear, progress
        self.chances: list[tuple[dict[str, float], float]] = []
        self.elsewhere: list[tuple[float, float, str, float]] = []
        self._tag = None if inputs.language is None else tongues.code_of(inputs.language, ear.languages)
        path, listener = inputs.sound.path, Listener()
        info = media.probe(path)
        self.listening = dialogue.choose(
            path, info, listener, track=inputs.track, channels=inputs.channels, language=inputs.language
        )
        self._wave, chance = _read(path, info, self.listening.chosen, listener, inputs.of_film)
        self.speech = speech_ranges(self._wave, chance)
        self._frames = inputs.frames

    def words(self) -> list[Word]:
        """Its words, in order, with times that fit its speech."""
        todo = deque((window, 0) for window in windows(self._wave, self.speech))
        found: list[Word] = []
        told = 0
        while todo:
            window, tries = todo.popleft()
            spoken = self.ear.hear(window.wave(self._wave))
            if tries == 0:
                self._note(window, spoken)
            language = self._language(spoken)
            said = self.ear.words(spoken, language)
            halves = window.halves(self._wave) if said is None else None
            if halves:
                todo.extendleft((half, tries + 1) for half in reversed(halves))
                continue
            if said is None:
                said = self.ear.words(spoken, language, at_any_rate=True) or []
            words = self._placed(window, said, language)
            found += words
            if words and tries < _TRIES:
                rest = self._unheard(window, words)
                todo.extendleft((one, tries + 1) for one in reversed(windows(self._wave, rest, _AROUND)))
            reached = round(self._frames * window.end_s * RATE_HZ / max(1, len(self._wave)))
            if reached > told:
                self._progress(reached - told)
                told = reached
        self._progress(self._frames - told)
        found.sort(key=lambda w: w.start_s)
        return settled(found, self.speech / RATE_HZ)

    def _note(self, window: Window, spoken: Spoken) -> None:
        """Remember which language a window is."""
        self.chances.append(({c: p for c, p in spoken.chances.items() if p >= _KEPT}, spoken.length_s))
        other = self._other(spoken)
        if other is not None and spoken.length_s >= _LONG_S:
            self.elsewhere.append(
                (round(window.start_s, 3), round(window.end_s, 3), other, round(spoken.chances[other], 4))
            )

    def _other(self, spoken: Spoken) -> str | None:
        """The language of a window, where that is surely not the tag's."""
        it = tongues.verdict(spoken.chances, self._tag, tuple(spoken.chances))
        sure = it.verdict == "another" and it.probability >= _SURE and (it.tagged or 0.0) < _HARDLY
        return it.language if sure else None

    def _language(self, spoken: Spoken) -> str:
        """The language in which a window is written down: the tag's, unless it surely is another; without a tag its own
        where that is sure, else the likeliest so far."""
        if self._tag is not None:
            return self._other(spoken) or self._tag
        best = max(sorted(spoken.chances), key=lambda c: spoken.chances[c])
        if spoken.chances[best] >= _SURE:
            return best
        so_far = tongues.mean([*self.chances, (spoken.chances, spoken.length_s)])
        return max(sorted(so_far), key=lambda c: so_far[c])

    def _placed(self, window: Window, said: Sequence[Said], language: str) -> list[Word]:
        """Words of a window on the sound's clock."""
        return [
            Word(
                one.text.strip(), window.at_s(one.start_s), window.at_s(one.end_s, end=True), one.probability, language,
                one.text.startswith(" "),
            )
            for one in said
        ]  # fmt: skip

    def _unheard(self, window: Window, words: Sequence[Word]) -> np.ndarray:
        """The speech of a window in which it has no word, int64 (S, 2) sample ranges."""
        spans = [(round(w.start_s * RATE_HZ), round(w.end_s * RATE_HZ)) for w in settled(words, self.speech / RATE_HZ)]
        left = []
        for first, last in self.speech:
            for a, b in window.pieces:
                start, end = max(int(first), a), min(int(last), b)
                for taken, until in spans:
                    if until > start and taken < end:
                        left.append((start, taken))
                        start = max(start, until)
                left.append((start, end))
        found = np.array([one for one in left if one[1] - one[0] >= _PART_S * RATE_HZ], np.int64).reshape(-1, 2)
        return found if (found[:, 1] - found[:, 0]).max(initial=0) >= _UNHEARD_S * RATE_HZ else found[:0]


def _read(
    path: Path, info: media.MediaInfo, heard: dialogue.Heard, listener: Listener, of_film: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(int16 (T,) at 16 kHz, the chance of speech in each chunk) of what of a file is listened to."""
    from dubbing.listening.ear import resampled

    blocks = media.sound_blocks(path, None, align_to_video=of_film, stream_index=heard.stream, channels=heard.channels)
    kept, chance = [], []
    listener.begin()
    for block in resampled(blocks, info.track(heard.track).rate_hz):
        chance += listener.hear(block)
        kept.append(samples16(block))
    return np.concatenate([np.zeros(0, np.int16), *kept]), np.array(chance, np.float32)

"""What is said in a dub that is given as text: words, or lines with times; and where in the title that is.

Knows no voice but whether it stresses words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from dubbing import media
from dubbing.analysis import dialogue
from dubbing.analysis.lines import SpokenLine, read_lines
from dubbing.analysis.speech import Listener, samples16, speech_ranges
from dubbing.errors import ManifestError
from dubbing.manifest import Dub, Original, Title
from dubbing.remote import Uri
from dubbing.sound import RATE_HZ
from dubbing.speaking import Break, Passage, Words
from dubbing.speaking.marks import is_marked, written
from dubbing.speaking.slots import Slot, apart
from dubbing.store import Store

__all__ = ["Reader", "Script", "clock"]

LEAD_S = Fraction(3, 10)  # before the first word of a photograph
_LISTENS_S = 60  # to so much of a film at once, for where somebody first speaks
_MOST_LETTERS = 2_000_000
_LISTS = (".srt", ".vtt", ".csv", ".tsv", ".ttml", ".dfxp", ".itt", ".xml")


@dataclass(frozen=True)
class Script:
    """What is said. passages: in order, pauses among them; slots: or lines with times; file: of these, where it names
    characters."""

    passages: tuple[Passage, ...] = ()
    slots: tuple[Slot, ...] = ()
    file: Path | Uri | None = None
    left_out: tuple[str, ...] = ()
    emphasised: bool = False

    @property
    def plain(self) -> Any:
        """All of it as plain values, for a key."""
        rows: list[Any] = [(float(s.start_s), float(s.end_s), _plain(s.passage)) for s in self.slots]
        return rows or [_plain(p) for p in self.passages]


class Reader:
    """Reads one dub's script. emphasis: whether its voice stresses words."""

    def __init__(self, title: Title, dub: Dub, store: Store, emphasis: bool) -> None:
        self._title, self._dub, self._store, self._emphasis = title, dub, store, emphasis
        self._film = store.local(title.video)
        self._still = media.is_photograph(self._film)

    def script(self) -> Script:
        """All of it. Raises ManifestError: there is no word in it, or its times cannot be."""
        source = self._dub.text if self._dub.text is not None else self._dub.lines
        if isinstance(source, Path | Uri):
            path = self._store.local(source)
            text = _read(path, source)
            if path.suffix.lower() in _LISTS[:-1] or "-->" in text or (path.suffix.lower() == ".xml" and "<tt" in text):
                return self._list(path, source)
        else:
            text = str(source)
        found = written(text)
        if not any(c.isalnum() for c in found.words):
            raise ManifestError("the text is empty: there is no word in it; write what is to be said.")
        if found.passages and self._dub.lines is not None and not self._lines_are_bare():
            raise ManifestError(
                f"the text has no times, and {self._dub.lines.name} has: write text: {self._dub.lines.name}, so that "
                "each line is said in its time."
            )
        passages = tuple(_unstressed(p) if not self._emphasis else p for p in found.passages)
        return Script(passages, left_out=found.left_out, emphasised=found.emphasised)

    def _lines_are_bare(self) -> bool:
        """Whether the dub's list of lines has no words, but says who speaks when."""
        assert self._dub.lines is not None
        try:
            return not any(line.text for line in self._read_list(self._store.local(self._dub.lines)))
        except ManifestError:
            return True

    def _read_list(self, path: Path) -> tuple[SpokenLine, ...]:
        video = None if self._still else media.probe(self._film).video
        rate = video.rate if video else Fraction(self._title.still.rate if self._title.still else 25)
        return read_lines(path, rate, video.start_tc if video else None, tuple(self._title.cast or ()), as_text=True)

    def _list(self, path: Path, source: Path | Uri) -> Script:
        lines = self._read_list(path)
        slots = []
        for n, line in enumerate(lines, 1):
            text = line.text.strip().strip("-–— \n")
            if not any(c.isalnum() for c in text) or (text[:1], text[-1:]) in (("[", "]"), ("(", ")"), ("♪", "♪")):
                continue  # a sound that is named, or a song
            passage = written(text, whole=True).passages[0] if not is_marked(text) else (Words(text),)
            slots.append(Slot(n, line.start_s, line.end_s, _unstressed(passage)))
        if not slots:
            raise ManifestError(f"{source.name} has no line with words in it; write what is to be said.")
        if slots[0].start_s < 0:
            raise ManifestError(f"line {slots[0].number} of {source.name} begins before the film; correct its times.")
        for one, after in zip(slots, slots[1:], strict=False):
            if after.start_s <= one.start_s:
                raise ManifestError(
                    f"lines {one.number} and {after.number} of {source.name} begin at one time "
                    f"({clock(one.start_s)}), and one voice says one after the other; give each its own time."
                )
        named = any(line.character for line in lines)
        return Script(slots=tuple(apart(slots)), file=source if named else None)

    def times(self, script: Script) -> tuple[Fraction, Fraction | None]:
        """Where speech without times begins, and how long the film is, seconds; None for a photograph, whose film is as
        long as the speech. Raises ManifestError where a line lies beyond the film."""
        if self._still:
            return (Fraction(0) if script.slots else LEAD_S), None
        info = media.probe(self._film)
        if info.video is None:
            raise ManifestError(f"{self._title.video} has no video stream; 'video' must be a film.", at=())
        lasts_s = media.timeline(self._film).duration
        if script.slots:
            late = next((s for s in script.slots if s.end_s > lasts_s), None)
            if late is not None:
                raise ManifestError(
                    f"line {late.number} ({clock(late.start_s)} to {clock(late.end_s)}) ends after the film, which "
                    f"lasts {clock(lasts_s)}; correct its times."
                )
            return Fraction(0), lasts_s
        own = self._title.original or Original()
        path = self._store.local(own.dialogue) if own.dialogue else self._film
        if own.dialogue is None and not info.audio:
            return Fraction(0), lasts_s
        return _first_speech(path, own), lasts_s


def clock(time_s: Fraction) -> str:
    """`00:00:31.20`."""
    hundredths = int(time_s * 100 + Fraction(1, 2))
    return (
        f"{hundredths // 360_000:02d}:{hundredths // 6000 % 60:02d}:{hundredths // 100 % 60:02d}.{hundredths % 100:02d}"
    )


def _unstressed(passage: Passage) -> Passage:
    """The same words without emphasis, in as few pieces as the pauses leave."""
    found: list[Words | Break] = []
    for one in passage:
        last = found[-1] if found else None
        if isinstance(one, Words) and isinstance(last, Words):
            found[-1] = Words(f"{last.text} {one.text}")
        else:
            found.append(Words(one.text) if isinstance(one, Words) else one)
    return tuple(found)


def _plain(passage: Passage) -> list[Any]:
    return [one.seconds if isinstance(one, Break) else [one.text, one.emphasis] for one in passage]


def _read(path: Path, named: Path | Uri) -> str:
    """The text in a file. Raises ManifestError."""
    try:
        data = path.read_bytes()
    except OSError as e:
        raise ManifestError(f"there is no file {named}; 'text' names a file of words, or is the words.") from e
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as e:
        raise ManifestError(f"{named} is no text in UTF-8; save it as UTF-8.") from e
    if len(text) > _MOST_LETTERS:
        raise ManifestError(f"{named} has {len(text)} letters; {_MOST_LETTERS} are the most that is spoken at once.")
    if not text.strip():
        raise ManifestError(f"{named} is empty; write what is to be said into it.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _first_speech(path: Path, own: Original) -> Fraction:
    """Where somebody first speaks in a sound, seconds; 0 where nobody does."""
    listener = Listener()
    heard = dialogue.choose(path, media.probe(path), listener, track=own.track, channels=own.channels).chosen
    listener.begin()
    waves: list[np.ndarray] = []
    chance: list[float] = []
    before = 0
    blocks = media.sound_blocks(
        path, RATE_HZ, align_to_video=own.dialogue is None, stream_index=heard.stream, channels=heard.channels
    )
    for block in _ended(blocks):
        if block is not None:
            waves.append(samples16(block))
            chance += listener.hear(block)
        if block is None or sum(map(len, waves)) > _LISTENS_S * RATE_HZ:
            wave = np.concatenate(waves) if waves else np.zeros(0, np.int16)
            if len(wave) and len(found := speech_ranges(wave, np.array(chance, np.float32))):
                return Fraction(before + int(found[0, 0]), RATE_HZ)
            before += len(wave)
            waves, chance = [], []
    return Fraction(0)


def _ended(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray | None]:
    yield from blocks
    yield None

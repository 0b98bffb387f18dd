"""What was heard in a title's sounds: words with their times, as a table and as subtitles.

    OUT/<title>/<language>/words.parquet, words.vtt      of a dub, and of each character where there are stems
    OUT/<title>/analysis/words.parquet, words.vtt        of the original

`dub listen` writes them; review, search and report read them where they are. Schema `dub.words.1`. Times are seconds
from where frame 0 begins. Knows no network and no page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pyarrow as pa

from dubbing.errors import DamagedResult
from dubbing.shot_table import read_table, write_rows
from dubbing.store import Store

__all__ = ["SCHEMA", "TABLE", "VTT", "Word", "cues", "joined", "read_words", "vtt", "write_words"]

TABLE, VTT = "words.parquet", "words.vtt"
_PAUSE_S, _LONGEST_S, _MOST = 0.6, 6.0, 84  # a cue ends at such a pause, and before it gets longer than this
_ENDS = (".", "!", "?", "…", "。", "！", "？", "।")
SCHEMA = pa.schema(
    [
        *((n, pa.string()) for n in ("title", "language", "character", "word")),
        ("spaced", pa.bool_()),
        *((n, pa.float64()) for n in ("start_s", "end_s")),
        ("probability", pa.float32()),
        ("heard", pa.string()),
    ],
    metadata={"schema": "dub.words.1"},
)


@dataclass(frozen=True)
class Word:
    """One word that was heard. word: without spaces around it; start_s, end_s: seconds from where frame 0 begins;
    probability: 0..1; heard: the language it was heard in, Whisper's code; spaced: whether a space stands before it;
    character: whose stem it is of, None for the whole dialogue."""

    word: str
    start_s: float
    end_s: float
    probability: float
    heard: str
    spaced: bool = True
    character: str | None = None


_OWN = [f.name for f in fields(Word)]


def joined(words: Iterable[Word]) -> str:
    """The words as a text, with spaces where their script has them."""
    return "".join(f" {w.word}" if w.spaced else w.word for w in words).strip()


def write_words(store: Store, folder: Path, title: str, language: str | None, words: Sequence[Word]) -> None:
    """Write both files. language: the dub's tag; None for the original. Raises OutputError."""
    whose = {"title": title, "language": language}
    write_rows(store, folder / TABLE, ({**whose, **asdict(w)} for w in words), SCHEMA)
    store.write_bytes(folder / VTT, vtt(words).encode())


def read_words(store: Store, folder: Path) -> list[Word]:
    """The words that were heard, in order; none where nobody has listened, or the table is damaged."""
    try:
        rows = read_table(store.read_bytes(folder / TABLE), TABLE).to_pylist()
    except (OSError, DamagedResult):
        return []
    return [Word(**{name: row[name] for name in _OWN}) for row in rows]


def cues(words: Iterable[Word]) -> Iterator[list[Word]]:
    """The words of one character after another, in groups that are read at once: a sentence, or up to a pause."""
    held: list[Word] = []
    for word in words:
        if held and (
            word.character != held[0].character or word.start_s - held[-1].end_s >= _PAUSE_S
            or word.end_s - held[0].start_s > _LONGEST_S or len(joined([*held, word])) > _MOST
            or held[-1].word.endswith(_ENDS)
        ):  # fmt: skip
            yield held
            held = []
        held.append(word)
    if held:
        yield held


def vtt(words: Sequence[Word]) -> str:
    """WebVTT with the time of each word, and the character of each cue where it is known. Cues in order of time."""
    parts = ["WEBVTT"]
    for cue in sorted(cues(words), key=lambda c: c[0].start_s):
        first, last = _time(cue[0].start_s), _time(max(cue[-1].end_s, cue[0].start_s + 0.001))
        text = _escaped(cue[0].word)
        for word in cue[1:]:
            space = " " if word.spaced else ""
            text += f"{space}<{_time(word.start_s)}><c>{_escaped(word.word)}</c>"
        voice = f"<v {_escaped(cue[0].character)}>" if cue[0].character else ""
        parts.append(f"{first} --> {last}\n{voice}{text}")
    return "\n\n".join(parts) + "\n"


def _time(time_s: float) -> str:
    """`00:01:02.345`."""
    ms = round(time_s * 1000)
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

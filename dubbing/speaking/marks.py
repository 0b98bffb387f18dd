"""Written text as passages to be said: sentences and paragraphs with their pauses, and the marks of SSML.

Of SSML (W3C, 1.1) `speak`, `p`, `s`, `break`, `emphasis` and `sub` mean something; of all else the words are said, and
it is named as left out. Knows no voice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.parsers import expat

from dubbing.errors import ManifestError
from dubbing.speaking import Break, Emphasis, Passage, Words

__all__ = ["Written", "is_marked", "written"]

SENTENCE_S, PARAGRAPH_S = 0.3, 0.7  # pauses after them
_STRENGTHS = {"none": 0.0, "x-weak": 0.0, "weak": 0.15, "medium": 0.3, "strong": 0.6, "x-strong": 1.0}
_LEVELS: dict[str, Emphasis | None] = {"strong": "strong", "moderate": "moderate", "reduced": "reduced", "none": None}
_LONGEST_S = 60.0
_MARK = re.compile(r"<(?:speak|break|emphasis|sub|p|s)\b[^<>]*>")
_TIME = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)(ms|s)", re.ASCII)
_SENTENCE = re.compile(r"(?<=[.!?…])[\"'”’»)\]]*\s+|(?<=[。！？।])\s*")
_PARAGRAPH = re.compile(r"\n\s*\n")
_LONGEST = 600  # letters that are said in one go


@dataclass(frozen=True)
class Written:
    """passages: in order; emphasised: whether any word is; left_out: names of marks that mean nothing here."""

    passages: tuple[Passage, ...]
    emphasised: bool = False
    left_out: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """All that is said."""
        return " ".join(one.text for of in self.passages for one in of if isinstance(one, Words))


def is_marked(text: str) -> bool:
    """Whether a text is, or holds, SSML."""
    return _MARK.search(text) is not None


def written(text: str, *, whole: bool = False) -> Written:
    """Passages of a text, plain or SSML. whole: in one passage. Raises ManifestError: it is no whole SSML, or a break
    is none."""
    flow, left_out = _flow(text) if is_marked(text) else (list(_plain(text)), ())
    passages: list[list[Words | Break]] = [[]]
    for one in flow:
        if isinstance(one, Words):
            for sentence in [one.text] if whole else _sentences(one.text):
                passages[-1].append(Words(" ".join(sentence.split()), one.emphasis))
                if not whole and _SENTENCE.search(sentence.rstrip() + " "):
                    passages += [[Break(SENTENCE_S)], []]
        else:
            passages += [[one], []] if not whole else []
            if whole:
                passages[-1].append(one)
    found = tuple(tuple(p) for p in passages if p)
    stressed = any(isinstance(one, Words) and one.emphasis for of in found for one in of)
    return Written(_merged(found), stressed, left_out)


def _merged(passages: tuple[Passage, ...]) -> tuple[Passage, ...]:
    """Pauses that follow each other as the longest of them."""
    found: list[Passage] = []
    for one in passages:
        (first, *more) = one
        last = found[-1][0] if found else None
        if isinstance(first, Break) and not more and isinstance(last, Break):
            found[-1] = (Break(max(first.seconds, last.seconds)),)
        else:
            found.append(one)
    return tuple(found)


def _plain(text: str) -> Iterator[Words | Break]:
    for n, paragraph in enumerate(p for p in _PARAGRAPH.split(text) if p.strip()):
        if n:
            yield Break(PARAGRAPH_S)
        yield Words(paragraph)


def _sentences(text: str) -> Iterator[str]:
    """Sentences, each with its mark; of a longer one parts, after a comma or a word."""
    at = 0
    for found in [*_SENTENCE.finditer(text), None]:
        end = found.end() if found else len(text)
        sentence, at = text[at:end], end
        while len(sentence) > _LONGEST:
            cut = max(sentence.rfind(mark, 0, _LONGEST) for mark in ",;:") + 1 or sentence.rfind(" ", 0, _LONGEST) + 1
            yield sentence[: cut or _LONGEST]
            sentence = sentence[cut or _LONGEST :]
        if sentence.strip():
            yield sentence


def _flow(text: str) -> tuple[list[Words | Break], tuple[str, ...]]:
    """Words and pauses of SSML, and the names of marks that are left out."""
    reader = _Ssml()
    whole = text if re.match(r"\s*(<\?xml|<speak\b)", text) else f"<speak>{text}</speak>"
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = reader.begins, reader.ends
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = reader.says, reader.refuses
    parser.buffer_text = True
    try:
        parser.Parse(whole, True)
    except expat.ExpatError as e:
        raise ManifestError(
            f"the text holds marks of SSML and is no whole XML at its line {e.lineno} "
            f"({expat.errors.messages[e.code]}); close every mark, and write &amp; for & and &lt; for <."
        ) from e
    return reader.found, tuple(dict.fromkeys(reader.left_out))


class _Ssml:
    def __init__(self) -> None:
        self.found: list[Words | Break] = []
        self.left_out: list[str] = []
        self._levels: list[Emphasis | None] = [None]
        self._alias = 0

    def refuses(self, *about: Any) -> None:
        raise ManifestError("the text is SSML with a DOCTYPE, which it need not have; remove it.")

    def begins(self, name: str, attributes: dict[str, str]) -> None:
        kind, level = name.rpartition(":")[2], self._levels[-1]
        if kind == "break":
            self.found.append(Break(_pause(attributes)))
        elif kind == "emphasis":
            said = attributes.get("level", "moderate")
            if said not in _LEVELS:
                raise ManifestError(f"the text has an emphasis of level {said!r}; there is: {', '.join(_LEVELS)}.")
            level = _LEVELS[said]
        elif kind == "sub":
            self.says(attributes.get("alias", ""))
            self._alias += 1
        elif kind not in ("speak", "p", "s"):
            self.left_out.append(kind)
        self._levels.append(level)

    def ends(self, name: str) -> None:
        kind = name.rpartition(":")[2]
        self._levels.pop()
        if kind in ("p", "s"):
            self.found.append(Break(PARAGRAPH_S if kind == "p" else SENTENCE_S))
        self._alias -= kind == "sub"

    def says(self, text: str) -> None:
        if text.strip() and not self._alias:
            last = self.found[-1] if self.found else None
            if isinstance(last, Words) and last.emphasis == self._levels[-1]:
                self.found[-1] = Words(last.text + text, last.emphasis)
            else:
                self.found.append(Words(text, self._levels[-1]))


def _pause(attributes: dict[str, str]) -> float:
    if (time := attributes.get("time")) is None:
        strength = attributes.get("strength", "medium")
        if strength not in _STRENGTHS:
            raise ManifestError(f"the text has a break of strength {strength!r}; there is: {', '.join(_STRENGTHS)}.")
        return _STRENGTHS[strength]
    found = _TIME.fullmatch(time.strip())
    seconds = float(found[1]) / (1000 if found[2] == "ms" else 1) if found else -1.0
    if not 0 <= seconds <= _LONGEST_S:
        raise ManifestError(f"the text has a break of {time!r}; write 500ms or 1.5s, {_LONGEST_S:.0f} s at most.")
    return seconds

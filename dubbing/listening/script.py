"""Lines that should be said against words that were heard: which are missing, which are somewhere else, what is extra.

A transcript is never right to the letter, so a line is looked for by how alike it is to what was heard, first where
it should be and then elsewhere. Pure: knows no file and no network.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from fractions import Fraction
from itertools import accumulate
from typing import Literal, Protocol

from dubbing.words import Word, joined

__all__ = ["Difference", "Line", "compare"]

_ALIKE, _ELSEWHERE = 0.5, 0.65  # how alike a line and what is heard are, of 1: in its place, and anywhere else
_PAIRS = 0.4  # of a text's pairs of letters, where it is looked at closely
_AROUND_S = 1.0  # a line's place reaches so far around it
_FAR_S = 120.0  # a line with a time is looked for so far around it
_MOVED_S = 0.5  # a line is moved from so far on
_EXTRA_LETTERS = 4  # less, between the lines, is a breath or a misheard noise
_PAUSE_S = 1.0  # what is extra is told in parts between such pauses


class Line(Protocol):
    """A line of a script. character: None where the script does not say; start_s, end_s: None where it gives no
    time."""

    @property
    def character(self) -> str | None: ...

    @property
    def start_s(self) -> Fraction | float | None: ...

    @property
    def end_s(self) -> Fraction | float | None: ...

    @property
    def text(self) -> str: ...


@dataclass(frozen=True)
class Difference:
    """One thing in which a script and what was heard differ. line: its number from 1, None for what is extra; start_s,
    end_s: where it should be, of extra words where they are; heard_s: where a moved line is; text: of the line, or what
    was heard."""

    kind: Literal["missing", "extra", "moved"]
    text: str
    start_s: float | None
    end_s: float | None
    character: str | None = None
    line: int | None = None
    heard_s: float | None = None


def compare(lines: Sequence[Line], words: Sequence[Word]) -> list[Difference]:
    """Where a script and what was heard differ, in order of time.

    words: of one dialogue, in order. A line of a character is looked for among that character's words where there are
    any of that name, else among all.
    """
    found: list[Difference] = []
    own = {w.character for w in words if w.character is not None}
    for who in [None, *sorted(own)]:
        mine = sorted((w for w in words if w.character == who), key=lambda w: w.start_s)
        theirs = [
            (n, one) for n, one in enumerate(lines, 1)
            if (one.character if one.character in own else None) == who and _letters(one.text)
        ]  # fmt: skip
        if who is None and own and not theirs:
            continue  # every line has a character whose own sound was listened to
        found += _of_one(theirs, mine, who)
    return sorted(found, key=lambda d: (d.start_s if d.start_s is not None else -1.0, d.line or 0))


def _of_one(lines: Sequence[tuple[int, Line]], words: Sequence[Word], who: str | None) -> list[Difference]:
    taken = [False] * len(words)
    letters = [_letters(w.word) for w in words]
    starts = [w.start_s for w in words]
    ends = list(accumulate((w.end_s for w in words), max))  # until when all words so far have ended
    found: list[Difference] = []
    left: list[tuple[int, Line]] = []
    for n, line in lines:
        begin, last = _times(line)
        span = None
        if begin is not None and last is not None:
            near = [
                k for k in range(bisect_right(ends, begin - _AROUND_S), bisect_left(starts, last + _AROUND_S))
                if not taken[k] and words[k].end_s > begin - _AROUND_S
            ]  # fmt: skip
            span = _best(_letters(line.text), near, letters, _ALIKE)
        if span is None:
            left.append((n, line))
        else:
            found += _placed(n, line, words, span, taken)
    for n, line in left:
        begin, last = _times(line)
        among = range(len(words))
        if begin is not None and last is not None:
            among = range(bisect_right(starts, begin - _FAR_S), bisect_left(starts, last + _FAR_S))
        free = [k for k in among if not taken[k]]
        wanted = _letters(line.text)
        span = _best(wanted, free, letters, _ELSEWHERE, _promising(wanted, free, letters))
        if span is None:
            found.append(Difference("missing", line.text, *_times(line), line.character, n))
        else:
            found += _placed(n, line, words, span, taken)
    return found + _extra(words, letters, taken, who)


def _placed(
    n: int, line: Line, words: Sequence[Word], span: tuple[int, int], taken: list[bool]
) -> list[Difference]:  # fmt: skip
    """Takes the words of a line that was found, and tells where it is if that is elsewhere."""
    first, last = span
    taken[first : last + 1] = [True] * (last + 1 - first)
    heard_s, (start_s, end_s) = words[first].start_s, _times(line)
    if start_s is None or abs(heard_s - start_s) < _MOVED_S:
        return []
    return [Difference("moved", line.text, start_s, end_s, line.character, n, heard_s)]


def _times(line: Line) -> tuple[float | None, float | None]:
    """Beginning and end of a line, seconds; where no end is given, it ends as it begins."""
    if line.start_s is None:
        return None, None
    return float(line.start_s), float(line.start_s if line.end_s is None else line.end_s)


def _promising(wanted: str, among: Sequence[int], letters: Sequence[str]) -> list[bool]:
    """At which words a text like that may begin: where enough pairs of letters that follow are in it. It is quick, and
    most of a film is not worth a closer look."""
    pairs = {wanted[n : n + 2] for n in range(len(wanted) - 1)}
    text = "".join(letters[k] for k in among)
    total = [0]
    for n in range(len(text)):
        total.append(total[-1] + (text[n : n + 2] in pairs))
    begins, found = 0, []
    for k in among:
        found.append(total[min(len(text), begins + len(wanted))] - total[begins] >= _PAIRS * len(wanted))
        begins += len(letters[k])
    return found


def _best(
    wanted: str, among: Sequence[int], letters: Sequence[str], least: float, begins: Sequence[bool] | None = None
) -> tuple[int, int] | None:
    """The run of words (first, last), both in it, that is most like a text; None where none is like it enough. begins:
    at which of them it may begin; None: at any."""
    best, found = least, None
    matcher = SequenceMatcher(None, autojunk=False)
    matcher.set_seq2(wanted)
    for start in range(len(among)):
        if begins is not None and not begins[start]:
            continue
        text, k = "", start
        while k < len(among) and among[k] - among[start] == k - start:
            if len(text) > 0 and len(text) + len(letters[among[k]]) > 1.4 * len(wanted) + 2:
                break
            text += letters[among[k]]
            if len(text) >= 0.5 * len(wanted):
                matcher.set_seq1(text)
                if matcher.real_quick_ratio() >= best and matcher.quick_ratio() >= best:
                    alike = matcher.ratio()
                    if alike > best or (found is None and alike >= best):
                        best, found = alike, (among[start], among[k])
            k += 1
    return found


def _extra(words: Sequence[Word], letters: Sequence[str], taken: Sequence[bool], who: str | None) -> list[Difference]:
    """What was said and stands in no line, in parts between pauses."""
    runs: list[list[int]] = []
    for k, gone in enumerate(taken):
        if gone:
            continue
        if runs and runs[-1][-1] == k - 1 and words[k].start_s - words[k - 1].end_s < _PAUSE_S:
            runs[-1].append(k)
        else:
            runs.append([k])
    return [
        Difference("extra", joined(words[k] for k in run), words[run[0]].start_s, words[run[-1]].end_s, who)
        for run in runs
        if sum(len(letters[k]) for k in run) >= _EXTRA_LETTERS
    ]


def _letters(text: str) -> str:
    """Letters and digits alone, in one form and one size."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(c for c in plain if c.isalnum())

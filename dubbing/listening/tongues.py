"""Whether the language that was heard is the one of a tag.

A region or a script is not heard (`pt-BR` is `pt`), and languages that an ear cannot tell apart count as one.
Knows no network and no file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Heard", "Verdict", "code_of", "mean", "named", "verdict"]

_SURE, _HARDLY = 0.5, 0.2  # wrong: another language at least as likely as the first, and the tag's under the second
_OTHERWISE = {"fil": "tl", "jv": "jw", "cmn": "zh", "nb": "no", "iw": "he", "in": "id", "mo": "ro"}
_ALIKE = ({"hr", "sr", "bs"}, {"no", "nn"}, {"ms", "id"}, {"hi", "ur"})  # one spoken language under several names

Verdict = Literal["as tagged", "another", "not sure", "unknown", "no speech"]


@dataclass(frozen=True)
class Heard:
    """What of a sound's language was found. verdict: `another` where it is surely not the tag's, `unknown` where the
    network does not know the tag's; language: the likeliest, Whisper's code; probability: its chance, 0..1; tagged: the
    chance of the tag's own, None where there is no tag or the network does not know it."""

    verdict: Verdict
    language: str | None = None
    probability: float = 0.0
    tagged: float | None = None


def code_of(tag: str, known: Collection[str]) -> str | None:
    """Whisper's code of a BCP 47 tag; None where it knows no such language."""
    import langcodes

    try:
        main = langcodes.Language.get(tag).language or tag.split("-")[0].lower()
    except ValueError:
        main = tag.split("-")[0].lower()
    for code in (_OTHERWISE.get(main, main), main):
        if code in known:
            return code
    return None


def mean(chances: Sequence[tuple[Mapping[str, float], float]]) -> dict[str, float]:
    """The chances of each language in several windows, weighed by their seconds; empty where there is none."""
    total = sum(seconds for _, seconds in chances)
    found: dict[str, float] = {}
    for one, seconds in chances:
        for code, chance in one.items():
            found[code] = found.get(code, 0.0) + chance * seconds / total
    return found


def verdict(chances: Mapping[str, float], tag: str | None, known: Collection[str]) -> Heard:
    """What the chances of the languages say of a tag; None: of no tag, for the language alone. known: every code that
    the network knows."""
    if not chances:
        return Heard("no speech")
    code = code_of(tag, known) if tag is not None else None
    groups = {c: _together(c, chances) for c in chances}
    best = max(sorted(groups), key=lambda c: (groups[c], chances[c]))
    if tag is not None and code is None:
        return Heard("unknown", best, groups[best])
    if code is None:
        return Heard("as tagged", best, groups[best])
    own = _together(code, chances)
    if best in _alike(code):
        return Heard("as tagged", code, own, own)
    return Heard("another" if groups[best] >= _SURE and own < _HARDLY else "not sure", best, groups[best], own)


def named(code: str) -> str:
    """A language for people: `German (de)`."""
    import langcodes

    usual = {v: k for k, v in _OTHERWISE.items()}.get(code, code) if code in ("jw", "tl") else code
    words = {"zh": "Chinese", "no": "Norwegian", "yue": "Cantonese"}
    name = words.get(code) or _names().get(code) or langcodes.standardize_tag(usual)
    return f"{name} ({code})"


def _names() -> dict[str, str]:
    """Whisper's own names of its languages, by code; empty where the package is not installed."""
    try:
        from whisper.tokenizer import LANGUAGES
    except ImportError:
        return {}
    return {code: name.title() for code, name in LANGUAGES.items()}


def _alike(code: str) -> Collection[str]:
    return next((group for group in _ALIKE if code in group), (code,))


def _together(code: str, chances: Mapping[str, float]) -> float:
    return sum(chances.get(c, 0.0) for c in _alike(code))

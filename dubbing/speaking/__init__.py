"""Text to speech: the protocol that every synthesiser keeps, and how a voice is found by its name.

    voices()                         every voice that is there, best first
    chosen("joe", "en-GB")           the voice of that name; refused where it does not speak the language
    chosen(None, "hi")               the best that speaks it

A synthesiser says passages of text on this machine, and tells when which sound is said where it knows it. It knows no
film, no slot and no file of ours; `spoken` makes the sounds of a manifest. Another package adds one by an entry point
of the group `dubbing.synthesisers`.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal, Protocol

import numpy as np

from dubbing import plugins
from dubbing.errors import ManifestError, PluginError
from dubbing.phones import Phone

__all__ = [
    "Break", "Emphasis", "Passage", "Speech", "Synthesiser", "Voice", "Words", "by_language", "chosen", "load",
    "missing", "speaks", "voices",
]  # fmt: skip

Emphasis = Literal["strong", "moderate", "reduced"]
_SHOWN = 12  # names in a message
_CLOSE = 9  # of langcodes.tag_distance: regions of a language are within 5, other languages above 10
_ATTRIBUTES = ("emphasis", "absent", "voices", "version", "speak")


@dataclass(frozen=True)
class Voice:
    """One voice. name: `espeak/en-us`, its synthesiser's name and its own; languages: BCP 47 tags that it speaks, its
    own first; about: what it is, in a few words."""

    name: str
    languages: tuple[str, ...]
    about: str = ""

    @property
    def synthesiser(self) -> str:
        return self.name.partition("/")[0]

    @property
    def own_name(self) -> str:
        return self.name.partition("/")[2]


@dataclass(frozen=True)
class Words:
    """Plain text, said on."""

    text: str
    emphasis: Emphasis | None = None


@dataclass(frozen=True)
class Break:
    """A pause of so many seconds."""

    seconds: float


Passage = tuple[Words | Break, ...]
"""What is said in one go: a sentence or two."""


@dataclass(frozen=True, eq=False)
class Speech:
    """samples: float32 (T,), mono, -1..1, without silence at its ends; rate_hz: its own; phones: in order, from its
    first sample; none where the synthesiser does not tell when each is said, and then the mouth listens."""

    samples: np.ndarray
    rate_hz: int
    phones: tuple[Phone, ...]

    @property
    def lasts_s(self) -> float:
        return len(self.samples) / self.rate_hz


class Synthesiser(Protocol):
    """What a synthesiser's class says, and what one of them does.

    name: as in the names of its voices, and of its entry point; emphasis: whether it stresses words that are marked.
    """

    name: ClassVar[str]
    emphasis: ClassVar[bool]

    def __init__(self, folder: str | None = None) -> None:
        """folder: where models lie, as the configuration says; voices of people's own lie in `voices` in it."""
        ...

    def absent(self) -> str | None:
        """Why none of its voices can be used, with what to do, as a sentence; None where they can."""
        ...

    def voices(self) -> Sequence[Voice]:
        """Those that are there, best first. It may cost a second, and loads no model."""
        ...

    def version(self, voice: str) -> str:
        """What a voice's sound depends on besides the text: package and weights. voice: its own name."""
        ...

    def speak(self, passages: Sequence[Passage], voice: str, rates: Sequence[float]) -> list[Speech]:
        """Say each passage at its rate, 1.0 being the voice's own, 1.4 faster. The same call gives the same samples,
        whatever was said before. Raises InputError."""
        ...


def load(name: str, folder: str | None = None) -> Synthesiser:
    """The synthesiser of that name. Raises PluginError."""
    kind = plugins.require(plugins.SYNTHESISERS, name, _ATTRIBUTES)
    made: Synthesiser = kind(folder)
    return made


def voices(folder: str | None = None) -> tuple[Voice, ...]:
    """Every voice that is there: the best synthesiser first, and each one's best first."""
    return _known(folder)[0]


def missing(folder: str | None = None) -> tuple[str, ...]:
    """Why synthesisers have no voice, with what to do: a sentence for each that has none."""
    return _known(folder)[1]


def by_language(known: Sequence[Voice], language: str) -> tuple[Voice, ...]:
    """Those that speak a language, the nearest first."""
    return tuple(sorted((v for v in known if speaks(v, language)), key=lambda v: _distance(v, language)))


@lru_cache(maxsize=4)
def _known(folder: str | None) -> tuple[tuple[Voice, ...], tuple[str, ...]]:
    """The voices, and why synthesisers have none."""
    found: list[Voice] = []
    missing = []
    for name in plugins.names(plugins.SYNTHESISERS):
        try:
            one = load(name, folder)
            reason = one.absent()
        except PluginError as e:
            reason = str(e)
        if reason:
            missing.append(reason)
        else:
            found += one.voices()
    return tuple(found), tuple(missing)


def chosen(name: str | None, language: str, folder: str | None = None) -> Voice:
    """The voice of a name (`piper/en_US-joe-medium`, or its own name alone), or the best for a language.

    Raises ManifestError: none of that name, with those that are near; it does not speak the language, with those that
    it does; no voice speaks it.
    """
    known, missing = _known(folder)
    if not known:
        raise ManifestError(f"no voice is there to speak: {' '.join(missing)}")
    if name is None:
        near = by_language(known, language)
        if not near:
            tags = sorted({v.languages[0].split("-")[0] for v in known})
            raise ManifestError(
                f"no voice that is there speaks {language!r}; they speak {_listed(tags)}. `dub voices` lists them."
            )
        return near[0]
    found = [v for v in known if name.casefold() in (v.name.casefold(), v.own_name.casefold())]
    found = found or [v for v in known if name.casefold() in v.own_name.casefold().replace("_", "-").split("-")]
    if not found:
        names = [v.own_name for v in known] + [v.name for v in known]
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        close = close or [v.name for v in by_language(known, language)[:3]]
        hint = f"; near it: {', '.join(close)}" if close else ""
        raise ManifestError(f"there is no voice {name!r}{hint}. `dub voices` lists all {len(known)}.")
    good = [v for v in found if speaks(v, language)]
    if not good:
        raise ManifestError(
            f"the voice {found[0].name} does not speak {language!r}, but {found[0].languages[0]}; leave 'voice' "
            "out for one that does, or see `dub voices`."
        )
    return good[0]


def speaks(voice: Voice, language: str) -> bool:
    """Whether a voice speaks a language: the same one, of whatever region."""
    return _distance(voice, language) <= _CLOSE


def _distance(voice: Voice, language: str) -> int:
    return min((_apart(language, tag) for tag in voice.languages), default=1000)


@lru_cache(maxsize=4096)
def _apart(language: str, tag: str) -> int:
    """How far two tags are apart; a script that a voice does not name is no matter."""
    import langcodes

    try:
        wanted = langcodes.Language.get(language)
        if wanted.language is None:
            return 1000
        plain = str(langcodes.Language.make(language=wanted.language, territory=wanted.territory))
        return min(langcodes.tag_distance(language, tag), langcodes.tag_distance(plain, tag))
    except ValueError:
        return 1000


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more

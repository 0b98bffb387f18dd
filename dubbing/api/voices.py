"""Which voices there are to speak a dub's text, from Python: what `dub voices` does, without a word."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dubbing import languages, speaking
from dubbing.api.jobs import settings_of
from dubbing.config import Config
from dubbing.errors import InputError
from dubbing.speaking import Voice
from dubbing.speaking.places import own_folder

__all__ = ["Voices", "voices"]


@dataclass(frozen=True)
class Voices:
    """voices: best first, the nearest to the language first where one is asked; absent: why synthesisers have none;
    folder: where voices of your own go."""

    voices: tuple[Voice, ...]
    absent: tuple[str, ...]
    folder: Path


def voices(language: str | None = None, *, config: Config | Path | str | None = None) -> Voices:
    """Every voice that is there. language: BCP 47, for those that speak it. Raises InputError: it is none."""
    if language is not None and (problem := languages.refusal(language)):
        raise InputError(f"{language!r} names a language, {problem}.")
    folder = settings_of(config).models.folder
    found = speaking.voices(folder)
    if language is not None:
        found = speaking.by_language(found, language)
    return Voices(found, speaking.missing(folder), own_folder(folder))

"""A first manifest out of files: as text to complete, and as a job that needs no file.

What language a sound has is taken from the end of its name and from its stream's tag, where these leave no doubt;
where they do, the text asks in a comment, and a job without a manifest refuses.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dubbing import languages, media, sequences
from dubbing.errors import InputError, ManifestError, MediaError, OutputError
from dubbing.inputs import read_file
from dubbing.manifest import Dub, Manifest, Title

__all__ = ["First", "Sound", "called", "first", "first_of_film", "quick", "write"]

_SOUNDS = frozenset(
    "aac ac3 aif aiff ape au caf dts eac3 flac m4a mka mp3 oga ogg opus tta w64 wav wv".split()
)  # fmt: skip
_ASKS = "which language? a BCP 47 tag, for example fr, pt-BR or zh-Hant"


@dataclass(frozen=True)
class Sound:
    """A dub as a person names it. file: the mix; language: BCP 47, None where it is not certain; why: where that was
    read, or what left it in doubt."""

    file: Path
    language: str | None
    why: str


@dataclass(frozen=True)
class First:
    """A first manifest. text: YAML; sounds: its dubs; asks: the lines (from 1) that a person has to complete."""

    text: str
    sounds: tuple[Sound, ...]

    @property
    def asks(self) -> list[int]:
        """Lines with a key without a value."""
        return [n for n, line in enumerate(self.text.splitlines(), 1) if re.match(r"[\s-]+(language|audio): *#", line)]


def first(film: Path, sounds: Sequence[str], folder: Path) -> First:
    """A manifest of one film, as it would lie in `folder`.

    sounds: files, each as `FILE` or `LANGUAGE=FILE`; without any those beside the film whose names begin as its own
    does. Raises InputError: a file that is not there, is no film, or has no sound; a language that is none.
    """
    picture = _film(film)
    given = sounds or [str(p) for p in _beside(film)]
    found = _sounds(film, given)
    name = _name(film)
    _checked(film, name, found)
    lines = [
        "# A first manifest. `dub check` says what a run of it will need and do, `dub run` does it. Paths start at",
        "# this file's folder; `dub schema` lists every key.",
        "version: 1",
        "titles:",
        f"  - id: {_yaml(name)} # names the output folder",
        f"    video: {_yaml(_path(film, folder))} # {picture}",
        "    dubs:",
    ]
    for sound in found:
        said = f" {_yaml(sound.language)} # {sound.why}" if sound.language else f" # {_ASKS} ({sound.why})"
        lines += [f"      - language:{said}", f"        audio: {_yaml(_path(sound.file, folder))}"]
    if not found:
        lines += [f"      - language: # {_ASKS}", "        audio: # the mix that is delivered, as long as the picture"]
    return First("\n".join(lines) + "\n", tuple(found))


def first_of_film(path: Path) -> First | None:
    """A manifest to start from where somebody gave a film in place of one; None where that file is no film."""
    try:
        if b"\0" not in read_file(path, 4096):  # text
            return None
        return first(path, (), Path.cwd())
    except (InputError, OSError):
        return None


def write(made: First, file: Path) -> None:
    """Write a first manifest where nothing lies yet. Raises OutputError: something does; it cannot be written."""
    try:
        with file.open("x", encoding="utf-8") as f:
            f.write(made.text)
    except FileExistsError as e:
        raise OutputError(f"{str(file)!r} is there already and stays as it is; name another file with --to.") from e
    except OSError as e:
        raise OutputError(f"{str(file)!r} cannot be written ({e.strerror or e}); name another file with --to.") from e


def quick(film: Path, sounds: Sequence[str]) -> Manifest:
    """The job of one film and its dubs, without a manifest. sounds: as of `first`, at least one.

    Raises InputError: as `first`; a language that is not certain.
    """
    _film(film)
    found = _sounds(film, sounds)
    doubt = next((s for s in found if s.language is None), None)
    if doubt is not None:
        raise InputError(
            f"Which language is {str(doubt.file)!r}? It cannot be told ({doubt.why}); write it before the file, for "
            f"example fr={doubt.file}."
        )
    return _checked(film, _name(film), found)


def _film(film: Path) -> str:
    """What the picture is, in a few words."""
    if media.is_photograph(film):
        return "{}x{}, a photograph".format(*media.read_photograph(film).size)
    media.check_sequence(film)
    info = media.probe(film)
    if info.video is None:
        raise MediaError(f"{film} has no picture; the film comes first, then its dubs.")
    return "{}x{}".format(*info.upright_size) + f", {info.video.rate} frames a second"


def _sounds(film: Path, given: Sequence[str]) -> list[Sound]:
    found = [_sound(film, text) for text in given]
    often = Counter(s.language.casefold() for s in found if s.language)
    twice = {language for language, count in often.items() if count > 1}
    return [
        Sound(s.file, None, f"several sounds seem to be {s.language}")
        if s.language and s.language.casefold() in twice and s.why != _SAID
        else s
        for s in found
    ]


_SAID = "as you said"


def _sound(film: Path, text: str) -> Sound:
    """What `FILE` or `LANGUAGE=FILE` says. A file whose name holds a `=` is a file."""
    said, equals, rest = text.partition("=")
    named = bool(equals) and not os.path.lexists(text)
    file = Path(rest if named else text)
    info = media.probe(file)
    if not info.audio:
        raise MediaError(f"{file} has no sound stream; a dub is the mix that is delivered.")
    if named:
        if problem := languages.refusal(said):
            raise InputError(f"{text!r} names the language {said!r}, {problem}.")
        return Sound(file, said, _SAID)
    written = None if file.stem == film.stem else languages.at_the_end_of(file.stem)
    tagged = languages.of_stream_tag(info.audio[0].language)
    if written and tagged and written.split("-")[0] != tagged.split("-")[0]:
        return Sound(file, None, f"its name says {written}, its stream's tag says {tagged}")
    if written:
        return Sound(file, written, "by its name")
    if tagged:
        return Sound(file, tagged, "by its stream's tag")
    return Sound(file, None, "neither its name nor a tag says")


def _beside(film: Path) -> list[Path]:
    """Sounds in the film's folder whose names go on where the film's ends: `reel.fr.flac` beside `reel.mp4`."""
    try:
        there = sorted(film.absolute().parent.iterdir())
    except OSError:
        return []
    begins = tuple(film.stem + mark for mark in "._- ")
    return [
        film.parent / p.name for p in there
        if p.name.startswith(begins) and p.suffix.lower().lstrip(".") in _SOUNDS and p.is_file()
    ]  # fmt: skip


def called(film: Path) -> str:
    """What a film is called: its file without the ending; of a sequence of pictures what its files' names begin with,
    else its folder."""
    found = sequences.find(film)
    return film.stem if found is None else found.before.strip("._- ") or found.folder.absolute().name


def _name(film: Path) -> str:
    """An id for the title, of the characters that are allowed."""
    name = re.sub(r"[^a-z0-9_-]+", "_", called(film).lower()).strip("_")[:64] or "film"
    try:
        Title(id=name, video=film, dubs=[Dub(language="und", audio=film)])
    except ManifestError:  # the name of a device on Windows
        name += "_1"
    return name


def _checked(film: Path, name: str, sounds: Sequence[Sound]) -> Manifest:
    """The job, an unknown language as one of private use. Raises ManifestError: a path that no manifest can hold."""
    dubs = [Dub(language=s.language or f"x-dub{n}", audio=s.file) for n, s in enumerate(sounds, 1)]
    return Manifest.of([Title(id=name, video=film, dubs=dubs or [Dub(language="x-dub", audio=film)])])


def _path(file: Path, folder: Path) -> str:
    """As a manifest in `folder` names a file: relative where it lies under that, else absolute."""
    whole = file.absolute()
    try:
        return str(whole.relative_to(folder.absolute()))
    except ValueError:
        return os.path.normpath(whole)


def _yaml(value: Any) -> str:
    """A value as YAML on one line, quoted where it has to be."""
    return str(yaml.safe_dump(value, allow_unicode=True, width=1 << 20)).removesuffix("\n").removesuffix("\n...")

"""Many films measured one after another; a table keeps what was measured already.

It knows no display: `Watch` is told what happens.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dubbing import media, sequences
from dubbing.errors import DubError, InputError, MediaError, OutputError
from dubbing.experts import Expert, model_name
from dubbing.inputs import near_names
from dubbing.scoring.film import Scorer
from dubbing.scoring.track_table import failed_row, key, read_table, rows, write_table

__all__ = ["Watch", "find_films", "score_films", "writable"]


class Watch:
    """What is called while films are measured. The methods do nothing; a subclass replaces those that it needs."""

    def begin(self, film: Path, number: int, films: int, pictures: int) -> None:
        """A film begins. number: which of `films` it is, from 1; pictures: how many will be read, 0 where nobody
        knows."""

    def pictures(self, film: Path, count: int) -> None:
        """`count` more pictures were read."""

    def failed(self, film: Path, error: DubError) -> None:
        """A film could not be scored, and the others go on."""

    def note(self, text: str) -> None:
        """A notice for the user, in one sentence."""


def find_films(videos: Sequence[Path]) -> Iterator[Path]:
    """The films that files and folders name, each once. Raises MediaError: no such file, no film in a folder."""
    seen: set[Path] = set()
    for path in videos:
        if not path.exists():
            raise MediaError(f"No such file: {str(path)!r}; give films, or a folder of them.{near_names(path)}")
        found = [path]
        if path.is_dir():
            inside = sorted(path.rglob("*"))
            found = [p for p in inside if p.suffix[1:].lower() in media.ENDINGS and p.is_file() and p.name[0] != "."]
            if not found:
                endings = ", ".join(media.ENDINGS)
                pictures = any(p.suffix.lower() in sequences.ENDINGS for p in path.iterdir())
                more = ", and no sequences of pictures, which are not measured" if pictures else ""
                raise MediaError(f"There is no film in {str(path)!r}; films are files that end in {endings}{more}.")
        for film in found:
            if film.resolve() not in seen:
                seen.add(film.resolve())
                yield film


def writable(path: Path | None) -> None:
    """Check before hours of work that a table can be written. Raises OutputError."""
    if path is None:
        return
    folder = next(p for p in path.absolute().parents if p.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise OutputError(f"{str(path)!r} cannot be written; give a file in a folder that you may write to.")


def score_films(
    films: Sequence[Path], audio: Path | None, expert: Expert, out: Path | None, watch: Watch, *, keep_going: bool
) -> tuple[list[dict[str, Any]], dict[str, DubError]]:
    """The rows of all films (`dub.score.1`), and the errors of those that could not be scored, by film. The rows are
    written to `out` after each film; what `out` holds already is not measured again.

    keep_going: a film that cannot be scored costs its own row only; else its InputError is raised. Raises OutputError.
    """
    model = model_name(expert)
    known: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in read_table(out) if out is not None else ():
        known.setdefault((row["video"], row["key"]), []).append(row)
    made: list[dict[str, Any]] = []
    errors: dict[str, DubError] = {}
    with Scorer(expert) as scorer:
        for number, film in enumerate(films, 1):
            try:
                frames = _frames(film)
                of = key(film, audio, model) if out is not None else ""
                if found := known.get((str(film), of)):
                    made += found
                    continue
                watch.begin(film, number, len(films), frames * scorer.passes)
                scored = scorer.score(film, audio, partial(watch.pictures, film))
                made += rows(scored, str(film), of)
                if audio is not None and abs(over := float(scored.sound_s - scored.length_s)) >= 0.1:
                    watch.note(f"{audio} lasts {abs(over):.2f} s {'more' if over > 0 else 'less'} than the picture.")
            except InputError as e:
                if not keep_going or isinstance(e, OutputError):
                    raise
                errors[str(film)] = e
                made.append(failed_row(str(film), audio, model, e))
                watch.failed(film, e)
            if out is not None:
                write_table(out, made)
    if out is not None:
        write_table(out, made)
    return made, errors


def _frames(film: Path) -> int:
    """How many frames its header promises. Raises MediaError where it is no film."""
    video = media.probe(film).video
    return video.frames_hint if video else 0

"""A photograph that says something, from Python: what `dub talk` does, without a word.

It is a run of a job of one title and one dub, in a folder for the time being, of which the master is kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dubbing import generators, media, speaking
from dubbing.api.jobs import run, settings_of
from dubbing.api.results import open_results
from dubbing.api.starting import quick
from dubbing.config import Config
from dubbing.engine import Event, Report
from dubbing.errors import InputError, ManifestError, MediaError, OutputError
from dubbing.manifest import Dub, Emotion, Expression, Manifest, Still, Title
from dubbing.manifest.expression import EMOTIONS
from dubbing.preflight import Findings
from dubbing.preflight.stills import unfit_face
from dubbing.store import temporary

__all__ = ["Talked", "talk"]

_CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "mkv"}
_UNKNOWN = "und"  # BCP 47: no language is said


@dataclass(frozen=True)
class Talked:
    """file: what was written; report: of the run."""

    file: Path
    report: Report


def talk(
    picture: Path, out: Path, *, text: str | Path | None = None, audio: Path | None = None, language: str | None = None,
    voice: str | None = None, face: int | None = None, emotion: str | Emotion | None = None,
    neutralise: bool | None = None, generator: str | Mapping[str, Any] = "rewrite", seed: int | None = None,
    work: Path | None = None, config: Config | Path | str | None = None, engine: str = "local",
    on_event: Callable[[Event], None] | None = None, on_check: Callable[[Findings], None] | None = None,
    on_speech: Callable[[int, int], None] | None = None,
) -> Talked:  # fmt: skip
    """Have the face in a photograph say a text, or a sound, and write that film to `out` (.mp4, .mov or .mkv).

    text: words, or a file of them; audio: a sound instead; language: BCP 47, needed for a text without a voice; voice:
    as `dub voices` names it; face: which of several, counted from the left; emotion: its name, with `:0.5` for half its
    strength; neutralise: whether its own expression goes first (None: where an emotion is asked); generator: as in a
    manifest; seed: of a generator that has one; work: a folder in which the whole run is kept, None for none.

    Raises InputError: no face that can speak, a text that cannot be spoken, a file that is none; and as `dubbing.run`.
    """
    settings = settings_of(config)
    if out.suffix.lower() not in _CONTAINERS:
        raise OutputError(f"{str(out)!r} must end in {', '.join(_CONTAINERS)}: the kind of film that is written.")
    if out.is_dir():
        raise OutputError(f"{str(out)!r} is a folder; name the file that is written.")
    if not out.absolute().parent.is_dir():
        raise OutputError(f"there is no folder {str(out.absolute().parent)!r}; make it, or write elsewhere.")
    if (text is None) == (audio is None):
        raise InputError("one of a text and a sound is said: give either --text or --audio.")
    if isinstance(text, str) and not text.strip():
        raise InputError("the text is empty; write what is to be said, or name a file of it.")
    if not picture.exists():
        raise MediaError(f"there is no {str(picture)!r}; name the photograph that speaks.")
    if not media.is_photograph(picture):
        raise MediaError(f"{picture} is no photograph (PNG, JPEG, WebP, TIFF); `dub quick` dubs a film.")
    if problem := unfit_face(picture, face, settings, "--face N, counted from the left"):
        raise MediaError(problem)
    job = _job(picture, out, text, audio, language, voice, face, _expression(emotion, neutralise),
               _generator(generator, seed), settings)  # fmt: skip
    with ExitStack() as stack:
        folder = work if work is not None else stack.enter_context(temporary("talk"))
        report = run(
            job, folder, config=settings, engine=engine, on_event=on_event, on_check=on_check, on_speech=on_speech
        )
        (dub,) = open_results(folder).dubs
        if dub.master is None or dub.counts.get("dubbed", 0) == 0:
            reason = next((r for r in dub.shots.column("reason").to_pylist() if r), None) if dub.finished else dub.error
            raise MediaError(f"nothing of {picture.name} could be made to speak ({reason}), so nothing was written.")
        part = out.with_name(f".part-{out.name}")
        try:
            shutil.copyfile(str(dub.master), part)
            part.replace(out)
        except OSError as e:
            part.unlink(missing_ok=True)
            raise OutputError(f"{str(out)!r} cannot be written ({e.strerror or e}); write elsewhere.") from e
    return Talked(out, report)


def _job(
    picture: Path, out: Path, text: str | Path | None, audio: Path | None, language: str | None, voice: str | None,
    face: int | None, expression: Expression | None, generator: dict[str, Any], settings: Config,
) -> Manifest:  # fmt: skip
    container = _CONTAINERS[out.suffix.lower()]
    if audio is not None:
        if voice is not None:
            raise InputError("a voice says a text, and a sound is given; leave --voice out.")
        quick(picture, [f"{language or _UNKNOWN}={audio}"])  # refuses what is no sound
        dub = Dub(language=language or _UNKNOWN, audio=audio)
    else:
        if language is None:
            language = _spoken(voice, settings.models.folder)
        dub = Dub(language=language, text=text, voice=voice)
    still = Still(expression=expression, face=face)
    title = Title(
        id="talk", video=picture, dubs=[dub], still=still,
        master=None if container == "mp4" else {"container": container},
    )  # fmt: skip
    return Manifest.of([title], generator=generator)


def _spoken(voice: str | None, folder: str | None) -> str:
    """The language of a voice. Raises InputError: none is named, or it is not there."""
    if voice is None:
        raise InputError("which language is the text in? Say --language, for example en, pt-BR or hi.")
    named = [v for v in speaking.voices(folder) if voice.casefold() in (v.name.casefold(), v.own_name.casefold())]
    return (named[0] if named else speaking.chosen(voice, "en", folder)).languages[0]


def _expression(emotion: str | Emotion | None, neutralise: bool | None) -> Expression | None:
    """Of `happy`, or `happy:0.5`. Raises InputError: there is no such emotion;
    ManifestError: no such strength."""
    if isinstance(emotion, str):
        name, colon, strength = emotion.partition(":")
        if name not in EMOTIONS:
            raise InputError(f"there is no emotion {name!r}; there are: {', '.join(EMOTIONS)}.")
        try:
            emotion = Emotion(name=name, strength=float(strength)) if colon else Emotion(name=name)
        except ValueError as e:
            raise ManifestError(f"{strength!r} is no strength; write {name}:0.5, from 0 to 1.") from e
    if emotion is None and not neutralise:
        return None
    return Expression(emotion=emotion, neutralise=True if neutralise is None else neutralise)


def _generator(generator: str | Mapping[str, Any], seed: int | None) -> dict[str, Any]:
    found: dict[str, Any] = {"name": generator} if isinstance(generator, str) else dict(generator)
    if seed is not None:
        if "seed" not in generators.settings(str(found["name"])):
            raise InputError(
                f"the generator {found['name']} has no seed: the same photograph and sound give the same film; leave "
                "--seed out."
            )
        found["seed"] = seed
    return found

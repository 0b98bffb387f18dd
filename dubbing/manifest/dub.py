"""One language of a title: the sound that is delivered, or the words that are spoken, and what drives the lips."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from dubbing import languages
from dubbing.manifest.fields import File, Model, Text, said
from dubbing.manifest.parts import Parts
from dubbing.master_choice import Masters
from dubbing.remote import Uri
from dubbing.yaml_text import short

__all__ = ["RESERVED", "Dub", "Original"]

RESERVED = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]")
"""Names of devices on Windows and on shares that it reads: no folder can have them."""
_TRACK = (
    "Number of the sound track that is listened to, counted from 1. Without it, the one with the dialogue is found."
)
_CHANNELS = "Channels of it that are listened to: L, R, C, LFE, Ls, Rs, or numbers counted from 1, as text."


def _numbers(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _channels(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else value


_Track = Annotated[int, Field(ge=1, le=512)]
_Channels = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=16)], ...], BeforeValidator(_channels),
                      Field(min_length=1, max_length=64)]  # fmt: skip


def _language(tag: str) -> str:
    if problem := languages.refusal(tag):
        raise said(f"'language' is {short(tag)}, {problem}.")
    if RESERVED.fullmatch(tag.lower()):
        raise said(f"'language' is {tag!r}, which names a device on Windows, and no folder can; write {tag}-x-{tag}.")
    return tag


class Original(Model):
    """Which sound of the original performance is listened to."""

    dialogue: File | None = Field(None, description="The original dialogue alone, as long as the picture.")
    track: _Track | None = Field(None, description=_TRACK)
    channels: _Channels | None = Field(None, description=_CHANNELS)


class Dub(Model):
    """One language of a title."""

    language: Annotated[str, AfterValidator(_language)] = Field(
        description="BCP 47 tag of the dub; names its output folder.", examples=["fr", "pt-BR"]
    )
    audio: File = Field(  # type: ignore[assignment] # None in a dub that is to be spoken, which no job is made of
        None, description="The mix that is delivered, exactly as long as the picture; without it `text` is spoken."
    )
    text: Text | None = Field(
        None,
        description="Instead of `audio`: what is said, as words (plain or SSML) or a file of them (.txt, .ssml); or a "
        "list with times (.srt, .vtt, .csv, .ttml), whose lines are each said within their time.",
    )
    voice: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Who says `text`: a name that `dub voices` lists; without it the best for the language.",
    )
    phones: File | None = Field(
        None, description="When which phone of `audio` is said, where that is known (docs/text.md): drives the lips."
    )
    dialogue: File | None = Field(None, description="The dialogue alone: drives the lips instead of the mix.")
    stems: dict[Annotated[str, Field(min_length=1)], File] | None = Field(
        None, min_length=1, description="One dialogue file per character, instead of `dialogue`."
    )
    lines: File | None = Field(
        None,
        description="Who speaks when, where there are no stems: CSV (character, in, out, text), SRT, VTT or TTML.",
    )
    track: _Track | None = Field(None, description=f"{_TRACK} Of `dialogue`, where that is given, else of `audio`.")
    channels: _Channels | None = Field(None, description=_CHANNELS)
    deliver_tracks: (
        Annotated[tuple[_Track, ...], BeforeValidator(_numbers), Field(min_length=1, max_length=512)] | None
    ) = Field(
        None, description="Numbers of the sound tracks of `audio` that are delivered, in this order; all without it."
    )
    only: Parts | None = Field(
        None, description="The parts of the film that are re-rendered in this language, instead of the title's `only`."
    )
    leave: Parts | None = Field(
        None, description="Parts that keep the source's picture in this language, besides those of the title's `leave`."
    )
    master: Masters | None = Field(None, description="How its masters are made, instead of the title's `master`.")

    if TYPE_CHECKING:  # what may be given is more than what is kept

        def __init__(
            self, *, language: str, audio: Path | str | None = None, text: Path | str | None = None,
            voice: str | None = None, phones: Path | str | None = None, dialogue: Path | str | None = None,
            stems: Mapping[str, Path | str] | None = None, lines: Path | str | None = None, track: int | None = None,
            channels: Sequence[str] | None = None, deliver_tracks: Sequence[int] | None = None,
            only: Parts | None = None, leave: Parts | None = None,
            master: str | Mapping[str, Any] | Sequence[Any] | None = None,
        ) -> None: ...  # fmt: skip

    @model_validator(mode="after")
    def _heard(self) -> Dub:
        """A sound, or words; `audio` is None in the second case alone, until they are spoken (`dubbing.speaking`)."""
        if self.audio is not None and self.text is not None:
            raise said("a dub has either 'audio' or 'text'; remove one of the two.", ["text"])
        if self.audio is None and self.text is None and not (self.voice and self.lines):
            raise said(
                "a dub needs 'audio', the mix that is delivered, or 'text', which is spoken; give one of the two."
            )
        if self.audio is not None and self.voice is not None:
            raise said("'voice' says who speaks 'text', and this dub has 'audio'; remove it.", ["voice"])
        if self.phones is not None and (self.audio is None or self.stems is not None):
            why = "has stems" if self.audio is not None else "has no 'audio'"
            raise said(f"'phones' are of the sounds in 'audio', and this dub {why}; remove it.", ["phones"])
        for name in ("dialogue", "stems", "track", "channels", "deliver_tracks"):
            if self.audio is None and getattr(self, name) is not None:
                raise said(f"{name!r} is of a dub with 'audio', and this one is spoken; remove it.", [name])
        return self

    @model_validator(mode="after")
    def _one_driver(self) -> Dub:
        if self.dialogue is not None and self.stems is not None:
            raise said("a dub has either 'dialogue' or 'stems'; remove one of the two.", ["stems"])
        for name in ("track", "channels"):
            if self.stems is not None and getattr(self, name) is not None:
                raise said(f"{name!r} is of one file, and a dub with 'stems' has several; remove it.", [name])
        return self

    @property
    def spoken(self) -> bool:
        """Whether its sound is still to be made, of words."""
        return self.audio is None

    @property
    def drivers(self) -> tuple[Path | Uri, ...]:
        """What drives the lips: the dialogue, the stems (to be mixed), or the delivered mix."""
        if self.stems is not None:
            return tuple(self.stems[name] for name in sorted(self.stems))
        return () if self.spoken else (self.dialogue or self.audio,)

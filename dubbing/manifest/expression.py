"""The expression of a face: what a manifest asks for of a photograph, and of actors of a film in parts of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from dubbing.manifest.fields import File, Model, listed, said
from dubbing.manifest.parts import Parts
from dubbing.remote import Uri
from dubbing.yaml_text import short

__all__ = ["EMOTIONS", "Emotion", "Expression", "FilmExpression", "FilmExpressions"]

EMOTIONS = ("neutral", "happy", "sad", "angry", "surprised", "disgusted", "afraid")
"""The emotions there are."""


def _name(value: Any) -> Any:
    if value not in EMOTIONS:
        raise said(f"there is no emotion {short(value)}; there are: {', '.join(EMOTIONS)}.")
    return value


def _strength(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise said(f"'strength' is {short(value)}, but it goes from 0, nothing, to 1, as strong as it is known here.")
    return float(value)


class Emotion(Model):
    """One emotion, and how strong it is. In a manifest its name alone may stand for it."""

    name: Annotated[str, BeforeValidator(_name), WithJsonSchema({"enum": list(EMOTIONS)})] = Field(
        description="Which one."
    )
    strength: Annotated[float, BeforeValidator(_strength)] = Field(
        default=1.0, description="How strong, 0 to 1.", json_schema_extra={"minimum": 0, "maximum": 1}
    )

    if TYPE_CHECKING:  # what may be given is more than what is kept

        def __init__(self, *, name: str, strength: float = 1.0) -> None: ...


def _emotion(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


_EMOTION_SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": list(EMOTIONS)}, "strength": {"type": "number", "minimum": 0, "maximum": 1}},
    "required": ["name"],
    "additionalProperties": False,
}
_Emotion = Annotated[
    Emotion, BeforeValidator(_emotion),
    WithJsonSchema({"anyOf": [{"enum": list(EMOTIONS)}, _EMOTION_SCHEMA]}),
]  # fmt: skip


def _words(neutralise: bool, emotion: Emotion | None) -> str:
    made = f"made {emotion.name} ({emotion.strength:g})" if emotion else ""
    return " and ".join(part for part in ("neutralised" if neutralise else "", made) if part)


class Expression(Model):
    """How the face of a photograph looks before it speaks."""

    neutralise: bool = Field(
        default=True, description="The expression that the face has is taken away first; false: the emotion is added."
    )
    emotion: _Emotion | None = Field(None, description="What it is to show: a name, or a mapping of name and strength.")
    by: Literal["mesh", "latent"] = Field(
        default="mesh",
        description="`mesh` bends the photograph, and needs nothing; `latent` edits it by a StyleGAN of yours.",
    )
    model: File | None = Field(
        None, description="Only with `latent`: the checkpoint of encoder and generator (pSp or e4e)."
    )
    directions: File | None = Field(
        None, description="Only with `latent`: the directions in W+, by the names of the emotions."
    )

    if TYPE_CHECKING:  # what may be given is more than what is kept

        def __init__(
            self, *, neutralise: bool = True, emotion: Emotion | str | None = None, by: str = "mesh",
            model: Path | str | None = None, directions: Path | str | None = None,
        ) -> None: ...  # fmt: skip

    @model_validator(mode="after")
    def _belongs(self) -> Expression:
        for name in ("model", "directions"):
            if (getattr(self, name) is None) == (self.by == "latent"):
                wants = "with 'by: latent'" if self.by == "mesh" else f"wants {name!r}, a file"
                raise said(f"{name!r} is only {wants}." if self.by == "mesh" else f"'by: latent' {wants}.", [name])
        if not self.neutralise and self.emotion is None:
            raise said("'expression' says nothing: give an 'emotion', or 'neutralise: true'.")
        return self

    def moved(self, to: Callable[[Path | Uri], Path | Uri]) -> Expression:
        """The same with every path where `to` takes it."""
        found = {n: to(file) for n in ("model", "directions") if (file := getattr(self, n)) is not None}
        return self.model_copy(update=found)

    @property
    def words(self) -> str:
        """What is done to a face: `neutralised and made happy (0.7)`."""
        return _words(self.neutralise, self.emotion)

    @property
    def files(self) -> tuple[Path | Uri, ...]:
        """The files that it names."""
        return tuple(file for file in (self.model, self.directions) if file is not None)


class FilmExpression(Model):
    """How an actor of a film looks in a part of it."""

    only: Parts | None = Field(
        None, description="The parts of the film, and the characters, that it is of; without it all who speak."
    )
    neutralise: bool = Field(
        default=True, description="The actor's mean expression in the shot is taken away first; false: it is added to."
    )
    emotion: _Emotion | None = Field(None, description="What it is to show: a name, or a mapping of name and strength.")

    if TYPE_CHECKING:  # what may be given is more than what is kept

        def __init__(
            self, *, only: Parts | None = None, neutralise: bool = True, emotion: Emotion | str | None = None
        ) -> None: ...

    @model_validator(mode="after")
    def _says(self) -> FilmExpression:
        if not self.neutralise and self.emotion is None:
            raise said("this part of 'expression' says nothing: give an 'emotion', or 'neutralise: true'.")
        return self

    @property
    def words(self) -> str:
        """As of `Expression`, and where: `made sad (1) in 240-360`."""
        where = ", ".join(text for _, _, text in self.only.named) if self.only else "the whole film"
        return f"{_words(self.neutralise, self.emotion)} in {where}"


FilmExpressions = Annotated[tuple[FilmExpression, ...], BeforeValidator(listed), Field(min_length=1)]

"""What a manifest says of generators: one, a list of them with conditions, one by character, or the best of several.

Which faces a condition fits is decided where faces are known (`dubbing.drawn`); whether a generator of that name is
installed, where it is needed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)

from dubbing import document
from dubbing.document import Location
from dubbing.manifest.fields import Model, listed, said
from dubbing.manifest.parts import Parts
from dubbing.yaml_text import short

__all__ = [
    "BEST_OF", "GENERATOR_SCHEMA", "BestOf", "GeneratorChoice", "GeneratorRule", "Generators", "Rule", "Size", "When",
    "generator_schema", "located", "rules_of", "when_of",
]  # fmt: skip

BEST_OF = "best_of"
_SIZE = re.compile(r"(>=|<=|>|<)\s*(\d{1,5})|(\d{1,5})\s*-\s*(\d{1,5})", re.ASCII)


@dataclass(frozen=True)
class Size:
    """Which heights of a face, in pixels: from `least` to `most`, more than `over`, less than `under`."""

    least: float = 0.0
    most: float = float("inf")
    over: float = -1.0
    under: float = float("inf")

    def __contains__(self, face_px: float) -> bool:
        return self.least <= face_px <= self.most and self.over < face_px < self.under


def _size(value: Any) -> str:
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise said(
            f"'face_px' is {short(value)}; write the height of a face in pixels as '>400', '>=400', '<200', '<=200' or "
            "'200-400', in quotes."
        )
    sign, one, low, high = found.groups()
    if sign:
        return f"{sign}{int(one)}"
    if int(low) > int(high):
        raise said(f"'face_px' is {short(value)}, and no face is that: write the smaller number first, {high}-{low}.")
    return f"{int(low)}-{int(high)}"


class When(Parts):
    """Which faces a generator is for. Every key that is given must fit."""

    face_px: Annotated[str, BeforeValidator(_size)] | None = Field(
        None,
        description="The face's median height in the shot, pixels: '>400', '>=400', '<200', '<=200', or '200-400', "
        "both ends included.",
        examples=[">400", "200-400"],
        json_schema_extra={"pattern": r"^\s*((>=|<=|>|<)\s*\d{1,5}|\d{1,5}\s*-\s*\d{1,5})\s*$"},
    )

    if TYPE_CHECKING:  # what may be given is more than what is kept

        def __init__(
            self, *, face_px: str | None = None, timecodes: Sequence[str] | None = None,
            frames: Sequence[str] | None = None, shots: Sequence[str | int] | None = None,
            characters: Sequence[str] | None = None,
        ) -> None: ...  # fmt: skip

    @model_validator(mode="after")
    def _any(self) -> When:
        if not self.named and self.face_px is None:
            raise said("'when' is empty: name 'face_px', 'characters', 'shots', 'timecodes' or 'frames'.")
        return self

    @property
    def size(self) -> Size | None:
        """Which heights of a face; None for all."""
        if self.face_px is None:
            return None
        found = _SIZE.fullmatch(self.face_px)
        assert found is not None
        sign, one, low, high = found.groups()
        if not sign:
            return Size(least=float(low), most=float(high))
        return Size(**{{">": "over", ">=": "least", "<": "under", "<=": "most"}[sign]: float(one)})

    def __str__(self) -> str:
        """As people say it: `faces of >400 px, of ANNA, in shots 5-7`."""
        parts = [f"faces of {self.face_px} px"] if self.face_px else ["faces"]
        for kind in ("characters", "shots", "timecodes", "frames"):
            texts = [text for key, _, text in self.named if key == kind]
            if texts:
                parts.append(f"of {', '.join(texts)}" if kind == "characters" else f"in {kind} {', '.join(texts)}")
        return " ".join(parts)


class GeneratorChoice(document.Model):
    """What renders the mouths: a name, and that generator's own settings."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    name: str = Field(min_length=1, description="For example rewrite.")

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    @property
    def alternatives(self) -> tuple[GeneratorChoice, ...]:
        """The generators that render a face of it: this one, without a condition."""
        return (GeneratorChoice(name=self.name, **self.settings),)


class GeneratorRule(GeneratorChoice):
    """A generator of a list, and the faces that it is for."""

    when: When | None = Field(None, description="Which faces; the last of a list has none and is for all others.")


def _choice(value: Any) -> Any:
    """A name as a mapping; a mapping as it is."""
    if isinstance(value, GeneratorChoice | BestOf):
        return value
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict):
        return value
    raise said(f"'generator' must be a name, or a mapping with a name; found {short(value)}.")


def _one(value: Any) -> Any:
    made = _choice(value)
    if _name(made) == BEST_OF:
        raise said("'best_of' stands in another; name all generators in one list, under 'of'.")
    return made


class BestOf(Model):
    """Several generators, each of which renders; the take with the best score is delivered."""

    name: Literal["best_of"] = "best_of"
    of: Annotated[tuple[Annotated[GeneratorChoice, BeforeValidator(_one)], ...], BeforeValidator(listed)] = Field(
        description="The generators; of two with the same score the first."
    )
    by: Literal["sync"] = Field(
        "sync", description="sync: LSE-D against the original's, with guards for sharpness, leaks and steadiness."
    )
    when: When | None = Field(None, description="Which faces; only in a list.")

    @model_validator(mode="after")
    def _differ(self) -> BestOf:
        if len(self.of) < 2:
            raise said("'best_of' compares generators: name two or more under 'of'.", ["of"])
        for n, one in enumerate(self.of):
            if one in self.of[:n]:
                raise said(f"{one.name} comes twice with the same settings under 'of'; remove one.", ["of", n])
        return self

    @property
    def alternatives(self) -> tuple[GeneratorChoice, ...]:
        """The generators that render a face of it: all of them."""
        return self.of


Rule = GeneratorChoice | GeneratorRule | BestOf
"""One entry: what renders, and of a list the condition."""


def _name(value: Any) -> Any:
    return value.get("name") if isinstance(value, dict) else getattr(value, "name", None)


def _kind(value: Any) -> str:
    """Tag of a union's member, for pydantic."""
    if isinstance(value, tuple | list):
        return "<list>"
    return "<best_of>" if _name(value) == BEST_OF else "<choice>"


def _rule(value: Any) -> Any:
    made = _choice(value)
    if type(made) is GeneratorChoice:
        return {"name": made.name, **made.settings}
    return made


_Entry = Annotated[
    Annotated[Annotated[GeneratorRule, Tag("<choice>")] | Annotated[BestOf, Tag("<best_of>")], Discriminator(_kind)],
    BeforeValidator(_rule),
]


def _ordered(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """Raises where one of a list can never be reached, or nothing is said of the other faces."""
    if not rules:
        raise said("'generator' is an empty list; name a generator, or leave it out for rewrite.")
    for n, rule in enumerate(rules):
        if when_of(rule) is None and n < len(rules) - 1:
            raise said(
                f"{rule.name} has no 'when', so it is for all faces, and what follows it is never used; give it a "
                "'when', or put it last.",
                [n],
            )
    if when_of(rules[-1]) is not None:
        raise said(
            f"the last of the list, {rules[-1].name}, has a 'when': of faces that fit none nothing is said; end the "
            "list with a generator that has none, as - rewrite.",
            [len(rules) - 1, "when"],
        )
    return rules


def when_of(rule: Rule) -> When | None:
    """The condition of an entry; None where it is for all faces."""
    return getattr(rule, "when", None)


_CHARACTERS, _OTHERS = "characters", "others"


def _given(value: Any) -> Any:
    """What a manifest says as one choice, or as a tuple of them: by character is a list with conditions."""
    if isinstance(value, list | tuple):
        return tuple(value)
    value = _choice(value)
    if isinstance(value, dict) and "name" not in value and _CHARACTERS in value:
        if strange := sorted(map(str, value.keys() - {_CHARACTERS, _OTHERS})):
            raise said(
                f"'generator' by character has {short(strange[0])}; it knows 'characters' (name: generator) and "
                "'others', the generator of all other faces."
            )
        by, others = value[_CHARACTERS], value.get(_OTHERS)
        if not isinstance(by, dict) or not by or not all(isinstance(name, str) and name for name in by):
            raise said("'characters' must be a mapping, as in characters: {ANNA: rewrite}.", [_CHARACTERS])
        if others is None:
            raise said("'generator' by character has no 'others'; name the generator of all other faces.")
        entries = []
        for name, one in by.items():
            entry = _rule(one)
            if not isinstance(entry, dict) or "when" in entry:
                raise said(f"{short(name)} needs a generator without 'when'.", [_CHARACTERS, name])
            entries.append({**entry, "when": {"characters": [name]}})
        return (*entries, others)
    if (value.get("when") if isinstance(value, dict) else getattr(value, "when", None)) is not None:
        raise said(
            f"{_name(value)} has a 'when', which stands only in a list: begin the line with - and end the list with "
            "the generator of all other faces."
        )
    return value


_CHOICE_SCHEMA = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {
            "type": "object",
            "properties": {"name": {"type": "string", "minLength": 1}},
            "required": ["name"],
            "additionalProperties": True,
        },
    ]
}
_ABOUT = {
    "default": "rewrite",
    "description": "What renders the mouths: a name, or a mapping of name and its own settings; a list of such with "
    "`when`, of which the first that fits a face renders it; `characters` and `others`; or the best_of several.",
}


def generator_schema(choice: Mapping[str, Any], rule: Mapping[str, Any]) -> dict[str, Any]:
    """JSON Schema of the manifest's `generator`. choice: of one generator; rule: of one with a `when`."""
    when = {"anyOf": [When.model_json_schema(), {"type": "null"}]}
    best: dict[str, Any] = {
        "type": "object",
        "properties": {
            "name": {"const": BEST_OF},
            "of": {"type": "array", "minItems": 2, "items": choice},
            "by": {"enum": ["sync"], "default": "sync"},
        },
        "required": ["name", "of"],
        "additionalProperties": False,
    }
    best_when = {**best, "properties": {**best["properties"], "when": when}}
    either = {"anyOf": [choice, best]}
    by_character = {
        "type": "object",
        "properties": {
            _CHARACTERS: {"type": "object", "minProperties": 1, "additionalProperties": either},
            _OTHERS: either,
        },
        "required": [_CHARACTERS, _OTHERS],
        "additionalProperties": False,
    }
    many = {"type": "array", "minItems": 1, "items": {"anyOf": [choice, rule, best_when]}}
    return {"anyOf": [*choice.get("anyOf", (choice,)), best, many, by_character], **_ABOUT}


GENERATOR_SCHEMA = generator_schema(_CHOICE_SCHEMA, _CHOICE_SCHEMA)
Generators = Annotated[
    Annotated[
        Annotated[GeneratorChoice, Tag("<choice>")]
        | Annotated[BestOf, Tag("<best_of>")]
        | Annotated[tuple[_Entry, ...], AfterValidator(_ordered), Tag("<list>")],
        Discriminator(_kind),
    ],
    BeforeValidator(_given),
    WithJsonSchema(GENERATOR_SCHEMA),
]
"""The manifest's `generator`."""


def rules_of(generator: Rule | tuple[Rule, ...]) -> tuple[Rule, ...]:
    """The entries of a manifest's `generator`, in their order; the last is for all faces that fit no other."""
    return generator if isinstance(generator, tuple) else (generator,)


def located(generator: Rule | tuple[Rule, ...]) -> list[tuple[Location, GeneratorChoice]]:
    """Every generator that may render, and where in `generator` it is written; each with its settings once."""
    found: list[tuple[Location, GeneratorChoice]] = []
    for n, rule in enumerate(rules_of(generator)):
        at: Location = (n,) if isinstance(generator, tuple) else ()
        for k, one in enumerate(rule.alternatives):
            if all(one != other for _, other in found):
                found.append(((*at, "of", k) if isinstance(rule, BestOf) else at, one))
    return found

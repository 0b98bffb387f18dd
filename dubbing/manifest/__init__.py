"""The manifest: which titles, which dubs, and what renders them (`dub schema` publishes its shape).

It knows files by name only: whether they exist and what they hold is for `preflight`. Paths come
out absolute: a relative one is relative to the manifest's own folder, or to its URI; of a manifest built in Python, to
the current folder or to its `base`. What lies at a URI stays a `Uri`; the store brings it.

Over 400 lines: the models of one document, which refer to each other.
"""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from dubbing import document, sequences
from dubbing.errors import ManifestError
from dubbing.manifest.actors import Actors
from dubbing.manifest.dub import RESERVED, Dub, Original
from dubbing.manifest.expression import Emotion, Expression, FilmExpression, FilmExpressions
from dubbing.manifest.fields import FILE_SCHEMA, File, Model, said
from dubbing.manifest.generator import (
    BestOf,
    GeneratorChoice,
    GeneratorRule,
    Generators,
    Rule,
    When,
    generator_schema,
    located,
    rules_of,
)
from dubbing.manifest.masks import Mask, Masks
from dubbing.manifest.parts import Parts
from dubbing.master_choice import MasterChoice, Masters
from dubbing.provenance import Signing
from dubbing.remote import Uri, place, scheme_of
from dubbing.yaml_text import short

__all__ = [
    "CUT_LISTS",
    "Actors",
    "BestOf",
    "CastMember",
    "Colour",
    "Dub",
    "Emotion",
    "Expression",
    "FilmExpression",
    "GeneratorChoice",
    "GeneratorRule",
    "Manifest",
    "Mask",
    "Original",
    "Parts",
    "Still",
    "Rule",
    "Title",
    "When",
    "load",
    "schema",
]

CUT_LISTS = (".edl", ".otio")
_ID = re.compile(r"[a-z0-9_-]{1,64}")


def _id(value: str) -> str:
    if not _ID.fullmatch(value):
        raise said(
            f"'id' is {short(value)}, but it names the output folder: use 1 to 64 of the characters a-z, 0-9, _ and -."
        )
    if RESERVED.fullmatch(value):
        raise said(f"'id' is {value!r}, which names a device on Windows, and no folder can; write {value}_1.")
    return value


def _repeated(values: Iterable[Hashable]) -> tuple[int, int] | None:
    """The positions (first, second) of the first value that comes twice."""
    seen: dict[Hashable, int] = {}
    for i, value in enumerate(values):
        if value in seen:
            return seen[value], i
        seen[value] = i
    return None


Consent = Literal["required"]
_CONSENT = (
    "`required`: only faces that are known to be of a character with `consent` are re-rendered; a character without it "
    "is refused."
)


def _pictures(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value if isinstance(value, tuple) else (value,)


_Pictures = Annotated[
    tuple[File, ...], BeforeValidator(_pictures), Field(min_length=1),
    WithJsonSchema({"anyOf": [FILE_SCHEMA, {"type": "array", "minItems": 1, "items": FILE_SCHEMA}]}),
]  # fmt: skip


class CastMember(Model):
    """One character of a title."""

    face: _Pictures | None = Field(
        None, description="Pictures of the actor's face, one face in each.", examples=["anna.jpg", ["a.jpg", "b.jpg"]]
    )
    voice: File | None = Field(
        None, description="The character's voice alone, some seconds of it: tells who speaks where there are no stems."
    )
    off_screen: bool = Field(
        default=False, description="Never in sight, as a narrator: the voice moves nobody's mouth."
    )
    leave_alone: bool = Field(default=False, description="Keeps the source's picture wherever it is seen.")
    consent: str | None = Field(None, description="Where the actor's consent is kept; written into the records.")

    if TYPE_CHECKING:  # what may be given is more than what is kept

        def __init__(
            self, *, face: Path | str | Sequence[Path | str] | None = None, voice: Path | str | None = None,
            off_screen: bool = False, leave_alone: bool = False, consent: str | None = None,
        ) -> None: ...  # fmt: skip

    @property
    def pictures(self) -> tuple[Path | Uri, ...]:
        """The pictures of the face, none where none are given."""
        return self.face or ()


def _motion(given: object) -> object:
    return {True: "natural", False: "none"}.get(given, given) if isinstance(given, bool) else given


Motion = Annotated[
    Literal["none", "natural"],
    BeforeValidator(_motion),
    WithJsonSchema({"enum": ["none", "natural", True, False]}),
]


class Still(Model):
    """How a film is made of a photograph. Without `motion` and `blinks` nothing changes outside the mouth."""

    rate: Literal[24, 25, 30, 48, 50, 60, "24000/1001", "30000/1001", "60000/1001"] = Field(
        default=25, description="Frames a second of the master."
    )
    blinks: bool = Field(
        default=True, description="The eyes of the face that speaks blink as phrases end and in pauses."
    )
    motion: Motion = Field(
        default="natural",
        description="natural: the head of the face that speaks moves with its speech, and its brows rise a little; "
        "none: it stands. true and false mean the same.",
    )
    expression: Expression | None = Field(None, description="How its face looks before it speaks.")
    face: Annotated[int, Field(ge=1, le=99)] | None = Field(
        None, description="Which face speaks, counted from the picture's left; the largest without it."
    )


class Colour(Model):
    """What the colours of a sequence of pictures are, where its headers do not say. Its samples are RGB of full range;
    OpenEXR holds linear light, of which only the primaries are asked."""

    transfer: Literal["bt709", "srgb", "pq", "hlg"] | None = Field(None, description="How light becomes samples.")
    primaries: Literal["bt709", "bt2020", "p3"] | None = Field(None, description="What red, green and blue are.")


class Title(Model):
    """One film or episode: a locked picture with its source sound, and its dubs."""

    id: Annotated[str, AfterValidator(_id)] = Field(
        description="Names the output folder.", json_schema_extra={"pattern": f"^{_ID.pattern}$"}
    )
    video: File = Field(
        description="The source picture with its sound; or a photograph (PNG, JPEG, WebP, TIFF), whose film is as long "
        "as each dub; or a sequence of pictures (DPX, OpenEXR, TIFF, PNG): its folder, or a pattern such as "
        "shot_%07d.dpx. Like every file here: a path (relative to the manifest), "
        "or a URI (file, s3; http and https)."
    )
    dubs: list[Dub] = Field(min_length=1, description="One entry per language.")
    shots: File | None = Field(None, description="A cut list (.edl or .otio) to use instead of detection.")
    cast: dict[Annotated[str, Field(min_length=1)], CastMember] | None = Field(
        None, description="Who plays, by character name."
    )
    original: Original | None = Field(None, description="Which sound of the original is listened to.")
    actors: Actors | None = Field(None, description="What mouths are learnt from besides the title's own dialogue.")
    still: Still | None = Field(default=None, description="Only where `video` is a photograph: how its film is made.")
    rate: Literal[24, 25, 30, 48, 50, 60, "24000/1001", "30000/1001", "60000/1001"] | None = Field(
        None, description="Only where `video` is a sequence whose headers do not say it: frames a second."
    )
    colour: Colour | None = Field(None, description="Only where `video` is a sequence whose headers do not say it.")
    only: Parts | None = Field(
        None,
        description="The parts of the film that are re-rendered; the rest keeps the source's picture. All without it.",
    )
    leave: Parts | None = Field(None, description="Parts of the film that keep the source's picture.")
    master: Masters | None = Field(None, description="How its masters are made, instead of the manifest's `master`.")
    consent: Consent | None = Field(None, description=_CONSENT)
    mask: Masks | None = Field(None, description="What lies over the picture and is never touched: letters, logos.")
    expression: FilmExpressions | None = Field(None, description="How actors who speak look, in parts of a film.")

    if TYPE_CHECKING:  # what may be given is more than what is kept

        def __init__(
            self, *, id: str, video: Path | str, dubs: list[Dub], shots: Path | str | None = None,
            cast: dict[str, CastMember] | None = None, original: Original | None = None, actors: Actors | None = None,
            still: Still | None = None, rate: int | str | None = None, colour: Colour | None = None,
            only: Parts | None = None, leave: Parts | None = None,
            master: str | Mapping[str, Any] | Sequence[Any] | None = None, consent: Consent | None = None,
            mask: Path | str | Sequence[Mask] | None = None, expression: Sequence[FilmExpression] | None = None,
        ) -> None: ...  # fmt: skip

    @field_validator("dubs")
    @classmethod
    def _languages_differ(cls, dubs: list[Dub]) -> list[Dub]:
        if twice := _repeated(d.language.casefold() for d in dubs):
            raise said(
                f"the language {dubs[twice[1]].language!r} comes twice in this title (dubs {twice[0] + 1} and "
                f"{twice[1] + 1}); both would go into one folder: remove one, or tell them apart "
                "(fr-FR and fr-CA, or fr-x-kids).",
                [twice[1], "language"],
            )
        return dubs

    @field_validator("video")
    @classmethod
    def _here(cls, video: Path | Uri) -> Path | Uri:
        if isinstance(video, Uri) and video.suffix.lower() in (".dpx", ".exr"):
            raise said(
                f"'video' is {video.name!r} at an address, and a sequence of pictures is read from a folder: mount it, "
                "or copy it to this machine."
            )
        return video

    @field_validator("shots")
    @classmethod
    def _cut_list(cls, shots: Path | Uri | None) -> Path | Uri | None:
        if shots is not None and shots.suffix.lower() not in CUT_LISTS:
            raise said(f"'shots' is {shots.name!r}, but a cut list is an .edl or .otio file.")
        return shots


class Manifest(Model):
    """A job: titles, their dubs, and the generator. Built in Python, it is checked as one that is read, and what is
    wrong raises ManifestError that names the field; relative paths are of the current folder (`of`: of another)."""

    model_config = ConfigDict(title="dub manifest")
    version: Literal[1] = Field(description="Of this format.")
    titles: list[Title] = Field(min_length=1)
    generator: Generators = Field(default=GeneratorChoice(name="rewrite"))
    master: Masters | None = Field(
        None,
        description="How masters are made: `as_source`, a mapping, or a list of them; without it as the config says.",
    )
    provenance: Signing | None = Field(
        None,
        description="Masters are signed as altered content (C2PA), by this certificate; without it as the config says.",
    )
    consent: Consent | None = Field(None, description=_CONSENT)
    _document: document.Document | None = PrivateAttr(None)
    _commanded: frozenset[str] = PrivateAttr(frozenset())

    @field_validator("version", mode="before")
    @classmethod
    def _known_version(cls, value: Any) -> Any:
        if value != 1 or isinstance(value, bool):
            raise said(f"'version' is {short(value)}, but this dub reads version 1; write version: 1.")
        return value

    @field_validator("titles")
    @classmethod
    def _ids_differ(cls, titles: list[Title], info: ValidationInfo) -> list[Title]:
        if twice := _repeated(t.id for t in titles):
            raise said(
                f"the id {titles[twice[1]].id!r} comes twice (titles {twice[0] + 1} and {twice[1] + 1}); both titles "
                "would go into one folder: give each its own id.",
                [twice[1], "id"],
            )
        folder = (info.context or {}).get("folder") or Path.cwd()
        return [_absolute(title, folder) for title in titles]

    @field_validator("provenance")
    @classmethod
    def _on_this_machine(cls, value: Signing | None, info: ValidationInfo) -> Signing | None:
        folder = (info.context or {}).get("folder") or Path.cwd()
        for path in (value.certificate, value.key) if value is not None and isinstance(folder, Uri) else ():
            if not str(path).startswith(("/", "~")):
                raise said(
                    f"{str(path)!r} is relative to a manifest at a URI, and a key lies on this machine: give a path "
                    "that begins with / or ~."
                )
        return value and value.below(Path("/") if isinstance(folder, Uri) else folder)

    @classmethod
    def of(
        cls, titles: Sequence[Title], *, generator: str | Mapping[str, Any] | Rule | Sequence[Any] = "rewrite",
        base: Path | str | None = None,
    ) -> Manifest:  # fmt: skip
        """A manifest of these titles. generator: as a manifest has it: a name, a mapping of a name and its own
        settings, a list of such with conditions; base: the folder (or URI) to which relative paths are relative; None:
        the current folder.

        Raises ManifestError: the field, what was found, what is allowed.
        """
        folder = Path.cwd() if base is None else place(base)
        folder = folder if isinstance(folder, Uri) else folder.absolute()
        generator = dict(generator) if isinstance(generator, Mapping) else generator
        plain = {"version": 1, "titles": list(titles) if isinstance(titles, tuple) else titles, "generator": generator}
        try:
            return cls.model_validate(plain, context={"folder": folder})
        except ValidationError as e:
            raise document.refused(cls, e) from e

    def narrowed(self, only: Sequence[str] = (), leave: Sequence[str] = ()) -> Manifest:
        """The same job with other parts of its film. only: what is re-rendered, instead of what the manifest's `only`
        says; leave: what is left besides its `leave`; both as `dub run --only` takes them: `01:02:03:00-01:02:10:00`,
        `frames:240-360`, `shots:2,5-7`, `characters:ANNA`.

        Raises ManifestError: a part is not written so; the job has several titles.
        """
        if not only and not leave:
            return self
        if len(self.titles) > 1:
            raise ManifestError(
                f"This manifest has {len(self.titles)} titles, and parts of a film are asked for of one; write 'only' "
                "and 'leave' into the manifest's titles."
            )
        (title,) = self.titles
        if leave:
            both: dict[str, list[str]] = {}
            for parts in (title.leave, Parts.written(leave)):
                for kind, _, text in parts.named if parts else ():
                    if text not in both.setdefault(kind, []):
                        both[kind].append(text)
            title = title.model_copy(update={"leave": Parts.model_validate(both)})
        if only:
            dubs = [dub.model_copy(update={"only": None}) for dub in title.dubs]
            title = title.model_copy(update={"only": Parts.written(only), "dubs": dubs})
        made = self.model_copy(update={"titles": [title]})
        made._commanded = frozenset(key for key, given in (("only", only), ("leave", leave)) if given)
        return made

    def learning(self, also: Sequence[Path | Uri] = ()) -> Manifest:
        """The same job whose actors are learnt from other runs too. also: their output folders, besides those that
        titles name."""
        if not also:
            return self
        titles = [title.model_copy(update={"actors": Actors.of(title.actors, also)}) for title in self.titles]
        made = self.model_copy(update={"titles": titles})
        made._commanded = self._commanded | {"actors"}
        return made

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The entries of `generator`, in their order; the last is for all faces that fit no other."""
        return rules_of(self.generator)

    @property
    def generators(self) -> tuple[GeneratorChoice, ...]:
        """Every generator that may render, each with its settings once."""
        return tuple(choice for _, choice in located(self.generator))

    def masters(self, title: Title, dub: Dub) -> list[MasterChoice] | None:
        """How the masters of a dub are asked for; None where the manifest does not say."""
        return next((said for said in (dub.master, title.master, self.master) if said is not None), None)

    def consented(self, title: Title) -> tuple[str, ...] | None:
        """The characters of a title whose consent is there, sorted; None where it is not required."""
        if "required" not in (self.consent, title.consent):
            return None
        return tuple(sorted(name for name, one in (title.cast or {}).items() if (one.consent or "").strip()))

    @property
    def files(self) -> list[Path | Uri]:
        """Every file that a run reads."""
        out: list[Path | Uri] = []
        for title in self.titles:
            out += [title.video, *([title.shots] if title.shots else [])]
            if title.original and title.original.dialogue:
                out.append(title.original.dialogue)
            for dub in title.dubs:
                files = (dub.audio, *(d for d in dub.drivers if d != dub.audio), dub.lines, dub.phones, dub.text)
                out += [one for one in files if isinstance(one, Path | Uri)]
            out += [mask.file for mask in title.mask or () if mask.file is not None]
            out += title.still.expression.files if title.still and title.still.expression else ()
            for member in (title.cast or {}).values():
                out += [*member.pictures, *([member.voice] if member.voice else [])]
        return out

    @property
    def file(self) -> str:
        """The path or URI that it was read from; empty where it was built in Python."""
        return str(self._document.path) if self._document else ""

    def is_relative(self, *location: int | str) -> bool:
        """Whether the file names a relative path there; False in a manifest that came from no file."""
        value = self._written(location)
        return isinstance(value, str) and not os.path.isabs(value) and not scheme_of(value)

    def place(self, *location: int | str) -> str:
        """Where a value is written, `film.yaml, line 7`; in a manifest that came from no file: `titles[0].video`; what
        `narrowed` was given: `--only`, `--leave`."""
        if location[2:] == ("master",) and self._written(location) is None:  # it holds for all titles, or for all jobs
            location = ("master",) if self.master is not None else (*location[:2], "video")
        key = str(location[2]) if len(location) > 3 else ""
        if key in self._commanded and (key == "only" or self._written(location) is None):
            return "--from" if key == "actors" else f"--{key}"
        return self._document.place(location) if self._document else document.dotted(location)

    def _written(self, location: Sequence[int | str]) -> Any:
        """The value in the file, None where it has none there."""
        value: Any = self._document.value if self._document else None
        for part in location:
            if isinstance(value, list):
                value = value[part] if isinstance(part, int) and part < len(value) else None
            else:
                value = value.get(part) if isinstance(value, dict) else None
        return value


def _absolute(title: Title, folder: Path | Uri) -> Title:
    """The same title with every path absolute."""

    def moved(file: Path | Uri) -> Path | Uri:
        return file if isinstance(file, Uri) or file.is_absolute() else folder / str(file)

    def changed(of: Model, *names: str) -> dict[str, Any]:
        return {n: moved(file) for n in names if (file := getattr(of, n)) is not None}

    def _cast(member: CastMember) -> CastMember:
        faces = {"face": tuple(moved(f) for f in member.face)} if member.face else {}
        return member.model_copy(update={**changed(member, "voice"), **faces})

    dubs = []
    for dub in title.dubs:
        stems = {"stems": {k: moved(v) for k, v in dub.stems.items()}} if dub.stems else {}
        words = {"text": moved(dub.text)} if isinstance(dub.text, Path) else {}
        dubs.append(dub.model_copy(update={**changed(dub, "audio", "dialogue", "lines", "phones"), **stems, **words}))
    cast = {k: _cast(v) for k, v in title.cast.items()} if title.cast else title.cast
    original = title.original.model_copy(update=changed(title.original, "dialogue")) if title.original else None
    whole = {**changed(title, "video", "shots"), "dubs": dubs, "cast": cast, "original": original}
    if title.actors:
        whole["actors"] = title.actors.model_copy(update={"also": tuple(moved(out) for out in title.actors.also)})
    whole["mask"] = title.mask and tuple(m.model_copy(update=changed(m, "file")) for m in title.mask)
    if title.still and title.still.expression:
        whole["still"] = title.still.model_copy(update={"expression": title.still.expression.moved(moved)})
    told = {"rate": title.rate, **(title.colour.model_dump() if title.colour else {})}
    if isinstance(whole["video"], Path) and sequences.may_be(whole["video"]):
        whole["video"] = sequences.addressed(whole["video"], told)
    return title.model_copy(update=whole)


def load(path: Path | str) -> Manifest:
    """The manifest in a YAML file at a path or URI, with absolute paths.

    Raises ManifestError: file, line, what was found, what is allowed.
    """
    source = document.read(path, "manifest")
    if not isinstance(source.value, dict):
        raise ManifestError(
            f"{source.path}, line {source.line(())}: a manifest is a mapping that begins with 'version: 1' and "
            f"'titles:'; found {short(source.value)}."
        )
    manifest = document.parse(
        source, Manifest, folder=source.path.parent if isinstance(source.path, Uri) else source.path.absolute().parent
    )
    manifest._document = source
    return manifest


def schema(generators: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the manifest.

    generators: what each generator there is knows of settings, as `generators.schemas` says it; without it any name
    and any settings are allowed.
    """
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Manifest.model_json_schema()}
    if generators is None:
        return whole
    names, kinds, rules = {"enum": list(generators)}, [], []
    for name, one in generators.items():
        parts = {k: v for k, v in one.items() if k != "$defs"}
        whole["$defs"] |= {f"{name}.{k}": v for k, v in one.get("$defs", {}).items()}
        own = {"name": {"const": name}, **one.get("properties", {})}
        made = {"required": ["name", *one.get("required", ())], "additionalProperties": False}
        kinds.append({**parts, "properties": own, **made})
        rules.append({**parts, "properties": {**own, "when": {"$ref": "#/$defs/When"}}, **made})
    whole["$defs"] |= {
        "When": When.model_json_schema(),
        "generator": {"anyOf": [names, {"oneOf": kinds, "discriminator": {"propertyName": "name"}}]},
        "generator.rule": {"oneOf": rules, "discriminator": {"propertyName": "name"}},
    }
    told = generator_schema({"$ref": "#/$defs/generator"}, {"$ref": "#/$defs/generator.rule"})
    whole["properties"]["generator"] = told
    return whole

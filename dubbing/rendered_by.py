"""By what each face of a shot is rendered in one take: the manifest's conditions, applied to faces that are known.

A shot has one take where one generator is named for each of its faces, and several where the best of several is to be
delivered. Knows no stage and no store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dubbing.analysis.asked import Ranges, ShownFilm, stretch_of
from dubbing.clock import joined
from dubbing.errors import ManifestError
from dubbing.manifest import GeneratorChoice, Rule
from dubbing.manifest.generator import when_of

__all__ = ["BY_FACE", "Face", "RenderedBy", "candidates", "needs_faces", "ranges_of"]

BY_FACE = "by_face"  # how a take is named whose faces are rendered by several generators


@dataclass(frozen=True)
class Face:
    """What conditions ask about. track: its id; character: None where it is not known; face_px: its median height in
    the shot, pixels; frames: in which it speaks the dub."""

    track: str
    character: str | None
    face_px: float
    frames: int = 0


@dataclass(frozen=True)
class RenderedBy:
    """The generators of one take. main: of the face that speaks longest, and of every face that is not among `others`;
    others: (track id, generator) of faces that another renders, in their order."""

    main: GeneratorChoice
    others: tuple[tuple[str, GeneratorChoice], ...] = ()

    def of(self, track: str) -> GeneratorChoice:
        """The generator of a face."""
        return dict(self.others).get(track, self.main)

    @property
    def every(self) -> tuple[GeneratorChoice, ...]:
        """All of them, each once, the main one first."""
        found: list[GeneratorChoice] = []
        for one in (self.main, *(choice for _, choice in self.others)):
            if one not in found:
                found.append(one)
        return tuple(found)

    @property
    def name(self) -> str:
        """For people: `rewrite`, `rewrite and wav2lip`."""
        return " and ".join(dict.fromkeys(one.name for one in self.every))

    @property
    def text(self) -> str:
        """The same with their settings: `rewrite jump_cost=0.3`."""
        texts = (" ".join([one.name, *(f"{k}={v}" for k, v in one.settings.items())]) for one in self.every)
        return " and ".join(texts)

    @property
    def plain(self) -> dict[str, Any]:
        """Name and settings, as a take keeps them; `by_face` where there are several generators."""
        if not self.others:
            return {"name": self.main.name, "settings": self.main.settings}
        faces = {track: {"name": one.name, **one.settings} for track, one in self.others}
        main = {"name": self.main.name, **self.main.settings}
        return {"name": BY_FACE, "settings": {"main": main, "faces": faces}}

    @property
    def decision(self) -> dict[str, Any]:
        """The same in one mapping, as a manifest and a decision have it: `{name: rewrite, jump_cost: 0.3}`."""
        return {"name": self.plain["name"], **self.plain["settings"]}

    @classmethod
    def said(cls, generator: Mapping[str, Any]) -> RenderedBy:
        """Of a decision: a mapping of name and settings. Raises ManifestError, TypeError where it is something else."""
        faces = generator.get("faces")
        if generator.get("name") != BY_FACE or not isinstance(faces, Mapping) or "main" not in generator:
            return cls(GeneratorChoice(**generator))
        others = tuple((str(track), GeneratorChoice(**one)) for track, one in faces.items())
        return cls(GeneratorChoice(**generator["main"]), others)


def needs_faces(rules: Sequence[Rule]) -> bool:
    """Whether it depends on a shot, or on its faces, what renders them."""
    return len(rules) > 1 or len(rules[0].alternatives) > 1


def ranges_of(rule: Rule, number: int, film: ShownFilm, *, strict: bool) -> Ranges | None:
    """The frames [start, end) of a film that the condition of an entry names; None where it names none.

    number: of the entry in the manifest's list; film: with its shots, where shots are named; strict: whether a part
    that the film does not have is wrong, and not of another title. Raises ManifestError, whose `at` is its place.
    """
    when, found = when_of(rule), list[tuple[int, int]]()
    if when is None or not when.in_time:
        return None
    for kind, n, text in when.in_time:
        try:
            found.append(stretch_of(kind, text, ("generator", number, "when", kind, n), film))
        except ManifestError:
            if strict:
                raise
    return tuple(joined(sorted(found)))


def candidates(
    rules: Sequence[Rule], ranges: Sequence[Ranges | None], faces: Sequence[Face], middle_frame: int
) -> tuple[RenderedBy, ...]:
    """The takes that are rendered of a shot, at least one: several where the best of them is to be delivered.

    ranges: of each rule the frames [start, end) of the film that its condition names, None where it names none; faces:
    those that may be rendered, the one that speaks longest first; middle_frame: of the shot, which decides whether it
    lies in a rule's frames. A shot in which nobody is rendered has one take, by the last rule. Of two faces with
    several generators each, the first ones render one take, the second ones the next; a face with fewer keeps its
    first.
    """
    if not faces:
        return (RenderedBy(rules[-1].alternatives[0]),)
    options = [_first(rules, ranges, face, middle_frame).alternatives for face in faces]
    found: list[RenderedBy] = []
    for n in range(max(map(len, options))):
        by = [one[n] if n < len(one) else one[0] for one in options]
        others = tuple((f.track, one) for f, one in zip(faces, by, strict=True) if one != by[0])
        if (made := RenderedBy(by[0], others)) not in found:
            found.append(made)
    return tuple(found)


def _first(rules: Sequence[Rule], ranges: Sequence[Ranges | None], face: Face, middle_frame: int) -> Rule:
    """The first rule that fits a face."""
    for rule, frames in zip(rules, ranges, strict=True):
        when = when_of(rule)
        if when is None:
            return rule
        if frames is not None and not any(a <= middle_frame < b for a, b in frames):
            continue
        if when.characters is not None and face.character not in when.characters:
            continue
        if when.size is None or face.face_px in when.size:
            return rule
    raise AssertionError("the last rule of a manifest is for all faces")

"""What of the turns may be rendered by character: `leave_alone`, `only` and `leave` with `characters`, `consent`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from dubbing.artifacts.turns import ShotTurns
from dubbing.errors import several

__all__ = ["NO_CONSENT", "with_consent", "with_names"]

NO_CONSENT = "consent is required"
"""How the sentence begins that says who was left for want of it."""


def with_names(
    turns: ShotTurns, names: Mapping[str, str], only: Collection[str] | None, leave: Collection[str],
    known: Collection[str] | None = None, *, coarse: bool = False,
) -> ShotTurns:  # fmt: skip
    """The same turns with the names of the faces, without those that are left.

    names: the character by track id; only: characters who alone may be rendered, None for all; leave: those who may
    not; known: names that mean somebody, None for all; coarse: whether people were told apart without a network, so
    that one actor may be several people. A face without a name is rendered, and doubted where it may be left.
    """
    faces = [replace(face, character=names.get(face.track, face.character)) for face in turns.faces]
    kept = [f for f in faces if f.character not in leave and (only is None or f.character in only)]
    left = turns.left or len(kept) < len(faces)
    if left and not any(face.says for face in kept):
        kept = []
    doubt = turns.doubt
    unseen = sorted(set(leave) - set(names.values()))
    nameless = any(f.character is None or (known is not None and f.character not in known) for f in kept)
    if unseen and nameless and doubt is None:
        doubt = (
            f"{unseen[0]} is to be left alone, and no face of the film is known to be {unseen[0]}'s, so this one may "
            "be: name the faces (`cast`)"
        )
    elif coarse and leave and nameless and doubt is None:
        doubt = (
            f"{sorted(leave)[0]} is to be left alone, and people are told apart coarsely without the extra `identity`, "
            "so this face may be the same actor's: name the faces (`cast`), or install the extra"
        )
    return replace(turns, faces=tuple(kept), left=left, doubt=doubt)


def with_consent(
    turns: Sequence[ShotTurns], told: Mapping[str, str], consented: Collection[str]
) -> tuple[list[ShotTurns], tuple[str, ...]]:
    """The same turns without the faces of anybody whose consent is not there, and a sentence that says who was left.

    told: the character by track id, as people or pictures say it: what only timing or a voice makes likely does not
    count. consented: the characters whose consent is there. A shot in which nobody is left to speak has the reason
    `no_consent`.
    """
    made: list[ShotTurns] = []
    named: dict[str, None] = {}
    nameless: set[int] = set()
    shots = 0
    for one in turns:
        kept = tuple(f for f in one.faces if told.get(f.track) in consented)
        gone = [f for f in one.faces if f not in kept and (f.says or f.rests)]
        if len(kept) == len(one.faces):
            made.append(one)
            continue
        shots += bool(gone)
        named |= {told[f.track]: None for f in gone if f.track in told}
        nameless |= {f.actor for f in gone if f.track not in told}
        if any(f.says or f.rests for f in kept) or not gone:
            made.append(replace(one, faces=kept))
        else:
            made.append(replace(one, faces=(), left=False, reason="no_consent", doubt=None))
    if not shots:
        return made, ()
    people = [*sorted(named), *([several(len(nameless), "person", "people") + " without a name"] if nameless else [])]
    return made, (
        f"{NO_CONSENT}, and was not found for {', '.join(people)}: left as in the source in {several(shots, 'shot')}.",
    )

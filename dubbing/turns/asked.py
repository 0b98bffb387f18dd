"""What of the turns may be rendered by character: `leave_alone`, and `only` and `leave` with `characters`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from dubbing.artifacts.turns import ShotTurns

__all__ = ["with_names"]


def with_names(
    turns: ShotTurns, names: Mapping[str, str], only: Collection[str] | None, leave: Collection[str]
) -> ShotTurns:
    """The same turns with the names of the faces, without those that are left.

    names: the character by track id; only: characters who alone may be rendered, None for all; leave: those who may
    not. A face without a name is rendered where only names that are known to others are left.
    """
    faces = [replace(face, character=names.get(face.track, face.character)) for face in turns.faces]
    kept = [f for f in faces if f.character not in leave and (only is None or f.character in only)]
    left = turns.left or len(kept) < len(faces)
    if left and not any(face.says for face in kept):
        kept = []
    doubt = turns.doubt
    unseen = sorted(set(leave) - set(names.values()))
    if unseen and any(face.character is None for face in kept) and doubt is None:
        doubt = (
            f"{unseen[0]} is to be left alone, and no face of the film is known to be {unseen[0]}'s, so this one may "
            "be: name the faces (`cast`)"
        )
    return replace(turns, faces=tuple(kept), left=left, doubt=doubt)

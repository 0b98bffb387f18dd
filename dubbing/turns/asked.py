"""What of the turns may be rendered by character: `leave_alone`, and `only` and `leave` with `characters`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from dubbing.artifacts.turns import ShotTurns

__all__ = ["with_names"]


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

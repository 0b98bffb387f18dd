"""`consent: required`, looked at before a run: every character who could be re-rendered has it, and a face.

Whom a face of the film belongs to, the run finds; the faces of all others it leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from dubbing.analysis.asked import characters_asked
from dubbing.errors import ManifestError
from dubbing.manifest import Dub, Manifest, Title

__all__ = ["consent_is_there", "said_of_consent"]


def consent_is_there(manifest: Manifest, title: Title, dub: Dub) -> None:
    """Raises ManifestError where consent is required, and a character who may be re-rendered in a dub has none, or
    nobody has."""
    consented = manifest.consented(title)
    if consented is None:
        return
    cast = title.cast or {}
    if title.still is not None and title.still.expression is not None:
        raise ManifestError(
            "consent is required, and an expression changes a photograph's face before it is known whose it is; leave "
            "it out.",
            at=("still", "expression"),
        )
    for name in _rendered(title, dub):
        if name not in consented:
            inside = ("cast", name) if name in cast else ("dubs", title.dubs.index(dub), "stems", name)
            raise ManifestError(
                f"consent is required, and {name} has none; write where it is kept under 'cast' ({name}: {{consent: "
                "contract 2026-114}), or leave_alone: true.",
                at=inside,
            )
    if not consented:
        raise ManifestError(
            "consent is required, and no character of the title has any, so that no face could be re-rendered; write "
            "under 'cast' who consented (ANNA: {face: anna.jpg, consent: contract 2026-114}).",
            at=("cast",) if cast else (),
        )


def said_of_consent(
    manifest: Manifest, title: Title, named: Callable[[], Collection[str]], listed: Collection[str]
) -> list[str]:
    """Notes where consent is required: whose faces may be re-rendered, and whose will not be found or are left. named:
    asked for characters whom reviewers named; listed: characters of lists of lines."""
    consented = manifest.consented(title)
    if not consented:
        return []
    cast = title.cast or {}
    notes = [
        f"{title.id}: consent is required: only faces that are known to be {', '.join(consented)} are re-rendered, all "
        "others are left (no_consent)."
    ]
    known = {name.casefold() for name in named()}
    faceless = [
        name for name in consented
        if not (cast[name].off_screen or cast[name].leave_alone or cast[name].pictures or name.casefold() in known)
    ]  # fmt: skip
    if faceless:
        notes.append(
            f"{title.id}: nothing says which face is that of {', '.join(faceless)}: it is left; give 'face', or name "
            "it by `dub cast` after a first run."
        )
    left = sorted(set(listed) - set(cast))
    if left:
        notes.append(f"{title.id}: {', '.join(left)} of the lines have no consent, and are left.")
    return notes


def _rendered(title: Title, dub: Dub) -> list[str]:
    """The characters who may be re-rendered in a dub, as far as the manifest names them."""
    only, leave = characters_asked(title, dub)
    off_screen = {name for name, one in (title.cast or {}).items() if one.off_screen}
    names = dict.fromkeys([*(title.cast or {}), *(dub.stems or {})])
    return [n for n in names if n not in off_screen and n not in leave and (only is None or n in only)]

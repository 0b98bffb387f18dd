"""The takes of a shot in one language, as they lie in an output folder or at a URI. Reads only; knows no job.

takes/<shot>/<take id>/patch/        what was rendered: result.json, face_<n>/ folders of patches, sheet.jpg
takes/<shot>/<take id>/score-<key>/  what was measured of it: result.json, seen_face_<n>.npz; and sheet.jpg
                                     where nobody looked at the take while it was made
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from dubbing.artifact import Artifact
from dubbing.artifacts import takes as artifacts
from dubbing.artifacts.takes import Scores, TakeFace
from dubbing.config import Review
from dubbing.errors import OutputError
from dubbing.severity import judged, parts, reason
from dubbing.shot_table import shot_numbers
from dubbing.store import PART, RESULT, Store

__all__ = ["Take", "read_takes"]

_PATCH, _SCORE = "patch", "score-"
A = TypeVar("A", bound=Artifact)


@dataclass(frozen=True)
class Take:
    """One attempt at one shot.

    shot: its id; id: 12 hex digits of the take's key; generator: name and settings as in a manifest; folder: with
    face_<n>/ patches; faces: what was rendered, the one that speaks longest first; scored: rows of `dub.face.1` as
    `severity.judged` gives them, the worst first, none where it was not scored; seen: folder of `seen_face_<n>.npz`,
    None where it was not scored; made: UTC, ISO 8601, empty where it lies at a URI, which does not say;
    current: the one in the master, as things stand; generator_hash: 12 hex digits, None where nothing was rendered."""

    shot: str
    id: str
    generator: Mapping[str, Any]
    folder: Path
    faces: tuple[TakeFace, ...]
    status: str
    reason: str | None
    scored: tuple[Mapping[str, Any], ...]
    seen: Path | None
    made: str
    current: bool
    generator_hash: str | None = None

    @property
    def scores(self) -> dict[str, Any]:
        """Columns of `dub.shot.1`: the numbers of its worst face, but not those that were not measured."""
        return {name: value for name, value in shot_numbers(self.scored).items() if value is not None}

    @property
    def review_reason(self) -> str | None:
        """What is complained of in it, None where nothing is."""
        return reason(self.scored)

    def row(self, limits: Review) -> dict[str, Any]:
        """The columns of `dub.shot.1` that belong to a take, None where there is nothing, and severity_parts."""
        numbers = shot_numbers(self.scored)
        own = {"take": self.id, "generator": self.generator.get("name"), "generator_hash": self.generator_hash,
               "status": self.status, "reason": self.reason, "review_reason": self.review_reason}  # fmt: skip
        numbers["severity"] = numbers["severity"] or 0.0
        return numbers | own | {"severity_parts": parts({**numbers, **own}, limits)}


def read_takes(store: Store, home: Path, shot: str, current: str | None, generator: str, limits: Review) -> list[Take]:
    """The takes of one shot, oldest first. home: the dub's folder; current: id of the one in the master; generator:
    the name to give where a take does not say what rendered it; limits: which numbers are complained of. A take that
    cannot be read is passed over; one whose scores another version wrote has none."""
    below = home / "takes" / shot
    there = {f.parent for f in store.find(below, RESULT) if len(f.relative_to(below).parts) == 3}
    there = {f for f in there if not any(p.startswith(PART) for p in f.relative_to(below).parts)}
    scored: dict[str, list[Path]] = {}
    for folder in there:
        if folder.name.startswith(_SCORE):
            scored.setdefault(folder.parent.name, []).append(folder)
    newest = {take: max(folders, key=lambda f: (_stamp(f), f.name)) for take, folders in scored.items()}
    rendered = [f for f in there if f.name == _PATCH]
    found = []
    for folder in rendered:
        result = _read(store, artifacts.Take, folder)
        if result is None:
            continue
        take_id = folder.parent.name
        choice = result.choice or {"name": result.generator or generator}
        seen = newest.get(take_id)
        scores = _read(store, Scores, seen) if seen else None
        found.append(Take(
            shot=shot, id=take_id, generator={"name": choice["name"], **choice.get("settings", {})}, folder=folder,
            faces=result.rendered, status=result.status, reason=result.reason,
            scored=tuple(judged((face.row() for face in scores.faces), limits)) if scores else (),
            seen=seen if scores else None, made=_made(folder), current=take_id == current,
            generator_hash=result.generator_hash,
        ))  # fmt: skip
    return sorted(found, key=lambda t: (t.made, t.id))


def _read(store: Store, kind: type[A], folder: Path) -> A | None:
    """A result of that kind; None where it cannot be read."""
    try:
        return kind.of(store.results([folder]).get(folder) or {})
    except (OSError, ValueError, OutputError):
        return None


def _stamp(folder: Path) -> int:
    """When a result was made, as this machine's disk says; 0 of one that lies elsewhere."""
    try:
        return (folder / RESULT).stat().st_mtime_ns
    except OSError:
        return 0


def _made(folder: Path) -> str:
    stamp = _stamp(folder)
    return datetime.fromtimestamp(stamp / 1e9, UTC).isoformat(timespec="seconds") if stamp else ""

"""Everybody who is seen in a title: for how long, in which shots, with a picture; and the characters' names.

Names are decisions (`DecisionLog.name`); what pictures of the manifest say is a result of the stage `cast`. Knows no
page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dubbing import media
from dubbing.artifacts.people import Cast, People, spans_of
from dubbing.artifacts.tracks import FaceTracks, good_frames, load_tracks
from dubbing.errors import DubError, InputError, OutputError
from dubbing.job import Job
from dubbing.manifest import CastMember, Title
from dubbing.review.library import Library

__all__ = [
    "PICTURE_PX", "SeenPerson", "Unseen", "cast_of", "draw_sheet", "find_person", "name_person", "people_of",
    "picture_of", "unseen_of",
]  # fmt: skip

PICTURE_PX = 200
_ROOM = 1.9  # side of a picture, in heights of the face
_ENOUGH_FRAMES = 12  # from which on a longer track makes no better picture
_COLUMNS = 5
_LABEL_PX = 44


@dataclass(frozen=True)
class SeenPerson:
    """One person of a title. number: from 1, in order of appearance; name: the character, None where it is not known;
    by: `name` where a reviewer said so, `picture` where the manifest's pictures did, else None; likeness: to these
    pictures, up to 1, None without them; seconds: in which the face is in sight; shots: ids, in order; tracks: ids, in
    order."""

    title: str
    number: int
    name: str | None
    by: str | None
    likeness: float | None
    seconds: float
    shots: tuple[str, ...]
    tracks: tuple[str, ...]


@dataclass(frozen=True)
class Unseen:
    """A character of the manifest whom nobody was found to play. why: a clause."""

    title: str
    name: str
    why: str


def people_of(library: Library, title: str) -> list[SeenPerson]:
    """Everybody who is seen in a title, in order of appearance. Raises InputError where there is no such title,
    OutputError where its people are not known yet."""
    job, whole = _job(library, title)
    known = job.analysis(whole)
    people: People | None = job.result(known.get(People))
    if people is None:
        raise OutputError(
            f"The people of {title} are not known yet, or another version of dub told them apart; `dub run` its "
            f"manifest into {str(library.out)!r}, then name them."
        )
    rate, names, cast = (
        float(job.timeline(whole).rate),
        library.characters(title),
        job.result(known.get(Cast)) or Cast(),
    )
    said = library.said(title)
    found = []
    for one in people.people:
        own = Counter(names[t] for t in one.tracks if t in names)
        by = None if not own else "name" if any(said.get(t) for t in one.tracks) else "picture"
        likeness = max((cast.likeness[t] for t in one.tracks if t in cast.likeness), default=None)
        found.append(
            SeenPerson(
                title, one.number + 1, ", ".join(n for n, _ in own.most_common()) or None, by,
                likeness if by == "picture" else None, round(one.frames / rate, 2),
                tuple(dict.fromkeys(t.rpartition("/")[0] for t in one.tracks)), one.tracks,
            )
        )  # fmt: skip
    return found


def unseen_of(library: Library, title: str) -> list[Unseen]:
    """The characters of the manifest that nobody is known to play."""
    _, whole = _job(library, title)
    played, found = set(library.characters(title).values()), []
    for name, member in (whole.cast or {}).items():
        if name not in played:
            why = "never in sight (off_screen)" if member.off_screen else (
                "nobody resembles its pictures enough" if member.pictures else "has no pictures, and nobody named so"
            )  # fmt: skip
            found.append(Unseen(title, name, why))
    return found


def _job(library: Library, title: str) -> tuple[Job, Title]:
    """The job of a title's first dub. Raises InputError where there is no such title."""
    for whole, dub in library.dubs():
        if whole.id == title:
            return library.job(title, dub.language), whole
    names = ", ".join(dict.fromkeys(t.id for t, _ in library.dubs()))
    raise InputError(f"There is no title {title!r} in {str(library.out)!r}; there is: {names}.")


def cast_of(library: Library) -> list[dict[str, Any]]:
    """Every title for a page: id, language (of its first dub), people, members (of each character of the manifest, and
    of others that were named: name, played, asked, consent), consented (None where consent is not required), why
    (nobody can be shown, else empty)."""
    found: list[dict[str, Any]] = []
    for title, language in {t.id: d.language for t, d in reversed(library.dubs())}.items():
        job, whole = _job(library, title)
        why, people = "", []
        try:
            people = people_of(library, title)
        except (DubError, FileNotFoundError) as e:
            why = str(e)
        unseen = {one.name: one.why for one in unseen_of(library, title)} if people else {}
        cast = whole.cast or {}
        played: dict[str, list[str]] = {name: [] for name in cast}
        for one in people:
            for name in (one.name or "").split(", ") if one.name else ():
                played.setdefault(name, []).append(str(one.number))
        members = []
        for name, numbers in played.items():
            member = cast.get(name, CastMember())
            flags = (("never in sight", member.off_screen), ("left alone", member.leave_alone))
            members.append({
                "name": name, "asked": ", ".join(w for w, on in flags if on), "consent": member.consent,
                "played": f"person {', '.join(numbers)}" if numbers else unseen.get(name, ""),
            })  # fmt: skip
        consented = job.manifest.consented(whole)
        found.insert(0, {"id": title, "language": language, "people": people, "members": members, "why": why,
                         "consented": consented})  # fmt: skip
    return found


def find_person(people: Sequence[SeenPerson], number: int) -> SeenPerson:
    """The person of that number. Raises InputError where there is none."""
    if not 1 <= number <= len(people):
        among = f"it has {len(people)}, counted from 1" if people else "nobody is seen in it"
        raise InputError(f"There is no person {number} in this title; {among}.")
    return people[number - 1]


def name_person(library: Library, person: SeenPerson, name: str, reviewer: str) -> str | None:
    """Say which character a person is; an empty name takes it away. Returns a note where the manifest has a cast
    or stems, and neither has it. Raises InputError where it is no name, OutputError where it cannot be kept."""
    job, whole = _job(library, person.title)
    frames = {shot: span for span, shot in spans_of(job.shots(whole) or ()).items()}
    spans = [frames[track.rpartition("/")[0]] for track in person.tracks]
    library.log.name(person.title, person.tracks, name, reviewer, spans)
    known = dict.fromkeys([*(whole.cast or ()), *(stem for dub in whole.dubs for stem in dub.stems or ())])
    if name.strip() and known and name.strip().casefold() not in [one.casefold() for one in known]:
        said = "cast" if whole.cast else "stems"
        return f"{name.strip()!r} is no character of the manifest's {said}; it has: {', '.join(known)}."
    return None


def picture_of(library: Library, person: SeenPerson) -> bytes:
    """A picture of the face, JPEG, PICTURE_PX on each side. Raises MediaError where the film is gone."""
    job, title = _job(library, person.title)
    known = job.analysis(title)
    shown: list[tuple[float, str, Path]] = []
    for shot in person.shots:
        task = known.get(FaceTracks, shot=shot)
        faces: FaceTracks | None = job.result(task)
        for one in faces.tracks if task and faces else ():
            if task and one.id in person.tracks:
                straight = np.cos(np.radians(one.yaw_deg))
                worth = one.face_px * min(1.0, one.seen_frames / _ENOUGH_FRAMES) * float(straight)
                shown.append((worth, one.id, task.folder))
    if not shown:
        raise OutputError(f"The faces of {person.title} are gone; `dub run` its manifest again.")
    _, best, folder = max(shown)
    track = next(t for t in load_tracks(folder) if t.id == best)
    frames = good_frames(track, 3)
    frame = min(frames, key=lambda f: abs(track.yaw_N[f - track.start_frame])) if frames else track.start_frame
    points_P2 = track.mesh_NP3[frame - track.start_frame, :, :2]
    film = job.film(title)
    for picture in media.read(film, job.timeline(title), frame, frame + 1):
        bgr = _square(picture.bgr(), points_P2)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()


def draw_sheet(people: Sequence[SeenPerson], pictures: Sequence[bytes]) -> bytes:
    """Their pictures, as of `picture_of`, with numbers, names and seconds, as one JPEG."""
    cells = []
    for one, picture in zip(people, pictures, strict=True):
        face = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
        label = np.full((_LABEL_PX, PICTURE_PX, 3), 32, np.uint8)
        name = one.name if one.name and one.name.isascii() else ("" if one.name is None else "(named)")
        for n, text in enumerate((f"{one.number} {name}"[:22], f"{one.seconds:.1f} s, {len(one.shots)} shots")):
            cv2.putText(label, text, (6, 17 + 19 * n), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (230, 230, 230), 1, cv2.LINE_AA)
        cells.append(np.concatenate([face, label]))
    blank = np.full((PICTURE_PX + _LABEL_PX, PICTURE_PX, 3), 32, np.uint8)
    columns = min(_COLUMNS, max(1, len(cells)))
    cells += [blank] * (-len(cells) % columns) or ([] if cells else [blank])
    rows = [np.concatenate(cells[n : n + columns], 1) for n in range(0, len(cells), columns)]
    return cv2.imencode(".jpg", np.concatenate(rows), [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()


def _square(bgr_HWC: np.ndarray, points_P2: np.ndarray) -> np.ndarray:
    """The face in a square of the picture, uint8 (PICTURE_PX, PICTURE_PX, 3), in its middle where there is room."""
    low, high = points_P2.min(0), points_P2.max(0)
    height, width = bgr_HWC.shape[:2]
    side = max(1, min(height, width, round(float((high - low).max()) * _ROOM)))
    x, y = np.clip(np.rint((low + high - side) / 2).astype(int), 0, (width - side, height - side))
    way = cv2.INTER_AREA if side > PICTURE_PX else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(bgr_HWC[y : y + side, x : x + side], (PICTURE_PX, PICTURE_PX), interpolation=way))

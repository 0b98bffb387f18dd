"""How well dubs fit, by language and kind of source, as the literature compares languages: `dub report languages`.

Every number is a mean over rendered faces, as `faces.parquet` has them. Lip leakage is how much the mouth moves where
the dub is silent. KeySync (Bigata et al. 2025), which names it LipLeak, renders a clip to silence and counts the frames
in which its mouth is open; a dub is rendered once, to its own sound, so here it is the motion in the dub's pauses over
the original's in speech (`lip_leak`), in which lips that are parted at rest are no leakage. A photograph does not
speak: there it is over the result's own motion in speech.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any, Literal

from dubbing import media
from dubbing.api.results import open_results
from dubbing.clock import Timeline
from dubbing.errors import InputError
from dubbing.store import PART, Store, open_store

__all__ = ["ALL", "LanguageScores", "by_language"]

ALL = "all"


@dataclass(frozen=True)
class LanguageScores:
    """One line of the comparison; None where nothing was measured.

    language: of the dubs, or ALL; source: whether the picture is a film or was made of a photograph; generator, model:
    what rendered, and the sync expert, None where nothing was scored: numbers compare within one; dubs, shots, faces:
    how many with anything rendered; seconds: rendered, of all faces together; lse_d, lse_c: means, beside the
    originals' (source_); offset_frames: median of |offset|, 25ths of a second; within_one: part of the faces, 0..1,
    with an offset of at most one of these; lip_leak: mean, 0 = rests, 1 = talks on; sharpness: mean, 1 = as sharp.
    """

    language: str
    source: Literal["moving", "still"]
    generator: str
    model: str | None
    dubs: int
    shots: int
    faces: int
    seconds: float
    lse_d: float | None
    source_lse_d: float | None
    lse_c: float | None
    source_lse_c: float | None
    offset_frames: float | None
    within_one: float | None
    lip_leak: float | None
    sharpness: float | None


@dataclass(frozen=True)
class _Shot:
    """One dubbed shot. dub: what tells it from others; faces: its rows of `dub.face.1`, with seconds."""

    dub: tuple[str, str, str]
    source: Literal["moving", "still"]
    generator: str
    model: str | None
    faces: Sequence[Mapping[str, Any]]


def by_language(outs: Sequence[Path | str]) -> tuple[LanguageScores, ...]:
    """The dubs of some output folders or URIs, compared: films before photographs, each with a line of ALL at its end
    where there are several languages.

    Raises OutputError (an InputError): no run has written there; InputError: no dub of any has a table of shots.
    """
    shots = [shot for out in dict.fromkeys(outs) for shot in _shots(out)]
    if not shots:
        raise InputError(
            f"No shot is dubbed in {', '.join(repr(str(o)) for o in outs)}; a report needs a run that has finished."
        )
    groups = dict.fromkeys((s.source, s.generator, s.model) for s in sorted(shots, key=lambda s: s.source))
    found = []
    for group in groups:
        mine = [s for s in shots if (s.source, s.generator, s.model) == group]
        languages = dict.fromkeys(s.dub[2] for s in mine)
        found += [_line(language, [s for s in mine if s.dub[2] == language]) for language in languages]
        if len(languages) > 1:
            found.append(_line(ALL, mine))
    return tuple(found)


def _shots(out: Path | str) -> Iterator[_Shot]:
    """The dubbed shots of every finished dub in an output folder."""
    store, results = open_store(out), open_results(out)
    for title in results.titles:
        still = bool(_folders(store, title.id, "still-"))
        line = _timeline(store, title.id) if title.frames else None
        for dub in title.dubs:
            faces, rows = dub.faces.to_pylist(), dub.shots.to_pylist()
            model = next((row["lse_model"] for row in rows if row["lse_model"]), None)
            for row in rows:
                if row["status"] != "dubbed" or line is None:
                    continue
                mine = [f for f in faces if f["shot"] == row["shot"]]
                yield _Shot(
                    (str(out), title.id, dub.language), "still" if still else "moving", row["generator"],
                    row["lse_model"] or model,
                    [{"lip_leak": None} | f | {"seconds": _seconds(f, line)} for f in mine],
                )  # fmt: skip


def _line(language: str, shots: Sequence[_Shot]) -> LanguageScores:
    """The means over some shots of one source, generator and model."""
    faces = [face for shot in shots for face in shot.faces]
    offsets = [abs(f["lse_offset_frames"]) for f in faces if f["lse_offset_frames"] is not None]
    first = shots[0]
    return LanguageScores(
        language=language, source=first.source, generator=first.generator, model=first.model,
        dubs=len({s.dub for s in shots}), shots=len(shots), faces=len(faces),
        seconds=round(sum(f["seconds"] for f in faces), 2),
        lse_d=_mean(faces, "lse_d"), source_lse_d=_mean(faces, "source_lse_d"),
        lse_c=_mean(faces, "lse_c"), source_lse_c=_mean(faces, "source_lse_c"),
        offset_frames=median(offsets) if offsets else None,
        within_one=round(sum(offset <= 1 for offset in offsets) / len(offsets), 4) if offsets else None,
        lip_leak=_mean(faces, "lip_leak"), sharpness=_mean(faces, "sharpness"),
    )  # fmt: skip


def _mean(faces: Iterable[Mapping[str, Any]], name: str) -> float | None:
    known = [face[name] for face in faces if face[name] is not None]
    return round(fmean(known), 4) if known else None


def _seconds(face: Mapping[str, Any], line: Timeline) -> float:
    """How long a face is rendered: its part of the time between its first and its last patch."""
    first, last = face["start_frame"], face["end_frame"]
    return float(line.time(last) - line.time(first)) * face["rendered_frames"] / (last - first)


def _timeline(store: Store, title: str) -> Timeline:
    """When the frames of a title's film are shown: its content fixes that, by whatever settings shots were found."""
    folders = _folders(store, title, "shots-")
    if not folders:
        raise InputError(f"{store.shown(store.analysis(title))!r} has no shots any more; `dub run` the manifest again.")
    with store.brought(folders[0]) as (folder,):
        return media.load_timeline(folder)


def _folders(store: Store, title: str, beginning: str) -> list[Path]:
    return [f for f in store.names(store.analysis(title), beginning) if PART not in f.name]

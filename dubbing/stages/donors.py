"""Donors: collect the mouths that each person of a title may lend to any shot in which the same person speaks.

Frames are chosen by the meshes of all shots, so that only the chosen ones are decoded, in one pass in the film's order;
where people are seen for long, several tasks do some of them each, and one joins what they have collected.
People are those of the stage `people`, which joins tracks only where it is sure; nothing is ever taken across two of
them, and their names do not count. The stores lie in the title's analysis folder and go nowhere else.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dubbing import media
from dubbing.analysis.burned_in import Cover
from dubbing.analysis.windows import people_in_parts, shared_out
from dubbing.artifact import File, Ref
from dubbing.artifacts.donors import DonorStores
from dubbing.artifacts.overlays import OverlayList, Overlays, load_overlays
from dubbing.artifacts.people import People
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.speakers import SpeakerList
from dubbing.artifacts.tracks import FaceTracks, load_tracks
from dubbing.stage import Place, Resources, Scope, Stage
from dubbing.task import WindowedFilm, uncounted

if TYPE_CHECKING:
    from dubbing.generators.rewrite import donors

__all__ = ["PART_S", "CollectDonors", "DonorsInputs"]

PART_S = 240.0  # in which somebody is seen, below which no task of its own is worth its start
LONG_FRAMES = 480  # of one track: a longer one is rendered in stretches, which can lend to each other
_TITLE_BYTES = 512_000_000  # of all stores of a title
_LEAST_BYTES = 8_000_000  # of one store, however many people there are


@dataclass(frozen=True)
class DonorsInputs(WindowedFilm):
    """The inputs of the stage `donors`, or of a task that collects the mouths of some of the people: `end` is then
    their share of the film's frames."""

    film: File
    """The film."""
    people: tuple[tuple[int, tuple[str, ...]], ...]
    """Everybody who speaks and is seen often enough to lend: number, and ids of the tracks that show the person."""
    faces: tuple[Ref[FaceTracks], ...]
    """The faces of the shots in which these people are, in order."""
    overlays: tuple[Ref[Overlays] | None, ...] | None = None
    """What lies over the faces of each of these shots, None where nothing does; None where nothing does over any."""
    timeline: Ref[ShotList] = uncounted("a film's content fixes the times of its frames", default=None)
    """The film's frames in time."""
    among: int | None = None
    """How many people share the room that a title's stores have; None for as many as these."""


class CollectDonors(Stage[DonorsInputs, DonorStores]):
    """The stores of all people of a title who speak in it and are seen in more than one place."""

    name: ClassVar[str] = "donors"
    scope = Scope.TITLE
    version = 2
    resources = Resources(cpus=1.0, memory_mb=1500, picture_mb=8)
    expands = True
    bad_input_costs = "shot"  # without stores a shot has its own mouths
    chain_ms = 60.0

    @classmethod
    def inputs(cls, at: Place) -> DonorsInputs | None:
        if at.made_of is not None or at.config.quality == "draft" or not at.generator_wants("donors"):
            return None
        speak = {spoken.actor for d in at.result(SpeakerList).decisions for spoken in d.tracks}
        shots = at.result(ShotList).shots
        over = at.result(OverlayList).contents  # a shot in which that could not be told lends nothing
        seen = {s.id: found for s, found in zip(shots, at.each(FaceTracks), strict=True) if s.id in over}
        faces = {shot: found for shot, found in seen.items() if found is not None}
        people = []
        for one in at.result(People).people:
            tracks = tuple(t for t in one.tracks if t.rpartition("/")[0] in faces)
            if one.number in speak and (len(tracks) > 1 or (tracks and one.frames > LONG_FRAMES)):
                people.append((one.number, tracks))
        if not people:
            return None
        used = {t.rpartition("/")[0] for _, tracks in people for t in tracks}
        refs = tuple(found for shot, found in faces.items() if shot in used)
        covers = dict(zip((s.id for s in shots), at.each(Overlays), strict=True))
        covered = tuple(covers[shot] if over[shot] else None for shot in faces if shot in used)
        return DonorsInputs(at.film, tuple(people), refs, covered if any(covered) else None, at.ref(ShotList),
                            end=at.result(ShotList).frames)  # fmt: skip

    @classmethod
    def windows(cls, inputs: DonorsInputs, at: Place) -> list[DonorsInputs]:
        """Not parts of the film but of its people, where they are seen for long."""
        tracks = dict(inputs.people)
        seen = {one.number: one.frames for one in at.result(People).people if one.number in tracks}
        used = {track.rpartition("/")[0] for of_one in tracks.values() for track in of_one}
        places = {shot: n for n, shot in enumerate(s.id for s in at.result(ShotList).shots if s.id in used)}
        overlays = inputs.overlays or (None,) * len(inputs.faces)
        found = []
        for part, frames in shared_out(people_in_parts(seen, PART_S * at.rate), seen, inputs.end):
            own = sorted({places[track.rpartition("/")[0]] for number in part for track in tracks[number]})
            over = tuple(overlays[n] for n in own)
            found.append(replace(
                inputs, end=frames, people=tuple((number, tracks[number]) for number in part), among=len(tracks),
                faces=tuple(inputs.faces[n] for n in own), overlays=over if any(over) else None,
            ))  # fmt: skip
        return found

    @classmethod
    def joins(cls, inputs: DonorsInputs, parts: tuple[Ref[Any], ...]) -> DonorsInputs:
        """Those who collected have read the faces."""
        return replace(inputs, parts=parts, faces=(), overlays=None)

    @classmethod
    def weight(cls, frames: float) -> float:
        """Everything waits for each of them, and the longest goes first."""
        return super().weight(0) + cls.chain_ms * frames

    def process(self, inputs: DonorsInputs, out: Path, progress: Callable[[int], None]) -> DonorStores:
        from dubbing.generators.rewrite import donors

        if inputs.parts is not None:
            return _joined(inputs.parts, out)
        info = media.probe(inputs.film.path)
        line = media.load_timeline(inputs.timeline.folder)
        chosen = _chosen(inputs, info)
        writers = {number: donors.StoreWriter(out, f"actor_{number}") for number, _ in inputs.people}
        frames = sorted({f for some in chosen.values() for f in some})
        pictures = media.chosen(inputs.film.path, line, frames, threads=1)
        held: media.Picture | None = None
        for number, track, looks in _in_order(inputs, chosen, info):
            frame = int(looks.frames_N[0])
            while held is None or held.frame < frame:
                held = next(pictures)
            x, y, width, height = (int(v) for v in donors.boxes_of(looks.mesh_NP2, info.upright_size)[0])
            kept = held.kept_bgr((x, y, width, height))
            writers[number].add(looks, track, kept, (x, y, width, height))
        ended = {number: writer.close() for number, writer in writers.items()}
        files = {number: name for number, (name, _) in ended.items() if name is not None}
        progress(inputs.end)
        return DonorStores(files, {number: ended[number][1] for number in files})


def _joined(parts: Sequence[Ref[DonorStores]], out: Path) -> DonorStores:
    """The stores of several tasks, as if one had made them."""
    files: dict[int, str] = {}
    frames: dict[int, int] = {}
    for part in parts:
        made = part.read()
        files |= made.store_files
        frames |= made.frames
        for name in made.store_files.values():
            for one in (name, Path(name).with_suffix(".raw").name):
                shutil.copyfile(part.folder / one, out / one)
    return DonorStores(dict(sorted(files.items())), dict(sorted(frames.items())))


def _chosen(inputs: DonorsInputs, info: media.MediaInfo) -> dict[str, list[int]]:
    """The frames that are kept of each track, by its id. Of each frame of the title only a few numbers are held."""
    from dubbing.generators.rewrite import donors

    of_track = {track: number for number, tracks in inputs.people for track in tracks}
    deep = info.video is not None and (info.video.bit_depth > 8 or info.video.transfer in media.HDR)
    rows: dict[int, list[np.ndarray]] = defaultdict(list)
    ids: list[str] = []
    for faces, overlays in zip(inputs.faces, inputs.overlays or [None] * len(inputs.faces), strict=True):
        covers = load_overlays(overlays.folder) if overlays else []
        for track in load_tracks(faces.folder):
            if track.id not in of_track:
                continue
            ids.append(track.id)
            for looks in donors.looks_of(track, info.upright_size):
                boxes = donors.boxes_of(looks.mesh_NP2, info.upright_size)
                usable = looks.usable_N & ~_covered(covers, looks.frames_N, boxes)
                width, height = donors.sizes_of(boxes[usable], looks.scale_N[usable]).T
                rows[of_track[track.id]].append(
                    np.column_stack([
                        looks.measures_N3[usable], looks.turn_N3[usable, 0], looks.quality_N[usable],
                        looks.scale_N[usable], np.full(int(usable.sum()), len(ids) - 1), looks.frames_N[usable],
                        width * height * (6 if deep else 3),
                    ])
                )  # fmt: skip
    room = max(_LEAST_BYTES, min(donors.MOST_BYTES, _TITLE_BYTES // max(1, inputs.among or len(inputs.people))))
    found: dict[str, list[int]] = defaultdict(list)
    for _, parts in sorted(rows.items()):
        row = np.concatenate(parts)
        if not len(row):
            continue
        size_px = row[:, 5]
        quality = row[:, 4] + np.minimum(size_px / max(float(np.percentile(size_px, 80)), 1e-6), 1.0)
        track_N, frame_N = row[:, 6].astype(int), row[:, 7].astype(int)
        kept = donors.pick(row[:, :3], row[:, 3], quality, track_N, frame_N, row[:, 8].astype(int), most_bytes=room)
        for n in kept:
            found[ids[track_N[n]]].append(int(frame_N[n]))
    return found


def _covered(covers: Sequence[Cover], frames_N: np.ndarray, box_N4: np.ndarray) -> np.ndarray:
    """The frames in which something that is no part of the scene reaches into a mouth's box, bool (N,)."""
    found = np.zeros(len(frames_N), bool)
    low, high = box_N4[:, :2], box_N4[:, :2] + box_N4[:, 2:]
    for one in covers:
        height, width = one.mask_HW.shape
        meets = (low < (one.x + width, one.y + height)).all(1) & (high > (one.x, one.y)).all(1)
        found |= meets & (frames_N >= one.start) & (frames_N < one.end)
    return found


def _in_order(
    inputs: DonorsInputs, chosen: Mapping[str, Sequence[int]], info: media.MediaInfo
) -> Iterator[tuple[int, str, donors.Looks]]:
    """The chosen frames in the film's order: number of the person, id of the track, what the frame's mesh says. One
    shot's meshes are held at a time."""
    from dubbing.generators.rewrite import donors

    of_track = {track: number for number, tracks in inputs.people for track in tracks}
    for faces in inputs.faces:
        here: list[tuple[int, str, int, donors.Looks]] = []
        for track in load_tracks(faces.folder):
            if not chosen.get(track.id):
                continue
            wanted = set(chosen[track.id])
            for looks in donors.looks_of(track, info.upright_size):
                here += [(int(frame), track.id, of_track[track.id], looks.only(n))
                         for n, frame in enumerate(looks.frames_N) if int(frame) in wanted]  # fmt: skip
        here.sort(key=lambda one: one[:2])
        for _, track_id, number, one in here:
            yield number, track_id, one

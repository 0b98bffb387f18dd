"""A preview: a few seconds of a film's worst and best shots, original beside dub, before anything else is rendered.

The analysis is that of a full run, and so are the takes of shots that are shown whole: a run finds both. No master is
made, no table and no run.json; takes of parts of long shots, which no full run could use, are removed again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dubbing import media
from dubbing.analysis.asked import Ranges, within
from dubbing.artifacts.selection import Selection
from dubbing.artifacts.sound import DubSound
from dubbing.artifacts.takes import Master, Scores, Take
from dubbing.clock import Timeline
from dubbing.config import Config
from dubbing.decisions import ShotKey
from dubbing.engine import Event, do_tasks
from dubbing.errors import MediaError, OutputError
from dubbing.job import Job, Step
from dubbing.manifest import Dub, Manifest, Title
from dubbing.place import TitleTasks
from dubbing.records import Shot
from dubbing.rendered_by import RenderedBy
from dubbing.review.packing import SOUND_HZ, played
from dubbing.review.panes import laid
from dubbing.review.rerun import TakesOf
from dubbing.review.sides import Cover, Patches
from dubbing.review.stretches import Stretch, stretches_of
from dubbing.severity import judged
from dubbing.store import Store, temporary
from dubbing.task import Outcome, Task

__all__ = ["FOLDER", "Preview", "PreviewedDub", "ShownStretch", "preview"]

FOLDER = "preview"
_SIDE_PX = (640, 720)  # at most, of either picture
_GAP_PX, _LINE_PX, _LEAST_PX = 8, 24, 1000
_CRF = 22.0


@dataclass(frozen=True)
class ShownStretch:
    """What was shown of a shot. kind: `worst` or `best`; by: `scores` of an earlier run, or `analysis`; start_frame,
    end_frame: of the title, the end not in it, as start_tc and end_tc; known: what the analysis knew of it, in words;
    status, reason: of its take; the scores are of that take's worst face, None where not measured; take: its id; kept:
    whether a full run will use the take."""

    kind: str
    by: str
    shot: str
    start_frame: int
    end_frame: int
    start_tc: str
    end_tc: str
    known: str
    status: str
    reason: str | None
    lse_d: float | None
    source_lse_d: float | None
    lse_offset_frames: float | None
    take: str
    kept: bool


@dataclass(frozen=True)
class PreviewedDub:
    """One dub. file: the video, as text, because it may lie at a URI; None where there was nothing to show; rendered:
    frames that were rendered for it now; frames: of the whole title; errors: what failed, and why."""

    title: str
    language: str
    file: str | None
    stretches: tuple[ShownStretch, ...]
    rendered: int
    frames: int
    errors: tuple[str, ...]


@dataclass(frozen=True)
class Preview:
    """What became of a preview: its dubs, in the manifest's order, and the seconds that the analysis, the rendering
    with its scores, and the videos took."""

    dubs: tuple[PreviewedDub, ...]
    analysis_s: float
    rendering_s: float
    videos_s: float


class _Analysis(Job):
    """All that comes before the first take."""

    def tasks(self, failed: Mapping[str, Outcome] | None = None) -> list[Task]:
        return [t for t in super().tasks(failed) if t.kind.Result not in (Take, Scores, Selection, Master)]


class _Parts(TakesOf):
    """The takes of some shots, of which only these frames are asked for: by title and language."""

    def __init__(
        self, manifest: Manifest, out: Store, config: Config, keys: Iterable[ShotKey],
        ranges: Mapping[tuple[str, str], Ranges],
    ) -> None:  # fmt: skip
        super().__init__(manifest, out, config, keys)
        self._ranges = ranges

    def candidates(self, title: Title, dub: Dub, shot: Shot, known: TitleTasks) -> tuple[RenderedBy, ...] | None:
        """Of several takes the first: a preview compares none."""
        every = super().candidates(title, dub, shot, known)
        return every and every[:1]

    def asked(self, title: Title, dub: Dub, guess: Any = ()) -> Ranges | None:
        return self._ranges.get((title.id, dub.language)) or super().asked(title, dub, guess)


def preview(
    manifest: Manifest, store: Store, config: Config, engine: str, on_event: Callable[[Event], None]
) -> Preview:
    """Show some seconds of every dub in OUT/preview/TITLE.LANG.mp4. Raises as a run does."""
    clock = [time.monotonic()]
    lost = do_tasks(_Analysis(manifest, store, config), engine, on_event)
    clock.append(time.monotonic())
    whole = _Analysis(manifest, store, config)  # anew: it remembers what was not there
    dubs = [(title, dub) for title in manifest.titles for dub in title.dubs]
    chosen: dict[tuple[str, str], tuple[Stretch, ...]] = {}
    ranges: dict[tuple[str, str], Ranges] = {}
    for title, dub in dubs:
        found = chosen[title.id, dub.language] = stretches_of(whole, title, dub)
        if found:
            steps = {step.shot.id: step for step in whole.dub(title, dub, {}).steps}
            parts = {part for s in found for part in _asked(whole, title, dub, steps[s.shot.id], s)}
            ranges[title.id, dub.language] = tuple(sorted(parts))
    keys = {(*name, s.shot.id) for name, found in chosen.items() for s in found}
    job = _Parts(manifest, store, config, keys, ranges)
    takes = [t for t in job.tasks() if t.kind.Result is Take and t.window is None] if keys else []
    new = [t for t in takes if not job.done(t)]
    kept = {step.take.folder for title, dub in dubs for step in whole.dub(title, dub, {}).steps}
    try:
        failed = lost | (do_tasks(job, engine, on_event) if keys else {})
        clock.append(time.monotonic())
        job = _Parts(manifest, store, config, keys, ranges)
        rendered = {t.id for t in new}
        made = [_shown(job, whole, title, dub, chosen[title.id, dub.language], rendered, failed) for title, dub in dubs]
        clock.append(time.monotonic())
    finally:
        with suppress(OutputError), store.lock():  # another run has begun there: they do no harm
            for task in new:
                if task.folder not in kept:
                    store.remove(task.folder.parent)
    return Preview(tuple(made), *(round(b - a, 1) for a, b in pairwise(clock)))


def _asked(job: Job, title: Title, dub: Dub, step: Step, stretch: Stretch) -> Ranges:
    """What is rendered for a stretch: the whole shot where its take is there already, or where it is shown whole."""
    shot = step.shot
    start, end = (shot.start_frame, shot.end_frame) if job.done(step.take) else (stretch.start, stretch.end)
    ranges = job.asked(title, dub)
    return within(ranges, start, end) if ranges is not None else ((start, end),)


def _shown(
    job: Job, whole: Job, title: Title, dub: Dub, chosen: Iterable[Stretch], new: set[str],
    failed: Mapping[str, Outcome],
) -> PreviewedDub:  # fmt: skip
    """The video of one dub, and what is in it."""
    store = job.store
    steps = {step.shot.id: step for step in job.dub(title, dub, failed).steps}
    full = {step.take.key for step in whole.dub(title, dub, {}).steps}
    line = job.timeline(title) if steps else None
    known = {task.id for task in job.plan(title, failed, dubs=[dub]).every}
    errors = [f"{name}: {outcome.error}" for name, outcome in failed.items() if name in known]
    shown, rendered = [], {}
    for one in chosen:
        step = steps[one.shot.id]
        take = job.result(step.take)
        if take is None or line is None:
            continue
        faces = judged((face.row() for face in (job.result(step.score) or Scores()).faces), job.config.review)
        numbers = {n: faces[0][n] if faces else None for n in ("lse_d", "source_lse_d", "lse_offset_frames")}
        rendered[step.take.id] = take.frames if step.take.id in new else 0
        shown.append(ShownStretch(
            one.kind, one.by, one.shot.id, one.start, one.end, line.timecode(one.start), line.timecode(one.end),
            one.known, take.status, take.reason, **numbers, take=step.take.key[:12], kept=step.take.key in full,
        ))  # fmt: skip
    file = None
    if shown and line is not None:
        target = store.root / FOLDER / f"{title.id}.{dub.language}.mp4"
        with temporary(FOLDER) as folder, store.brought(job.film(title)) as (film,):
            _draw(folder / target.name, film, job, title, dub, steps, line, shown)
            store.write_bytes(target, (folder / target.name).read_bytes())
        file = store.shown(target)
    frames = len(line) if line else 0
    return PreviewedDub(title.id, dub.language, file, tuple(shown), sum(rendered.values()), frames, tuple(errors))


def _draw(
    path: Path, film: Path, job: Job, title: Title, dub: Dub, steps: Mapping[str, Step], line: Timeline,
    shown: Iterable[ShownStretch],
) -> None:  # fmt: skip
    """The stretches one after another, at the film's own pace: original left, dub right, what it is below, and the
    dub's sound."""
    store, shown = job.store, list(shown)
    info = media.probe(film)
    wide, high = info.upright_size
    scale = min(_SIDE_PX[0] / wide, _SIDE_PX[1] / high)
    width, height = (max(2, round(side * scale / 2) * 2) for side in (wide, high))
    right, way = width + _GAP_PX, cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    canvas = np.zeros((height + 3 * _LINE_PX, max(right + width, _LEAST_PX), 3), np.uint8)
    options = {"movflags": "+faststart"}
    with media.ClipWriter(
        path, canvas.shape[1], canvas.shape[0], line.rate, sample_rate_hz=SOUND_HZ, channels=1, crf=_CRF,
        time_base=line.time_base, container_options=options,
    ) as clip, ExitStack() as used:  # fmt: skip
        zero = 0
        for one in shown:
            step, first, last = steps[one.shot], one.start_frame, one.end_frame
            alike = [s for s in shown if s.kind == one.kind]
            take = job.result(step.take)
            (place,) = used.enter_context(store.brought(step.take.folder))
            patches = Patches([Cover(place / f.folder, first, last, one.take) for f in take.rendered], first, last)
            kind = f"{one.kind} {1 + alike.index(one)} of {len(alike)}, by {one.by}"
            said = (f"{kind}   {one.shot}   frames {first}-{last}   {_scores(one)}", one.known)
            count = 0
            try:
                for picture in media.read(film, line, first, last):
                    before = picture.bgr()
                    canvas[:] = 0
                    for x, side in ((0, before), (right, laid(before, patches.at(picture.frame)))):
                        canvas[:height, x : x + width] = cv2.resize(side, (width, height), interpolation=way)
                    at = f"{line.timecode(picture.frame)}   frame {picture.frame}"
                    for n, text in enumerate((*said, f"original   {at}")):
                        _write(canvas, text, 0, height + n * _LINE_PX)
                    _write(canvas, f"{title.id}/{dub.language}", max(right, 320), height + 2 * _LINE_PX)
                    clip.frame(canvas, zero + int(line.pts[picture.frame] - line.pts[first]))
                    count += 1
            finally:
                patches.close()
            if count != last - first:
                raise MediaError(f"{film} shows {count} of the {last - first} frames from frame {first} on.")
            for block in _sound(store, dub, step, line, first, last):
                clip.sound(block)
            zero += (line.end_pts if last >= len(line) else int(line.pts[last])) - int(line.pts[first])


def _sound(store: Store, dub: Dub, step: Step, line: Timeline, first: int, last: int) -> Iterator[np.ndarray]:
    """What of a dub's mix is heard under frames [first, last), mono: the track that is listened to."""
    with store.brought(step.sound) as (folder,):
        own = played(folder, DubSound) if dub.dialogue is None and dub.stems is None else {}
    return media.sound_between(store.local(dub.audio), line.time(first), line.time(last), SOUND_HZ, **own)


def _scores(one: ShownStretch) -> str:
    """`LSE-D 6.79, original 6.43, offset +0`, or why there are no numbers."""
    if one.lse_d is None:
        return f"left alone: {one.reason}" if one.status != "dubbed" else "not scored"
    source = "" if one.source_lse_d is None else f", original {one.source_lse_d:.2f}"
    return f"LSE-D {one.lse_d:.2f}{source}, offset {one.lse_offset_frames:+.0f}"


def _write(canvas_HWC: np.ndarray, text: str, x: int, y: int) -> None:
    """A line of text whose top left is (x, y)."""
    place = (x + 6, y + _LINE_PX - 7)
    cv2.putText(canvas_HWC, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (230, 230, 230), 1, cv2.LINE_AA)

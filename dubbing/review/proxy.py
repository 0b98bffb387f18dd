"""What a reviewer plays: one small file per shot and pair of sides, made when first asked for, kept while there is room.

A proxy holds both sides in every picture (`panes`) and in its sound (left: the source's, right: the dub's), so they are in
step whatever a browser does. Its name is made of all it depends on; it appears whole or not at all; the least recently
used go first when the folder is full. One thread makes what is being waited for, another prepares what comes next and
stands still meanwhile. Knows no page.
"""

from __future__ import annotations

import os
import re
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dubbing import media
from dubbing.errors import DubError, InputError, MediaError
from dubbing.review.library import Library, Shown
from dubbing.review.panes import DIFF_GAIN, VERSION, Box, Layout, Painter, laid, layout_of, mouth_path
from dubbing.review.sides import Cover, Patches, covers, main_track, stretch
from dubbing.stages.faces import load_tracks
from dubbing.store import PART, key_of, output_error

__all__ = ["LIMIT_BYTES", "Proxies"]

LIMIT_BYTES = 4 << 30
SOUND_HZ = 48_000
THUMB_PX = 320
_STREAMED_S = 60.0  # a proxy read within this time is not removed
_FORGOTTEN_S = 3.0  # nobody waits for a proxy any more that was not asked for in this time, if another is waited for
_RETRY_S = 30.0  # after which a failed one is tried again when asked for
_PLANS = 64
_NAME = re.compile(r"[0-9a-f]{24}")


@dataclass(frozen=True)
class _Plan:
    """All that is known of a proxy before it is made."""

    name: str
    shown: Shown
    first: int
    last: int
    a: tuple[Cover, ...]
    b: tuple[Cover, ...]
    layout: Layout
    size: tuple[int, int]
    mouths: list[Box] | None
    facts: dict[str, Any]


@dataclass
class _Job:
    """One proxy being made, or that could not be."""

    plan: _Plan
    background: bool
    asked: float = field(default_factory=time.monotonic)
    state: str = "waiting"
    progress: float = 0.0
    error: str | None = None


class _Stopped(Exception):
    """Nobody wants it now."""


class Proxies:
    """The proxies of one library, in one folder. Safe to ask from several threads, and from several processes.

    folder: default OUT/review/proxies; limit_bytes: what all proxies there may take.
    """

    def __init__(self, library: Library, folder: Path | None = None, limit_bytes: int = LIMIT_BYTES) -> None:
        self.library, self.limit_bytes = library, limit_bytes
        self.folder = folder or library.out / "review" / "proxies"
        self._change = threading.Condition()
        self._jobs: dict[str, _Job] = {}
        self._plans: OrderedDict[str, _Plan] = OrderedDict()
        self._threads: list[threading.Thread] = []
        self._drawing = 0
        self._closed = False
        self._clean()

    # -- asking ------------------------------------------------------------------------------

    def ask(self, shown: Shown, a: str = "source", b: str = "current", background: bool = False) -> dict[str, Any]:
        """Where the proxy of a shot stands, and all that a page needs to draw it (see `_facts`); asking has it made.

        a, b: `source`, `current` or a take's id; background: when nothing else is to be done. Never waits for the making.
        Raises InputError where there is no such take.
        """
        try:
            plan = self._plan(shown, a, b)
        except MediaError as e:
            return {"state": "failed", "progress": 0.0, "url": None, "error": str(e)}
        with self._change:
            job = self._jobs.get(plan.name)
            if self._file(plan.name).exists():
                self._touch(plan.name)
                return self._told(plan, "ready", 1.0)
            if self._closed:
                return self._told(plan, "failed", 0.0, "The review is closing.")
            if job is None or (job.state == "failed" and time.monotonic() - job.asked > _RETRY_S):
                job = self._jobs[plan.name] = _Job(plan, background)
                self._work()
            elif not background:
                job.background = False
                if job.state != "failed":
                    job.asked = time.monotonic()
            self._change.notify_all()
            return self._told(plan, "failed" if job.state == "failed" else "making", job.progress, job.error)

    def wait(self, shown: Shown, a: str = "source", b: str = "current") -> dict[str, Any]:
        """As `ask`, once it is ready or has failed."""
        while (said := self.ask(shown, a, b))["state"] == "making":
            with self._change:
                self._change.wait(0.2)
        return said

    def path(self, name: str) -> Path | None:
        """The file of a proxy by the name in its url, with or without .mp4; None for any other name. Keeps it from being
        removed for a minute."""
        plain = name.removesuffix(".mp4")
        if not _NAME.fullmatch(plain) or not self._file(plain).is_file():
            return None
        self._touch(plain)
        return self._file(plain)

    def still(self, shown: Shown, a: str = "source", b: str = "current", frame: int | None = None) -> bytes:
        """One frame of a proxy, whether it is made or not, as a JPEG of the packed picture; frame: of the title, default
        the shot's first. Raises InputError (no such take, frame outside), MediaError."""
        plan = self._plan(shown, a, b)
        at = shown.step.shot.start_frame if frame is None else frame
        if not plan.first <= at < plan.last:
            raise InputError(f"Frame {at} is not in the proxy of {shown.step.shot.id}: {plan.first} to {plan.last - 1}.")
        with self._draws():
            return _jpeg(next(self._pictures(plan, at, at + 1)), 90)

    def thumb(self, shown: Shown) -> bytes:
        """A small JPEG of the middle of a shot as the master would show it, at most THUMB_PX wide. Raises MediaError."""
        shot = shown.step.shot
        at = (shot.start_frame + shot.end_frame) // 2
        over = covers(self.library, shown, "current", at, at + 1)
        name = key_of("thumb", VERSION, shown.step.faces.key, at, [c.take for c in over])[:24]
        file = self.folder / "thumbs" / f"{name}.jpg"
        with suppress(FileNotFoundError):
            return file.read_bytes()
        with self._draws():
            picture = _only(media.read(shown.title.video, shown.line, at, at + 1), shown)
            patches = Patches([Cover(c.folder, at, at + 1, c.take) for c in over])
            whole = laid(picture.bgr(), patches.at(at))
            patches.close()
        aspect = _aspect(shown)
        width = min(THUMB_PX, round(whole.shape[1] * aspect))
        height = max(1, round(width * whole.shape[0] / (whole.shape[1] * aspect)))
        data = _jpeg(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), 85)
        part = file.with_name(f"{PART}{os.getpid()}-{uuid.uuid4().hex}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)
            part.replace(file)
        except OSError:
            part.unlink(missing_ok=True)  # a full disk costs the next reviewer the same work, no more
        return data

    def close(self) -> None:
        """Stop making; what is half-made is removed."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        for thread in self._threads:
            thread.join()

    # -- what a proxy is ---------------------------------------------------------------------

    def _plan(self, shown: Shown, a: str, b: str) -> _Plan:
        first, last = stretch(shown)
        over_a = covers(self.library, shown, a, first, last)
        over_b = over_a if a == b else covers(self.library, shown, b, first, last)
        track = main_track(shown, (a, b))
        sound = _local(self.library, shown.dub.audio).stat()
        name = key_of(
            "proxy", VERSION, shown.step.faces.key, first, last, track,
            [[(c.folder.parent.parent.name, c.folder.name, c.take, c.first, c.last) for c in side] for side in (over_a, over_b)],
            sound.st_size, sound.st_mtime_ns,
        )[:24]  # fmt: skip
        with self._change:
            if name in self._plans:
                self._plans.move_to_end(name)
                return self._plans[name]
        video = media.probe(_local(self.library, shown.title.video)).video
        if video is None:
            raise MediaError(f"{shown.title.video} has no picture.")
        size = media.probe(_local(self.library, shown.title.video)).upright_size
        aspect = 1 / video.sample_aspect if video.rotation_deg in (90, 270) else video.sample_aspect
        tracks = {t.id: t for t in load_tracks(shown.step.faces.folder)} if track else {}
        mouths = mouth_path(tracks[track], first, last, size, shown.line.rate) if track in tracks else None
        layout = layout_of(size, aspect, mouths[0][2:] if mouths else None)
        plan = _Plan(name, shown, first, last, over_a, over_b, layout, size, mouths, {})
        plan.facts.update(_facts(plan))
        with self._change:
            self._plans[name] = plan
            while len(self._plans) > _PLANS:
                self._plans.popitem(last=False)
        return plan

    def _told(self, plan: _Plan, state: str, progress: float, error: str | None = None) -> dict[str, Any]:
        return {"state": state, "progress": round(progress, 3), "url": f"/proxy/{plan.name}.mp4", "error": error, **plan.facts}

    def _pictures(self, plan: _Plan, first: int, last: int, threads: int = 0) -> Iterator[np.ndarray]:
        """Packed pictures of frames [first, last), each good until the next."""
        a = Patches([_within(c, first, last) for c in plan.a])
        b = Patches([_within(c, first, last) for c in plan.b], a)
        painter = Painter(plan.layout, plan.size)
        video = _local(self.library, plan.shown.title.video)
        count = 0
        try:
            for picture in media.read(video, plan.shown.line, first, last, threads=threads):
                mouth = plan.mouths[picture.frame - plan.first] if plan.mouths else None
                yield painter.draw(picture, a.at(picture.frame), b.at(picture.frame), mouth)
                count += 1
        finally:
            a.close()
            b.close()
        if count != last - first:
            raise MediaError(f"{video} holds {count} of the {last - first} frames from frame {first} on; it has changed.")

    def _sound(self, plan: _Plan) -> Iterator[np.ndarray]:
        """(T, 2) blocks: the source's sound, silence where it has none, and the dub's."""
        line = plan.shown.line
        start, end = line.time(plan.first), line.time(plan.last)
        video, audio = (_local(self.library, p) for p in (plan.shown.title.video, plan.shown.dub.audio))
        right = media.sound_between(audio, start, end, SOUND_HZ)
        if media.probe(video).audio:
            return _paired(media.sound_between(video, start, end, SOUND_HZ), right)
        return (np.stack([np.zeros_like(block), block], 1) for block in right)

    # -- making ------------------------------------------------------------------------------

    def _work(self) -> None:
        """Start the threads, once."""
        if not self._threads:
            for background in (False, True):
                thread = threading.Thread(target=self._run, args=(background,), name="proxies", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _run(self, background: bool) -> None:
        while True:
            with self._change:
                while not self._closed and (job := self._next(background)) is None:
                    self._change.wait()
                if self._closed:
                    return
                job.state = "running"
            error = None
            try:
                self._make(job)
                state = "done"
            except _Stopped:
                state = "waiting"
            except DubError as e:
                state, error = "failed", str(e)
            except OSError as e:
                state, error = "failed", str(output_error(self.folder, e))
            except Exception as e:  # a page is told, whatever it was
                state, error = "failed", f"The proxy of {job.plan.shown.step.shot.id} cannot be made: {e!r}."
            with self._change:
                job.state, job.error = state, error
                if state == "waiting":
                    job.background, job.progress = True, 0.0
                elif state == "done":
                    del self._jobs[job.plan.name]
                else:
                    job.asked = time.monotonic()
                self._change.notify_all()

    def _next(self, background: bool) -> _Job | None:
        """What a thread does next: the newest that is waited for; in the background the oldest, when nothing else is."""
        waiting = [j for j in self._jobs.values() if j.state == "waiting" and j.background == background]
        if not waiting or (background and self._busy()):
            return None
        return min(waiting, key=lambda j: j.asked) if background else max(waiting, key=lambda j: j.asked)

    def _busy(self) -> bool:
        """Whether somebody waits for a picture."""
        return self._drawing > 0 or any(not j.background and j.state in ("waiting", "running") for j in self._jobs.values())

    def _pace(self, job: _Job) -> None:
        """Called at every frame: stands still, or raises _Stopped, where something else comes first."""
        with self._change:
            while job.background and self._busy() and not self._closed:
                self._change.wait()
            wanted = any(j is not job and j.state == "waiting" and not j.background for j in self._jobs.values())
            left = not job.background and wanted and time.monotonic() - job.asked > _FORGOTTEN_S
        if self._closed or left:
            raise _Stopped

    @contextmanager
    def _draws(self) -> Iterator[None]:
        """While a picture is drawn for somebody who waits."""
        with self._change:
            self._drawing += 1
        try:
            yield
        finally:
            with self._change:
                self._drawing -= 1
                self._change.notify_all()

    def _make(self, job: _Job) -> None:
        plan, line = job.plan, job.plan.shown.line
        if self._file(plan.name).exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f"{PART}{os.getpid()}-{uuid.uuid4().hex}"
        threads = 1 if job.background else 0
        end_pts = line.end_pts if plan.last == len(line) else int(line.pts[plan.last])
        try:
            with media.PackedWriter(
                part, plan.layout.width, plan.layout.height, pts=line.pts[plan.first : plan.last], end_pts=end_pts,
                time_base=line.time_base, rate=line.rate, sound=self._sound(plan), rate_hz=SOUND_HZ, threads=threads,
            ) as writer:  # fmt: skip
                for n, packed in enumerate(self._pictures(plan, plan.first, plan.last, threads), 1):
                    writer.frame(packed)
                    job.progress = n / (plan.last - plan.first + 1)
                    self._pace(job)
            self._touch(plan.name)
            part.replace(self._file(plan.name))
        finally:
            part.unlink(missing_ok=True)
        self._trim(plan.name)

    # -- the folder --------------------------------------------------------------------------

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.mp4"

    def _touch(self, name: str) -> None:
        """Remember that a proxy is used now, beside it: its own time belongs to the browser's cache."""
        with suppress(OSError):
            (self.folder / f"{name}.used").touch()

    def _trim(self, keep: str) -> None:
        """Remove the least recently used until all fit, but none that is being streamed."""
        known = []
        for file in self.folder.glob("*.mp4"):
            with suppress(FileNotFoundError):
                used = file.with_suffix(".used")
                stamp = (used if used.exists() else file).stat().st_mtime
                known.append((stamp, file.stat().st_size, file))
        total = sum(size for _, size, _ in known)
        for stamp, size, file in sorted(known):
            if total <= self.limit_bytes:
                return
            if file.stem == keep or time.time() - stamp < _STREAMED_S:
                continue
            file.unlink(missing_ok=True)
            file.with_suffix(".used").unlink(missing_ok=True)
            total -= size

    def _clean(self) -> None:
        """Remove what processes left half-made that are no more."""
        for part in [*self.folder.glob(f"{PART}*"), *self.folder.glob(f"thumbs/{PART}*")]:
            pid = part.name.removeprefix(PART).split("-")[0]
            if not (pid.isdigit() and int(pid) != os.getpid() and _alive(int(pid))):
                part.unlink(missing_ok=True)


def _facts(plan: _Plan) -> dict[str, Any]:
    """What a page needs to draw a proxy, ready for JSON.

    layout: width, height, panes {name: [x, y, w, h]}, diff_gain, mouth_scale; first, last: frames of the title; pts_s:
    seconds at which each is shown, from the file's start; duration_s; mouth_boxes: per frame, upright pixels of the
    source, null without a face; size: [w, h] of those; track.
    """
    line = plan.shown.line
    start = float(line.time(plan.first))
    layout = plan.layout
    return {
        "layout": {
            "width": layout.width, "height": layout.height, "panes": {n: list(box) for n, box in layout.panes.items()},
            "diff_gain": DIFF_GAIN, "mouth_scale": layout.mouth_scale,
        },
        "first": plan.first, "last": plan.last,
        "pts_s": [round(float(t) - start, 6) for t in line.times_s(plan.first, plan.last)],
        "duration_s": round(float(line.time(plan.last)) - start, 6),
        "mouth_boxes": [list(b) for b in plan.mouths] if plan.mouths else None,
        "size": list(plan.size),
    }  # fmt: skip


def _within(cover: Cover, first: int, last: int) -> Cover:
    return Cover(cover.folder, max(cover.first, first), min(cover.last, last), cover.take)


def _paired(left: Iterator[np.ndarray], right: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Two sounds of one length as (T, 2) blocks."""
    held = [np.zeros(0, np.float32), np.zeros(0, np.float32)]
    while True:
        for n, blocks in enumerate((left, right)):
            if not len(held[n]):
                held[n] = next(blocks, held[n])
        count = min(len(held[0]), len(held[1]))
        if not count:
            return
        yield np.stack([held[0][:count], held[1][:count]], 1)
        held = [h[count:] for h in held]


def _only(pictures: Iterator[media.Picture], shown: Shown) -> media.Picture:
    picture = next(pictures, None)
    if picture is None:
        raise MediaError(f"{shown.title.video} no longer has the frames of {shown.step.shot.id}.")
    return picture


def _aspect(shown: Shown) -> float:
    """Width over height of one upright pixel as shown."""
    video = media.probe(shown.title.video).video
    if video is None:
        return 1.0
    return float(1 / video.sample_aspect if video.rotation_deg in (90, 270) else video.sample_aspect)


def _local(library: Library, path: Any) -> Path:
    """A file of the manifest on this machine."""
    return Path(library.store.local(path))


def _jpeg(picture_HWC: np.ndarray, quality: int) -> bytes:
    return bytes(cv2.imencode(".jpg", picture_HWC, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

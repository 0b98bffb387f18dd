"""What a reviewer plays: a small file per shot and pair of sides, made when first asked for, kept while there is room.

A proxy holds both sides in every picture (`panes`) and in its sound (left: the source's, right: the dub's), so they are
in step whatever a browser does. One thread makes what is being waited for, another prepares what comes next and stands
still meanwhile. Knows no page.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dubbing import media
from dubbing.errors import DubError, InputError, MediaError
from dubbing.review.kept import Kept
from dubbing.review.library import Library, Shown
from dubbing.review.packing import SOUND_HZ, ProxyPlan, one_frame, sides_of
from dubbing.review.panes import VERSION
from dubbing.review.sides import covers
from dubbing.store import key_of, output_error

__all__ = ["LIMIT_BYTES", "Proxies"]

LIMIT_BYTES = 4 << 30
THUMB_PX = 320
_THUMBS_BYTES = 256 << 20
_FORGOTTEN_S = 3.0  # nobody waits for a proxy any more that was not asked for in this time, if another is waited for
_RETRY_S = 30.0  # after which a failed one is tried again when asked for
_PLANS = 64
_NAME = re.compile(r"[0-9a-f]{24}")


@dataclass
class _ProxyJob:
    """One proxy being made, or that could not be. state: waiting, running or failed; asked: when last, on a clock."""

    plan: ProxyPlan
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
        self.library = library
        self.folder = folder or library.out / "review" / "proxies"
        self._files = Kept(self.folder, ".mp4", limit_bytes)
        self._thumbs = Kept(self.folder / "thumbs", ".jpg", _THUMBS_BYTES)
        self._change = threading.Condition()
        self._jobs: dict[str, _ProxyJob] = {}
        self._plans: OrderedDict[str, ProxyPlan] = OrderedDict()
        self._threads: list[threading.Thread] = []
        self._drawing = 0
        self._closed = False

    # -- asking ------------------------------------------------------------------------------

    def ask(
        self, shown: Shown, a: str = "source", b: str = "current", background: bool = False, face: str | None = None
    ) -> dict[str, Any]:
        """Where the proxy of a shot stands, and all that a page needs to draw it; asking has it made.

        a, b: `source`, `current` or a take's id; background: when nothing else is to be done; face: the track whose
        mouth is looked at, None: of whoever is re-rendered at each frame. state: `ready`, `making`
        or `failed`; progress: 0 to 1; url; error: a sentence; and the facts of `packing.ProxyPlan`, unless the film
        cannot be opened at all. Never waits for the making. Raises InputError where there is no such take or face.
        """
        try:
            plan = self._plan(shown, a, b, face)
        except MediaError as e:
            return {"state": "failed", "progress": 0.0, "url": None, "error": str(e)}
        with self._change:
            if self._files.get(plan.name):
                return self._told(plan, "ready", 1.0)
            if self._closed:
                return self._told(plan, "failed", 0.0, "The review is closing.")
            job = self._jobs.get(plan.name)
            if job is None or (job.state == "failed" and time.monotonic() - job.asked > _RETRY_S):
                job = self._jobs[plan.name] = _ProxyJob(plan, background)
                self._start()
            elif not background and job.state != "failed":
                job.background, job.asked = False, time.monotonic()
            self._change.notify_all()
            return self._told(plan, "failed" if job.state == "failed" else "making", job.progress, job.error)

    def wait(self, shown: Shown, a: str = "source", b: str = "current") -> dict[str, Any]:
        """As `ask`, once it is ready or has failed."""
        while (said := self.ask(shown, a, b))["state"] == "making":
            with self._change:
                self._change.wait(0.2)
        return said

    def path(self, name: str) -> Path | None:
        """The file of a proxy by the name in its url, with or without .mp4; None for any other name. Keeps it from
        being removed for a minute."""
        plain = name.removesuffix(".mp4")
        return self._files.get(plain) if _NAME.fullmatch(plain) else None

    def still(
        self, shown: Shown, a: str = "source", b: str = "current", frame: int | None = None, face: str | None = None
    ) -> bytes:
        """One frame of a proxy, whether it is made or not, as a JPEG of the packed picture; frame: of the title,
        default the shot's first; face: as in `ask`. Raises InputError (no such take or face, frame outside),
        MediaError."""
        plan = self._plan(shown, a, b, face)
        at = shown.step.shot.start_frame if frame is None else frame
        if not plan.sides.first <= at < plan.sides.last:
            raise InputError(
                f"Frame {at} is not in the proxy of {shown.step.shot.id}; it has {plan.sides.first} to "
                f"{plan.sides.last - 1}."
            )
        with self._draws(), closing(plan.pictures(at, at + 1)) as pictures:
            return _jpeg(next(pictures), 90)

    def thumb(self, shown: Shown) -> bytes:
        """A small JPEG of the middle of a shot as the master would show it, at most THUMB_PX wide; kept on disk.

        Raises MediaError.
        """
        at = (shown.step.shot.start_frame + shown.step.shot.end_frame) // 2
        over = covers(self.library, shown, "current", at, at + 1)
        name = key_of("thumb", VERSION, shown.step.faces.key, at, [c.take for c in over])[:24]
        file = self._thumbs.get(name)
        if file is not None:
            with suppress(FileNotFoundError):
                return file.read_bytes()
        with self._draws():
            picture = one_frame(self.library, shown, at)
        high, wide = picture.shape[:2]
        width = max(1, min(THUMB_PX, wide))
        size = (width, max(1, round(width * high / wide)))
        data = _jpeg(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), 85)
        with suppress(OSError), self._thumbs.new(name) as part:  # a full disk costs the next one the same work, no more
            part.write_bytes(data)
        return data

    def close(self) -> None:
        """Stop making; what is half-made is removed."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        for thread in self._threads:
            thread.join()

    def _plan(self, shown: Shown, a: str, b: str, face: str | None) -> ProxyPlan:
        sides = sides_of(self.library, shown, a, b, face)
        with self._change:
            if sides.name in self._plans:
                self._plans.move_to_end(sides.name)
                return self._plans[sides.name]
        plan = ProxyPlan(sides)
        with self._change:
            self._plans[sides.name] = plan
            while len(self._plans) > _PLANS:
                self._plans.popitem(last=False)
        return plan

    def _told(self, plan: ProxyPlan, state: str, progress: float, error: str | None = None) -> dict[str, Any]:
        url = f"/proxy/{plan.name}.mp4"
        return {"state": state, "progress": round(progress, 3), "url": url, "error": error, **plan.facts}

    # -- making ------------------------------------------------------------------------------

    def _start(self) -> None:
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
                assert job is not None
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
                state, error = "failed", f"The proxy of {job.plan.sides.shown.step.shot.id} cannot be made: {e!r}."
            with self._change:
                job.state, job.error = state, error
                if state == "waiting":
                    job.background, job.progress = True, 0.0
                elif state == "done":
                    del self._jobs[job.plan.name]
                else:
                    job.asked = time.monotonic()
                self._change.notify_all()

    def _next(self, background: bool) -> _ProxyJob | None:
        """What a thread does next: the newest that is waited for; in the background the oldest, if nothing else is."""
        waiting = [j for j in self._jobs.values() if j.state == "waiting" and j.background == background]
        if not waiting or (background and self._busy()):
            return None
        return min(waiting, key=lambda j: j.asked) if background else max(waiting, key=lambda j: j.asked)

    def _busy(self) -> bool:
        """Whether somebody waits for a picture."""
        pressing = (j for j in self._jobs.values() if not j.background and j.state in ("waiting", "running"))
        return self._drawing > 0 or any(pressing)

    def _pace(self, job: _ProxyJob) -> None:
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

    def _make(self, job: _ProxyJob) -> None:
        plan, line = job.plan, job.plan.sides.shown.line
        first, last = plan.sides.first, plan.sides.last
        threads = 1 if job.background else 0
        end_pts = line.end_pts if last == len(line) else int(line.pts[last])
        with (
            closing(plan.pictures(first, last, threads)) as pictures,
            self._files.new(plan.name) as part,
            media.PackedWriter(
                part, plan.layout.width, plan.layout.height, pts=line.pts[first:last], end_pts=end_pts,
                time_base=line.time_base, rate=line.rate, sound=plan.sound(), rate_hz=SOUND_HZ, threads=threads,
            ) as writer,
        ):  # fmt: skip
            for n, packed in enumerate(pictures, 1):
                writer.frame(packed)
                job.progress = n / (plan.frames + 1)
                self._pace(job)


def _jpeg(picture_HWC: np.ndarray, quality: int) -> bytes:
    return bytes(cv2.imencode(".jpg", picture_HWC, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])

"""`sadtalker`: Zhang et al., "SadTalker" (2023), with its published weights, in this project's pictures.

A photograph performs as a whole: it speaks, blinks and moves its head from its first frame to its last; where frames
are left alone between, the head is back in the photograph's place. In a film every frame is the picture that is moved:
its own head stays as it is (`pose: source`), and what the sound says of the mouth is laid into the lower face. The
networks hear 25 times a second; at other rates a frame gets what lies between, at its exact time.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dubbing import media, models
from dubbing.errors import ManifestError
from dubbing.generators import Rendered, RenderRequest
from dubbing.generators.sadtalker import weights
from dubbing.generators.sadtalker.head import HeadPlan
from dubbing.generators.sadtalker.settings import SadTalkerSettings
from dubbing.generators.square import Part, only_speech
from dubbing.records import Line
from dubbing.sound import RATE_HZ
from dubbing.store import content_key, key_of

if TYPE_CHECKING:
    from dubbing.generators.sadtalker.look import Looked
    from dubbing.generators.sadtalker.performance import Performance, References
    from dubbing.networks.sadtalker.run import Face, SadTalker, SadTalkerNet

__all__ = ["SadTalkerGenerator"]

_BATCH = 4  # frames held at once
_FILES = {"model", "mapping", "exp_model", "pose_model", "face_model", "mean_face"}
_FILMS = ("reference_pose", "reference_eyes")


class SadTalkerGenerator:
    """See `dubbing.generators.Generator`. The mouth it means to draw is not known beforehand: no wanted opening."""

    name = "sadtalker"
    version = 3
    Settings = SadTalkerSettings
    published = tuple(models.find(name) for name in weights.NAMES)
    wants: frozenset[str] = frozenset()
    profits_from_gpu = True

    def __init__(self, settings: Any, models_folder: str | None = None, *, device: str = "cpu") -> None:
        self.settings: SadTalkerSettings = settings
        self.device = device
        self._weights = weights.chosen(settings, models_folder)
        self._films = {name: _film(name, given) for name in _FILMS if (given := getattr(settings, name))}
        told = settings.model_dump(exclude={*_FILES, *_FILMS})
        films = {name: content_key(path) for name, path in self._films.items()}
        self.hash = key_of(self.version, self._weights.hashes, films, told, settings.side)[:12]

    @property
    def size_bytes(self) -> int:
        """Of all checkpoints together."""
        return self._weights.size_bytes

    def check(self) -> None:
        """Loads the checkpoints where their hashes alone do not say that they fit. Raises ModelError."""
        if self._weights.unknown:
            self.loaded()

    def loaded(self) -> SadTalkerNet:
        """The checkpoints in their networks. Raises ModelError: no checkpoint, or of another architecture."""
        return self._weights.loaded(self.settings.full)

    @cached_property
    def net(self) -> SadTalker:
        """The networks ready to run, loaded when they are first asked for."""
        from dubbing.networks.sadtalker import run

        return run.SadTalker(self.loaded(), self.device)

    @cached_property
    def references(self) -> References:
        """What is followed of other films, looked at when it is first asked for. Raises MediaError."""
        from dubbing.generators.sadtalker import look
        from dubbing.generators.sadtalker.performance import References

        found = {
            name: look.film(self.net, path, self.settings.inner, self.settings.side)
            for name, path in self._films.items()
        }
        return References(found.get("reference_pose"), found.get("reference_eyes"))

    def render(self, work: RenderRequest) -> Iterator[Rendered]:
        """Patches of every frame of `work.spans`. Raises what `media.read` raises; ManifestError: settings that move
        the head of a film."""
        said = ["pose: speech"] if self.settings.pose == "speech" else self.settings.turns
        if said and not work.still:
            raise ManifestError(
                f"generator sadtalker: {said[0]} moves a whole head, and in a film the head's own place is taken: it "
                "is for photographs; leave it out, and the film's heads keep their own motion."
            )
        plan = HeadPlan(work, self.settings.ramp_frames, self.settings.inner, self._moves(work))
        edges = [int(t * RATE_HZ) for t in plan.times]
        track, timeline = work.track, work.timeline
        edges.append(int((timeline.time(track.end_frame) - timeline.time(track.start_frame)) * RATE_HZ))
        wave = only_speech(work.wave, work.speech_N, edges)
        for line, a, b in work.spans:
            yield from self._line(work, plan, wave, line, a, b)

    @property
    def performs(self) -> bool:
        """Whether it moves a photograph's head itself; then all of the photograph's film is one line."""
        return self.settings.pose != "source"

    def _moves(self, work: RenderRequest) -> bool:
        return self.performs and work.still and ("motion" in work.acts or bool(self.settings.turns))

    def _line(
        self, work: RenderRequest, plan: HeadPlan, wave: np.ndarray, line: Line, a: int, b: int
    ) -> Iterator[Rendered]:
        from dubbing.generators.sadtalker.performance import Performance

        first = work.track.start_frame
        at = first if work.still else line.start_frame
        shown = media.read(work.source, work.timeline, at, at + 1, threads=1)
        (still,) = self._looked(plan, [plan.part(picture) for picture in shown])
        span = plan.times[line.start_frame - first], plan.times[line.end_frame - 1 - first]
        whose = work.track.id, line.start_frame
        told = Performance(
            self.net, self.settings, wave, span, still.coefficients, whose, self._moves(work),
            self.performs and "blinks" in work.acts, self.references,
        )  # fmt: skip
        known = self._seen(told, [still])[0] if work.still else None
        parts = (plan.part(picture) for picture in work.pictures(a, b))
        while batch := list(islice(parts, _BATCH)):
            yield from self._batch(plan, told, batch, known)

    def _batch(
        self, plan: HeadPlan, told: Performance, parts: list[Part], known: tuple[Looked, Face, np.ndarray] | None
    ) -> Iterator[Rendered]:
        heads = [known] * len(parts) if known else self._seen(told, self._looked(plan, parts))
        work = []
        for part, (looked, face, old) in zip(parts, heads, strict=True):
            new = told.new(face, plan.times[part.number], looked.coefficients, keep=known is not None)
            work.append((face, old, old + (new - old) * np.float32(plan.ease_N[part.number])))
        for part, (looked, _, _), drawn in zip(parts, heads, self.net.draw(work), strict=True):
            yield plan.laid(part, looked.rgb_HWC[..., ::-1], drawn[..., ::-1])

    def _looked(self, plan: HeadPlan, parts: list[Part]) -> list[Looked]:
        from dubbing.generators.sadtalker.look import look

        heads = [(p.bgr_HWC, p.corner, plan.regions_N4[p.number], plan.mesh_NP2[p.number]) for p in parts]
        return look(self.net, heads, self.settings.side)

    def _seen(self, told: Performance, looked: list[Looked]) -> list[tuple[Looked, Face, np.ndarray]]:
        """Heads, as the renderer has seen them, and their own keypoints."""
        faces = self.net.see([one.rgb_HWC for one in looked])
        return [(one, face, told.old(face, one.coefficients)) for one, face in zip(looked, faces, strict=True)]


def _film(setting: str, given: str) -> Path:
    """A film that a setting names. Raises ManifestError: by a relative path, or not there."""
    path = Path(given).expanduser()
    if not path.is_absolute():
        raise ManifestError(f"generator sadtalker: {setting}: {given!r} is a relative path; give it from / or from ~.")
    if not path.is_file():
        raise ManifestError(f"generator sadtalker: {setting}: there is no film {given!r}.")
    return path

"""`rewrite`: sound to wanted shape, shape to the actor's own frames, frames to patches.

Where nobody was heard to speak (a silent film) the prior alone drives, and lips that part further than any frame
shows have their inside drawn. A photograph is one frame for all (`photograph`). Works on one track at a time, in
stretches of a bounded number of frames, so memory does not grow with the length of a shot, nor with the size of its
picture (`crops`).
Mouths are borrowed from the same stretch of the same shot: same light, same lens, same day; where no frame of it has
such a mouth, from the actor's other shots (`donors`, `lending`). Knows no files but the film, the actor's model and
store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import cv2
import numpy as np
from pydantic import Field

from dubbing import device as devices
from dubbing import generators, media
from dubbing.face import LOWER_FACE, apply_pose, canonical, mouth_measures
from dubbing.generators import Rendered, RenderRequest, grain
from dubbing.generators.rewrite import donors as mouths
from dubbing.generators.rewrite import hearing, shape, voice
from dubbing.generators.rewrite.bounds import Cloud
from dubbing.generators.rewrite.crops import Crops, most_frames
from dubbing.generators.rewrite.geometry import Box, Face, Wanted, crop_boxes, skin_of
from dubbing.generators.rewrite.interior import Inside, Tones, tones
from dubbing.generators.rewrite.lending import VISIBLE, Here, Lent, fitted, lend, misses
from dubbing.generators.rewrite.photograph import speaking
from dubbing.generators.rewrite.render import render
from dubbing.generators.rewrite.steady import carried, settled, steady
from dubbing.generators.rewrite.transitions import own_lips
from dubbing.models import Model
from dubbing.store import key_of

__all__ = ["Apart", "Rewrite", "RewriteSettings", "ShotPlan"]

_WIDER = 0.03  # by how much more a mouth must open than its donor's for its inside to be all drawn


class RewriteSettings(generators.Settings):
    """What a manifest may say under `generator: {name: rewrite, ...}`."""

    stretch_frames: int = Field(
        480,
        ge=60,
        le=2000,
        description="how far a mouth is borrowed, in frames; less where faces are larger than a picture of 1920x1080",
    )
    ramp_frames: int = Field(4, ge=1, le=25, description="frames over which a patch comes and goes at its ends")
    pose_weight: float = Field(0.02, ge=0, description="cost of borrowing from another head turn, per square degree")
    jump_cost: float = Field(0.6, ge=0, description="cost of leaving a run of consecutive source frames")
    opening: float = Field(1.0, ge=0.2, le=2.0, description="how far the mouth opens, times what the voice asks for")
    delay_s: float = Field(
        0.0, ge=-0.2, le=0.2, description="seconds by which the mouth moves later than the voice asks"
    )
    gpu: bool = Field(
        False,
        strict=True,
        description="true: a worker holds a share of a GPU, where there is one, and renders films on it, but no drafts",
    )


@dataclass(frozen=True)
class Apart:
    """How `dub eval` sees what rendering is worth: the face that was there is rendered again.

    gap_s: no mouth is borrowed from frames nearer than this to the one it is lent to; shapes: instead of the sound the
    track's own mouth drives.
    """

    gap_s: float
    shapes: bool = False


class Rewrite:
    """See `dubbing.generators.Generator`. On a GPU, which it is given only where its setting `gpu` asks for one, it
    renders film in batches; drafts and photographs it renders on the processor."""

    name: ClassVar[str] = "rewrite"
    version: ClassVar[int] = 10
    Settings: ClassVar[type[RewriteSettings]] = RewriteSettings
    published: ClassVar[tuple[Model, ...]] = ()
    wants: ClassVar[frozenset[str]] = frozenset({"actors", "donors"})
    profits_from_gpu: ClassVar[bool] = False  # unless `RewriteSettings.gpu` says so: no gain was measured
    gpu_share: ClassVar[float] = 0.125  # of 24 GB: the pictures of a batch, and what the GPU's libraries take

    def __init__(self, settings: RewriteSettings, models_folder: str | None = None, *, device: str = "cpu") -> None:
        self.settings = settings
        self.device = device
        told = self.settings.model_dump(exclude={"gpu"})  # where a take was rendered is no part of its key
        self.hash = key_of(self.version, hearing.prior_hash(), told)[:12]

    @property
    def size_bytes(self) -> int:
        """Of the prior; what it knows of an actor is made for each title."""
        return shape.PRIOR_FILE.stat().st_size

    def check(self) -> None:
        """Reads the prior, which comes with the package. Raises ModelError where it is damaged, and where a GPU that is
        asked for has too little memory free."""
        hearing.Prior.load()
        shape.ShapeSpace.load()
        if self.settings.gpu:
            from dubbing.generators.rewrite.batches import require_memory  # torch is slow to load

            require_memory(devices.default())

    def render(self, work: RenderRequest) -> Iterator[Rendered]:
        """Patches of every frame of `work.spans`. Raises what `media.read` raises."""
        if work.still:
            said = self.settings
            return speaking(work, said.delay_s, said.opening, said.ramp_frames)
        return self._rendered(work, None)

    def render_apart(self, work: RenderRequest, gap_s: float, *, shapes: bool) -> Iterator[Rendered]:
        """The same with mouths from frames `gap_s` away at least, and where `shapes` is said driven by the track's own
        mouth. Raises what `media.read` raises; ValueError where no frame is that far away."""
        return self._rendered(work, Apart(gap_s, shapes))

    def _rendered(self, work: RenderRequest, apart: Apart | None) -> Iterator[Rendered]:
        plan = ShotPlan(work, self.settings, apart)
        start, small = work.track.start_frame, plan.small[0]
        longest = min(self.settings.stretch_frames, most_frames(small.width, small.height))
        for low, high in _stretches(len(plan.lower_NL3), longest):
            here_N = plan.wanted_N[low:high] & [work.wants(start + n) for n in range(low, high)]
            if here_N.any():
                yield from self._stretch(work, plan, low, high, here_N)

    def _stretch(
        self, work: RenderRequest, plan: ShotPlan, low: int, high: int, here_N: np.ndarray
    ) -> Iterator[Rendered]:
        """Patches of the frames [low, high) of the track that are in here_N."""
        start, middle = work.track.start_frame, (high - low) // 2
        lent = self._lent(work, plan, low, high)
        own = lent.own
        lenders_T = [[(int(d), 1.0)] for d in lent.path_T] if work.draft else lent.lenders()
        goals_TP2 = plan.goals(low, high, lenders_T)
        lent_by = {int(n): lenders_T[n] for n in np.flatnonzero(here_N)}
        needed = {*lent_by, *(d for lenders in lent_by.values() for d, _ in lenders if d < own)}
        needed |= {middle} if plan.alone else set()
        plain = not (work.draft or plan.alone or work.overlays)  # else pixels are looked at as BGR
        with Crops(work.scratch) as crops:
            transfer = 0
            pictures = work.pictures(start + low, start + high)
            for n, picture in zip(range(high - low), pictures, strict=True):
                transfer = picture.colour.transfer
                if n in needed:
                    b = plan.boxes[low + n]
                    if plain and picture.planar:
                        crops.keep(n, picture.planes((b.x, b.y, b.width, b.height)))
                        continue
                    crop = picture.kept_bgr((b.x, b.y, b.width, b.height))
                    if work.overlays is not None:  # letters would bend with the skin beneath them
                        crop = work.overlays.cleaned(picture.frame, b.x, b.y, crop)
                    crops.keep(n, _sized(crop, plan.small[low + n]))

            def face(n: int) -> Face:
                return Face(crops[n], plan.small[low + n], plan.mesh_NP2[low + n])

            def lender(d: int, n: int, target: Face) -> Face:
                if d < own:
                    return target if d == n else face(d)
                assert plan.store is not None
                found = fitted(plan.store, int(lent.at[d - own]), target, float(plan.scale_N[low + n]))
                return found if isinstance(target.pixels, np.ndarray) else _as_planes(found, target.pixels)

            colours = plan.colours(face(middle)) if plan.alone else None

            def wanted(n: int) -> Wanted:
                target = face(n)
                parts = [(lender(d, n, target), w) for d, w in lent_by[n]]
                inside = plan.inside(low, n, lent, colours) if colours else None
                return Wanted(target, goals_TP2[n], parts, inside, None if work.draft else start + low + n)

            for n, (pixels, matte) in zip(lent_by, self._drawn(map(wanted, lent_by), work.draft), strict=True):
                box = plan.boxes[low + n]
                if work.draft:
                    own_HWC = crops[n]
                    assert isinstance(pixels, np.ndarray) and isinstance(own_HWC, np.ndarray)  # drafts are BGR
                    pixels, matte = _enlarged(pixels, matte, own_HWC, box)
                matte = cv2.convertScaleAbs(matte, alpha=float(plan.fade_N[low + n]))
                patch = media.patch_of(start + low + n, box.x, box.y, pixels, matte, transfer)
                yield Rendered(patch, float(plan.opening_N[low + n]))

    @property
    def _on_gpu(self) -> bool:
        return self.device.partition(":")[0] != "cpu"

    def _drawn(self, frames: Iterable[Wanted], draft: bool) -> Iterator[tuple[np.ndarray | media.Planes, np.ndarray]]:
        """`render` of every frame, in order: on a GPU many at once, but for drafts."""
        if draft or not self._on_gpu:
            yield from (render(one, 16 if draft else 48) for one in frames)
            return
        from dubbing.generators.rewrite.batches import in_batches  # torch is slow to load

        yield from in_batches(frames, self.device)

    def _lent(self, work: RenderRequest, plan: ShotPlan, low: int, high: int) -> Lent:
        """Who lends to the frames [low, high) of the track; the actor's other shots too where the own frames miss."""
        if plan.store is None or not plan.lacks(low, high):
            return plan.lent(low, high)
        n = (low + high) // 2
        seen = np.flatnonzero(plan.usable_N[low:high])
        n = low + int(seen[np.argmin(np.abs(seen - (n - low)))]) if len(seen) else n
        frame = work.track.start_frame + n
        for picture in media.read(work.source, work.timeline, frame, frame + 1, threads=1):
            b = plan.boxes[n]
            crop = media.fractions(picture.kept_bgr((b.x, b.y, b.width, b.height)))
            mesh = plan.mesh_NP2[n] - (b.x, b.y)
            eye = float(np.linalg.norm(mesh[33] - mesh[263]))
            skin = skin_of(mesh, eye, (b.width, b.height))
            here = Here(
                work.track.id, work.track.start_frame + low, plan.scale_N[low:high], mouths.light_of(crop, mesh),
                grain.levels(crop, skin),
            )  # fmt: skip
            return plan.lent(low, high, here)
        return plan.lent(low, high)


class ShotPlan:
    """Everything about a track that needs no pixels: where the mouth is, and where it should be."""

    def __init__(self, work: RenderRequest, settings: RewriteSettings, apart: Apart | None = None) -> None:
        track = work.track
        self.settings = settings
        full, pose = canonical(track.mesh_NP3)
        rate = float(work.timeline.rate)
        full, pose = steady(full, pose)
        self.mesh_NP2 = apply_pose(full, *pose)[..., :2]
        self.boxes: list[Box] = crop_boxes(self.mesh_NP2, work.picture_wh)
        self.small = self.boxes  # and `mesh_NP2`, `goal_NP2`, `seam_NP2`: in pixels of a picture of half the size
        if work.draft:
            self.small = [Box(b.x // 2, b.y // 2, b.width // 2, b.height // 2) for b in self.boxes]
            pose = (pose[0] / 2, pose[1], pose[2] / 2)
            self.mesh_NP2 = apply_pose(full, *pose)[..., :2]
        actor = voice.load(work.actor) if work.actor else voice.default_actor(full)
        first, last = track.start_frame, track.end_frame
        times_s = work.timeline.times_s(first, last, centre=True)
        times_s = times_s - float(work.timeline.time(first))
        space = actor.space
        have_NK = space.encode(full, actor.rest)
        self.alone = work.actor is None and apart is None
        self.near_s = apart.gap_s if apart else None
        self.times_s = times_s
        self.usable_N = track.seen_N.copy()
        if not self.usable_N.any():
            self.usable_N[:] = True
        if apart is None or not apart.shapes:
            want_NK = voice.predict(actor, work.wave, times_s - settings.delay_s, work.speech_N, phones=work.phones)
            want_NK[:, 0] *= settings.opening
            if work.actor:
                fit = actor.fit
                cloud = Cloud.of(have_NK, self.usable_N, fit.mean_K, fit.std_K, float(fit.opening_Q[-1]))
                want_NK = cloud.within(want_NK + carried(have_NK, rate))
        else:
            want_NK = have_NK
        self.fade_N = work.fade(settings.ramp_frames)
        self.wanted_N = self.fade_N > 0
        want_NK = have_NK + (want_NK - have_NK) * self.fade_N[:, None]
        lower = list(LOWER_FACE)
        left_NL3 = full[:, lower] - space.decode(have_NK, actor.rest)
        if not (apart and apart.shapes):
            left_NL3 += (settled(left_NL3, rate) - left_NL3) * self.fade_N[:, None, None]
        self.lower_NL3 = space.decode(want_NK, actor.rest) + left_NL3
        self._full_NP3, self._pose, self._want_N = full, pose, want_NK[:, 0]
        self._spread_PL = shape.spread(full.mean(0))
        goal = self._face(slice(None), self.lower_NL3)
        # what faces show beside opening and width
        basis = space.synthesis_KD[:2]
        size = (len(full), len(lower), 3)
        self._left_have_NL3 = full[:, lower] - (have_NK[:, :2] @ basis).reshape(size)
        self._left_want_NL3 = self.lower_NL3 - (want_NK[:, :2] @ basis).reshape(size)
        measures, wanted = mouth_measures(full), mouth_measures(goal)
        self.opening_N = wanted["opening"]
        names = ("opening", "width", "protrusion")
        self.have_N3 = np.stack([measures[n] for n in names], 1)
        self.want_N3 = np.stack([wanted[n] for n in names], 1)
        self.turn_N3 = mouths.angles(pose[1])
        self.scale_N = pose[0]
        lends = work.donors is not None and apart is None and not work.draft
        self.store = mouths.load(work.donors) if lends and work.donors is not None else None
        closed = full.copy()
        closed[:, lower] = actor.rest
        self.seam_NP2 = apply_pose(closed, *pose)[..., :2]

    def lacks(self, low: int, high: int) -> bool:
        """Whether a mouth of the stretch is further from all of its own frames than the eye forgives."""
        part = slice(low, high)
        miss = misses(
            self.want_N3[part], self.have_N3[part], self.turn_N3[part], self.turn_N3[part], self._usable(part),
            self.settings.pose_weight,
        )  # fmt: skip
        return bool((miss[self.wanted_N[part]] > VISIBLE).any())

    def lent(self, low: int, high: int, here: Here | None = None) -> Lent:
        """Who lends a mouth to every frame of the stretch. here: what the store's mouths must fit, None for none."""
        part = slice(low, high)
        return lend(
            self.want_N3[part], self.have_N3[part], self.turn_N3[part], self.turn_N3[part], self._usable(part),
            pose_weight=self.settings.pose_weight, jump=self.settings.jump_cost,
            forbidden_TS=self._forbidden(part),
            changed_T=self.wanted_N[part], store=self.store if here else None, here=here,
        )  # fmt: skip

    def goals(self, low: int, high: int, lent: list[list[tuple[int, float]]]) -> np.ndarray:
        """Where the mesh should be in every frame of the stretch, with lips like the lent ones, (T, 478, 2)."""
        part = slice(low, high)
        lower = self.lower_NL3[part]
        added = own_lips(self._left_have_NL3[part], self._left_want_NL3[part], lent)
        lower = shape.parted(lower + added * self.fade_N[part, None, None], self._want_N[part])
        return apply_pose(self._face(part, lower), *(v[part] for v in self._pose))[..., :2]

    def _face(self, part: slice, lower_TL3: np.ndarray) -> np.ndarray:
        """Canonical meshes with these lower faces."""
        full, lower = self._full_NP3[part], list(LOWER_FACE)
        goal = full + self._spread_PL @ (lower_TL3 - full[:, lower])
        goal[:, lower] = lower_TL3
        return goal

    def _forbidden(self, part: slice) -> np.ndarray | None:
        """Which frames of a stretch must not lend to which, bool (T, T); None where all may."""
        if self.near_s is None:
            return None
        return np.abs(self.times_s[part, None] - self.times_s[None, part]) < self.near_s

    def _usable(self, part: slice) -> np.ndarray:
        usable = self.usable_N[part]
        return usable if usable.any() else np.ones(len(usable), bool)

    def colours(self, middle: Face) -> Tones:
        """Of what is drawn between the lips in one stretch, by the face in its middle."""
        return tones(middle.bgr_HWC, middle.local_P2)

    def inside(self, low: int, n: int, lent: Lent, colours: Tones) -> Inside | None:
        """What to draw between the lips of a frame of the stretch; None where its donor is open far enough."""
        want, have = self.want_N3[low + n, 0], lent.have_SK[lent.path_T[n], 0]
        share = float(np.clip((want - 1.15 * have) / _WIDER, 0, 1))
        return Inside(colours, self.seam_NP2[low + n], False, share) if share > 0 else None


def _as_planes(face: Face, like: media.Planes) -> Face:
    """A face that is lent as BGR, float32, in samples like those of the target; its sides are made even."""
    height, width = face.bgr_HWC.shape[:2]
    even = cv2.copyMakeBorder(face.bgr_HWC, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return replace(face, pixels=media.Planes.of_bgr(even, like.colour))


def _sized(bgr_HWC: np.ndarray, box: Box) -> np.ndarray:
    """A crop in the size of its box, which is its own, or half of that in a draft."""
    size = (box.width, box.height)
    return bgr_HWC if bgr_HWC.shape[1::-1] == size else cv2.resize(bgr_HWC, size, interpolation=cv2.INTER_AREA)


def _enlarged(
    bgr_HWC: np.ndarray, matte_HW: np.ndarray, target_HWC: np.ndarray, box: Box
) -> tuple[np.ndarray, np.ndarray]:
    """What was rendered at half the size, in the size of the picture; where the matte is zero, the picture's own."""
    there = matte_HW > 0
    bgr_HWC[~there] = target_HWC[~there]  # instead of black, which would bleed into the edge
    size = (box.width, box.height)
    matte = cv2.resize(matte_HW, size) * cv2.resize(there.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return cv2.resize(bgr_HWC, size), matte


def _stretches(count: int, most: int) -> list[tuple[int, int]]:
    """Cut [0, count) into equal parts of at most `most`."""
    parts = max(1, -(-count // most))
    edges = np.linspace(0, count, parts + 1).round().astype(int)
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))

"""The expression of an actor of a film, on top of the mouth that speaks: frame by frame over the tracked mesh.

Each frame of the face that is in sight, in the part that is asked for, is bent whole: first the rendered mouth is
laid into it, where there is one, then brows, lids, cheeks and the corners of the mouth go where the emotion wants them.
No unit parts or presses the lips, which belong to what is said, so closures stay closed. What is taken away to
neutralise is the median of the shot, so that the performance stays alive; all of it comes and goes over some frames at
the edges of the part, and of what hides the face. A window of the shot changes nothing. Knows no generator.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from dubbing import media
from dubbing.clock import mask_of, runs
from dubbing.expression import FilmLook
from dubbing.expression.bend import bend, boxes
from dubbing.expression.by_mesh import taken
from dubbing.expression.units import Reading, Units, of_emotion
from dubbing.face import apply_pose, canonical
from dubbing.generators import Rendered, RenderRequest
from dubbing.generators.rewrite.steady import steady
from dubbing.records import Patch
from dubbing.smoothstep import smoothstep

__all__ = ["Expressed"]

_RAMP_S = 0.32  # over which an expression comes and goes within a shot
_SPOKEN = (16, 18, 20, 23, 26)  # units that speech moves, which are not taken away
_GRID = 16  # nodes of the map between the eyes' outer corners
_LEAST = 0.02  # of an expression; less is none


@dataclass(frozen=True, eq=False)
class _Plan:
    weight_N: np.ndarray
    moved_P3: np.ndarray
    amount: dict[int, float]


class Expressed:
    """The expressions of one face in one shot. looks: what is asked for, the first that names a frame holds; here_N:
    frames of the track in which the face may be changed, bool (N,)."""

    def __init__(self, looks: Sequence[FilmLook], work: RenderRequest, here_N: np.ndarray) -> None:
        track, rate = work.track, float(work.timeline.rate)
        units = Units.load()
        full, pose = steady(*canonical(track.mesh_NP3))
        mesh_NP3 = apply_pose(full, *pose)
        self._mesh_NP2 = mesh_NP3[..., :2]
        self._boxes = boxes(self._mesh_NP2, work.picture_wh)
        self._first = track.start_frame
        spoken = [(x.start_frame, x.end_frame) for x in work.lines]
        self._says_N = mask_of(spoken, track.start_frame, track.end_frame)
        self._plans: list[_Plan] = []
        self._turned = [units.pose(mesh)[1] for mesh in mesh_NP3]
        free_N = here_N.copy()
        for one in looks:
            mine_N = free_N.copy()
            if one.frames is not None:
                mine_N &= mask_of(one.frames, track.start_frame, track.end_frame)
            if not mine_N.any():
                continue
            free_N &= ~mine_N
            added = of_emotion(one.look.emotion or "neutral", one.look.strength)
            if one.look.neutralise:
                seen_N = mine_N & track.seen_N
                usual = np.median(full[seen_N if seen_N.any() else mine_N], axis=0)
                shown = {unit: much for unit, much in units.read(usual).amount.items() if unit not in _SPOKEN}
                for unit, much in taken(Reading(shown)).items():
                    added[unit] = added.get(unit, 0.0) + much
            weight_N = _ramped(mine_N, max(1, round(_RAMP_S * rate)))
            self._plans.append(_Plan(weight_N, units.moved(added, speaking=True), added))
        self.frames_N = np.zeros(len(mesh_NP3), bool)
        for plan in self._plans:
            self.frames_N |= plan.weight_N > _LEAST

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Frames [start, end) of the title in which the mouth is rendered or the expression is changed."""
        return tuple(runs(self.frames_N | self._says_N, self._first))

    def over(self, work: RenderRequest, rendered: Iterator[Rendered]) -> Iterator[Rendered]:
        """Patches of the whole face, of every frame that is rendered or has an expression, in order, all of one size.
        rendered: what a generator makes of `work`. Raises what `media.read` raises."""
        speaks_N = mask_of([(a, b) for _, a, b in work.spans], self._first, self._first + len(self.frames_N))
        wanted_N = self.frames_N & np.array([work.wants(self._first + n) for n in range(len(self.frames_N))])
        for start, end in runs(wanted_N | speaks_N, self._first):
            for picture in work.pictures(start, end):
                n = picture.frame - self._first
                one = next(rendered) if speaks_N[n] else None
                yield self._frame(work, picture, n, one)

    def _frame(self, work: RenderRequest, picture: media.Picture, n: int, one: Rendered | None) -> Rendered:
        x, y, width, height = self._boxes[n]
        kept = picture.kept_bgr((x, y, width, height))
        if work.overlays is not None and self.frames_N[n]:
            kept = work.overlays.cleaned(picture.frame, x, y, kept)
        crop = media.fractions(kept)
        matte = np.zeros((height, width), np.float32)
        if one is not None:
            crop = _laid(crop, matte, one.patch, x, y)
        for plan in self._plans:
            weight = float(plan.weight_N[n])
            if weight <= _LEAST:
                continue
            here = self._mesh_NP2[n] - (x, y)
            scale, turn, _ = self._turned[n]
            goal = here + weight * scale * (plan.moved_P3 @ turn.T)[:, :2]
            amount = {unit: weight * much for unit, much in plan.amount.items()}
            bent = bend(crop, here, goal, amount, grid=_GRID, speaking=True)
            crop = bent.bgr_HWC
            matte[bent.touched_HW] = 1
        patch = media.patch_of(
            picture.frame, x, y, crop, np.rint(matte * 255).astype(np.uint8), picture.colour.transfer
        )
        if one is None:
            return Rendered(patch, float("nan"), mouth=False)
        return Rendered(patch, one.wanted_opening, mouth=one.mouth)


def _laid(crop_HWC: np.ndarray, matte_HW: np.ndarray, patch: Patch, x: int, y: int) -> np.ndarray:
    """A part of a frame with a patch pasted into it; where the patch counts is marked in the matte, in place."""
    height, width = patch.matte_HW.shape
    low = np.maximum((0, 0), (y - patch.y, x - patch.x))
    high = np.minimum((height, width), (y + crop_HWC.shape[0] - patch.y, x + crop_HWC.shape[1] - patch.x))
    inner = (slice(low[0], high[0]), slice(low[1], high[1]))
    there = (slice(patch.y + low[0] - y, patch.y + high[0] - y), slice(patch.x + low[1] - x, patch.x + high[1] - x))
    new = patch.bgr_HWC if patch.deep_HWC is None else media.fractions(patch.deep_HWC)
    weight = (patch.matte_HW[inner] / np.float32(255))[..., None]
    out = crop_HWC.astype(np.float32)
    out[there] += (new[inner] - out[there]) * weight
    matte_HW[there] = np.maximum(matte_HW[there], weight[..., 0] > 0)
    return out if crop_HWC.dtype == np.float32 else np.rint(out).astype(crop_HWC.dtype)


def _ramped(mine_N: np.ndarray, ramp: int) -> np.ndarray:
    """How much of an expression each frame has, float64 (N,), 0..1: it rises from the frames that have none, and not
    from the ends of the track."""
    if mine_N.all():
        return np.ones(len(mine_N))
    return smoothstep(distance_transform_edt(mine_N) / (ramp + 1))

"""The mouth of a photograph: bent and drawn in its own place, which is the same in every frame.

What is static (the mesh, the lent mouth, its colours) is worked out once. The head that moves around it is another
room's subject (`dubbing.performance`). Knows no files but the film, which shows the photograph, and the actor's model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from dubbing import media
from dubbing.face import LOWER_FACE, apply_pose, canonical, mouth_measures, still_mesh
from dubbing.generators import Rendered, RenderRequest
from dubbing.generators.rewrite import voice
from dubbing.generators.rewrite.geometry import Face, Wanted, crop_boxes
from dubbing.generators.rewrite.interior import SHOWN, Inside, shut, tones
from dubbing.generators.rewrite.render import render
from dubbing.generators.rewrite.shape import PARTED, parted, spread

__all__ = ["WantedMouth", "speaking"]


def speaking(work: RenderRequest, delay_s: float, opening: float, ramp_frames: int) -> Iterator[Rendered]:
    """Patches of every frame of `work.spans`, all of one size. delay_s, opening, ramp_frames: see `RewriteSettings`.

    Raises what `media.read` raises.
    """
    first = work.track.start_frame
    wanted = WantedMouth(work, delay_s, opening, ramp_frames)
    frames = [n - first for _, a, b in work.spans for n in range(a, b) if wanted.fade_N[n - first] > 0]
    if not frames:
        return
    (picture,) = media.read(work.source, work.timeline, first, first + 1, threads=1)
    (box,) = crop_boxes(wanted.mesh_P3[None, :, :2], work.picture_wh)
    crop = picture.kept_bgr((box.x, box.y, box.width, box.height))
    if work.overlays is not None:  # letters would bend with the skin beneath them
        crop = work.overlays.cleaned(first, box.x, box.y, crop)
    target = Face(np.ascontiguousarray(crop), box, wanted.mesh_P3[:, :2])
    lent = target
    if wanted.own > PARTED:
        lent = replace(lent, pixels=shut(lent.bgr_HWC, lent.local_P2))
    inside = Inside(tones(target.bgr_HWC, target.local_P2), wanted.seam_P2, wanted.own >= SHOWN, 1.0)
    transfer = picture.colour.transfer
    for n in frames:
        goal_P2, meant = wanted.shape(n)
        bgr, matte = render(Wanted(target, goal_P2, [(lent, 1.0)], inside), 16 if work.draft else 48)
        matte = np.rint(matte * wanted.fade_N[n]).astype(np.uint8)
        yield Rendered(media.patch_of(first + n, box.x, box.y, bgr, matte, transfer), meant)


class WantedMouth:
    """The mouth that a photographed face should have in every frame, without a picture of it.

    delay_s, opening, ramp_frames: see `RewriteSettings`. fade_N: how much of each frame's mouth is new; mesh_P3:
    (478, 3) pixels of the photograph; own: how far its own mouth stands open, inter-ocular distances; seam_P2:
    (478, 2), its mesh with closed lips.
    """

    def __init__(self, work: RenderRequest, delay_s: float, opening: float, ramp_frames: int) -> None:
        self.fade_N = work.fade(ramp_frames)
        self.mesh_P3 = still_mesh(work.track.mesh_NP3)
        full_NP3, self._pose = canonical(self.mesh_P3[None])
        self._full_P3 = full_NP3[0]
        self._actor = voice.load(work.actor) if work.actor else voice.default_actor(full_NP3)
        space, rest, lower = self._actor.space, self._actor.rest, list(LOWER_FACE)
        have_K = space.encode(full_NP3, rest)[0]
        self._left_L3 = self._full_P3[lower] - space.decode(have_K[None], rest)[0]
        want_NK = voice.predict(self._actor, work.wave, work.times_s - delay_s, work.speech_N, phones=work.phones)
        want_NK[:, 0] *= opening
        self._want_NK = have_K + (want_NK - have_K) * self.fade_N[:, None]
        self._spread_PL = spread(self._full_P3)
        closed = full_NP3.copy()
        closed[:, lower] = rest
        self.seam_P2 = apply_pose(closed, *self._pose)[0, :, :2]
        self.own = float(mouth_measures(full_NP3)["opening"][0])

    def shape(self, n: int) -> tuple[np.ndarray, float]:
        """Where the mesh should be in the n-th frame, (478, 2) pixels, and how far the mouth stands open then."""
        want_1K = self._want_NK[n : n + 1]
        lower = self._actor.space.decode(want_1K, self._actor.rest) + self._left_L3
        lower = parted(lower, want_1K[:, 0])[0]  # lips that are apart in the photograph close all the same
        goal = self._full_P3 + np.einsum("pl,lc->pc", self._spread_PL, lower - self._full_P3[list(LOWER_FACE)])
        goal[list(LOWER_FACE)] = lower
        return apply_pose(goal[None], *self._pose)[0, :, :2], float(mouth_measures(goal[None])["opening"][0])

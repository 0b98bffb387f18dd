"""`rewrite`: sound to wanted shape, shape to the actor's own frames, frames to patches.

Works on one track at a time, in stretches of a bounded number of frames, so memory does not grow
with the length of a shot. Mouths are borrowed from the same stretch of the same shot only: same
light, same lens, same day. Knows no files but the film and the actor's model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.signal import savgol_filter

from dubbing import media
from dubbing.errors import ManifestError
from dubbing.face import LOWER_FACE, apply_pose, canonical, mouth_measures
from dubbing.generators import Rendered, Work
from dubbing.generators.rewrite import hearing, shape, voice
from dubbing.generators.rewrite.render import Box, Face, crop_boxes, render
from dubbing.generators.rewrite.select import choose
from dubbing.records import Patch
from dubbing.store import key_of

__all__ = ["Rewrite", "Settings"]

VERSION = 2


class Settings(BaseModel):
    """What a manifest may say under `generator: {name: rewrite, ...}`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stretch_frames: int = Field(
        480, ge=60, le=2000, description="frames held at once; also how far a mouth is borrowed"
    )
    ramp_frames: int = Field(4, ge=1, le=25, description="frames over which a patch comes and goes at its ends")
    pose_weight: float = Field(0.02, ge=0, description="cost of borrowing from another head turn, per square degree")
    jump_cost: float = Field(0.6, ge=0, description="cost of leaving a run of consecutive source frames")
    opening: float = Field(1.0, ge=0.2, le=2.0, description="how far the mouth opens, times what the voice asks for")
    delay_s: float = Field(
        0.0, ge=-0.2, le=0.2, description="seconds by which the mouth moves later than the voice asks"
    )


class Rewrite:
    """See `dubbing.generators.Generator`."""

    name = "rewrite"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        try:
            self.settings = Settings(**settings)
        except ValidationError as e:
            first = e.errors()[0]
            raise ManifestError(
                f"generator rewrite: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}; "
                f"it knows {', '.join(Settings.model_fields)}."
            ) from e
        self.hash = key_of(VERSION, hearing.prior_hash(), self.settings.model_dump())[:12]

    def check(self) -> None:
        """Its weights come with the package and were read with its hash."""

    def render(self, work: Work) -> Iterator[Rendered]:
        """Patches of every frame of `work.lines`. Raises what `media.read` raises."""
        plan = _Plan(work, self.settings)
        start = work.track.start_frame
        for low, high in _stretches(len(plan.lower_NL3), self.settings.stretch_frames):
            here_N = plan.wanted_N[low:high] & [work.wants(start + n) for n in range(low, high)]
            if not here_N.any():
                continue
            faces = [
                Face(picture.bgr(box=(b.x, b.y, b.width, b.height)), b, mesh)
                for picture, b, mesh in zip(
                    media.read(work.source, work.timeline, start + low, start + high, threads=1),
                    plan.boxes[low:high],
                    plan.mesh_NP2[low:high],
                    strict=True,
                )
            ]
            donors = plan.donors(low, high)
            for n in np.flatnonzero(here_N):
                target = faces[n]
                parts = [(faces[d], w) for d, w in _blend(donors, int(n), len(faces))]
                bgr, matte = render(target, plan.goal_NP2[low + n], parts)
                matte = np.rint(matte * plan.fade_N[low + n]).astype(np.uint8)
                patch = Patch(start + low + int(n), target.box.x, target.box.y, bgr, matte)
                yield Rendered(patch, float(plan.opening_N[low + n]))


class _Plan:
    """Everything about a track that needs no pixels: where the mouth is, and where it should be."""

    def __init__(self, work: Work, settings: Settings) -> None:
        track = work.track
        self.settings = settings
        full, pose = canonical(track.mesh_NP3)
        full, pose = _steady(full, pose)
        self.mesh_NP2 = apply_pose(full, *pose)[..., :2]
        self.boxes: list[Box] = crop_boxes(self.mesh_NP2, work.picture_wh)
        actor = voice.load(work.actor) if work.actor else voice.default_actor(full)
        first, last = track.start_frame, track.end_frame
        times_s = work.timeline.times_s(first, last, centre=True)
        times_s = times_s - float(work.timeline.time(first))
        space = shape.ShapeSpace.load()
        have_NK = space.encode(full, actor.rest)
        self.near_s = work.apart_s
        self.times_s = times_s
        if self.near_s is None:
            want_NK = voice.predict(actor, work.wave, times_s - settings.delay_s, work.speech_N)
            want_NK[:, 0] *= settings.opening
        else:
            want_NK = have_NK
        self.fade_N = work.fade(settings.ramp_frames)
        self.wanted_N = self.fade_N > 0
        want_NK = have_NK + (want_NK - have_NK) * self.fade_N[:, None]
        lower = list(LOWER_FACE)
        move_NL3 = space.decode(want_NK, actor.rest) - space.decode(have_NK, actor.rest)
        self.lower_NL3 = full[:, lower] + move_NL3
        goal = full + np.einsum("pl,nlc->npc", _spread(full.mean(0)), move_NL3)
        goal[:, lower] = self.lower_NL3
        self.goal_NP2 = apply_pose(goal, *pose)[..., :2]
        measures, wanted = mouth_measures(full), mouth_measures(goal)
        self.opening_N = wanted["opening"]
        names = ("opening", "width", "protrusion")
        self.have_N3 = np.stack([measures[n] for n in names], 1)
        self.want_N3 = np.stack([wanted[n] for n in names], 1)
        self.turn_N3 = _angles(pose[1])
        self.usable_N = track.seen_N.copy()
        if not self.usable_N.any():
            self.usable_N[:] = True

    def donors(self, low: int, high: int) -> np.ndarray:
        """For every frame of the stretch, the frame of the stretch that lends its mouth."""
        part = slice(low, high)
        # lengths in inter-ocular distances; one unit of cost is about a visible difference
        weights = np.array([1 / 0.03, 1 / 0.05, 1 / 0.05])
        usable = self.usable_N[part] if self.usable_N[part].any() else np.ones(high - low, bool)
        apart = np.abs(self.times_s[part, None] - self.times_s[None, part])
        return choose(
            self.want_N3[part], self.have_N3[part], self.turn_N3[part], self.turn_N3[part], usable, weights,
            pose_weight=self.settings.pose_weight, jump=self.settings.jump_cost,
            forbidden_TS=None if self.near_s is None else apart < self.near_s,
        )  # fmt: skip


def _stretches(count: int, most: int) -> list[tuple[int, int]]:
    """Cut [0, count) into equal parts of at most `most`."""
    parts = max(1, -(-count // most))
    edges = np.linspace(0, count, parts + 1).round().astype(int)
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def _blend(donors: np.ndarray, n: int, count: int) -> Sequence[tuple[int, float]]:
    """The donors of one frame with their weights: two where one run gives way to the next."""
    here = int(donors[n])
    parts = [(here, 1.0)]
    if n > 0 and donors[n] - donors[n - 1] not in (0, 1) and donors[n - 1] + 1 < count:
        parts = [(here, 2 / 3), (int(donors[n - 1]) + 1, 1 / 3)]
    elif n + 1 < len(donors) and donors[n + 1] - donors[n] not in (0, 1) and donors[n + 1] >= 1:
        parts = [(here, 2 / 3), (int(donors[n + 1]) - 1, 1 / 3)]
    return parts


def _steady(
    full_NP3: np.ndarray, pose: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Take the mesh's frame-to-frame noise out of shape and pose, each on its own (Savitzky-Golay, 5 frames)."""
    if len(full_NP3) < 7:
        return full_NP3, pose
    scale, rotation, shift = (savgol_filter(v, 5, 2, axis=0) for v in pose)
    u, _, vt = np.linalg.svd(rotation)
    return savgol_filter(full_NP3, 5, 2, axis=0), (scale, u @ vt, shift)


def _angles(rotation_N33: np.ndarray) -> np.ndarray:
    """Yaw, pitch, roll in degrees, (N, 3)."""
    r = rotation_N33
    yaw = np.arctan2(r[:, 0, 2], r[:, 2, 2])
    pitch = np.arcsin(np.clip(-r[:, 1, 2], -1, 1))
    roll = np.arctan2(r[:, 1, 0], r[:, 1, 1])
    return np.degrees(np.stack([yaw, pitch, roll], 1))


def _spread(mean_P3: np.ndarray, reach: float = 0.12) -> np.ndarray:
    """Weights (478, L) that carry the lower face's moves to the points around it, fading over `reach`."""
    lower = mean_P3[list(LOWER_FACE)]
    near = np.exp(-0.5 * (np.linalg.norm(mean_P3[:, None] - lower[None], axis=-1) / reach) ** 2)
    return near / (near.sum(1, keepdims=True) + 0.5)

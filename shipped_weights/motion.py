"""Train the motion prior that ships with the package: from speech to the pose of a head that says it.

    python -m shipped_weights.motion --media DIR [--data DIR] [--meshes DIR] [--out FILE]

--media and --data hold the clips of `shipped_weights.clips`; --meshes keeps what was found in them. One core: a few
seconds beside finding the meshes. Prints how much of the motion sound explains, speakers held out, and how smooth
the prior's motion is beside that of the clips' own heads: the same numbers of both. Knows nothing of the pipeline.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from dubbing.face import canonical
from dubbing.performance.motion import KNOT_HZ, POSE, PRIOR_FILE, Prior, drive, poses
from dubbing.performance.speech import Heard, hear
from shipped_weights import clips

__all__ = ["Moving", "learn", "main", "moving", "roughness"]

NOISE_S = 0.08  # of the mesh; standard deviation of what smooths a pose
RIDGE = 3.0
LATE_S = {"address_09": 0.24, "presenter_1080x1920": 0.07}  # of the sound, as the clips are listed
USUAL_LATE_S = 0.08
STABLE = 0.985  # the largest eigenvalue of a step


@dataclass(frozen=True, eq=False)
class Moving:
    """A clip's head. pose_T6: as POSE, about its mean; times_s (T,): of each at KNOT_HZ, of its sound; weight: 0..1,
    how much of it is motion and not the mesh's own noise; still: of the same clip, its pose at every frame."""

    name: str
    speaker: str
    heard: Heard
    times_s: np.ndarray
    pose_T6: np.ndarray
    weight: float


def moving(clip: clips.Clip, late_s: float = 0.0) -> Moving:
    """The head of a clip, without the mesh's noise."""
    _, (scale, rotation, shift) = canonical(clip.mesh_NP3)
    turns = Rotation.from_matrix(rotation)
    angles = np.degrees((turns * turns.mean().inv()).as_rotvec())
    eye = float(np.median(scale))
    raw = np.column_stack([angles, shift[:, :2] / eye, np.log(scale / eye)])
    raw -= raw.mean(0)
    frame_s = float(np.median(np.diff(clip.times_s)))
    smooth = gaussian_filter1d(raw, NOISE_S / frame_s, axis=0)
    middles = clip.times_s + 0.5 * frame_s
    knots = np.arange(middles[0], middles[-1], 1 / KNOT_HZ)
    pose = np.stack([np.interp(knots, middles, column) for column in smooth.T], 1)
    noise = ((raw - smooth)[:, :3] ** 2).sum() / max((raw[:, :3] ** 2).sum(), 1e-9)
    return Moving(clip.name, clip.speaker, hear(clip.wave), knots + late_s, pose, float(np.clip(1 - 6 * noise, 0, 1)))


def learn(heads: Sequence[Moving]) -> tuple[Prior, float]:
    """The prior, and how much of a step's noise sound explains (R squared)."""
    usual = np.sqrt(sum(h.weight * (h.pose_T6**2).sum(0) for h in heads)
                    / sum(h.weight * len(h.pose_T6) for h in heads))  # fmt: skip
    rows, goals, weights, spoken = [], [], [], []
    for head in heads:
        size = np.sqrt(((head.pose_T6 / usual) ** 2).mean())
        pose = head.pose_T6 / (usual * size)
        features, speaks = drive(head.heard, head.times_s)
        rows.append(np.hstack([pose[1:-1], pose[:-2], features[2:]]))
        goals.append(pose[2:])
        weights.append(np.full(len(pose) - 2, head.weight))
        spoken.append(speaks[2:])
    x, y, w = np.concatenate(rows), np.concatenate(goals), np.concatenate(weights)[:, None]
    speaks_T = np.concatenate(spoken)
    own = _ridge(x[:, :12], y, w)
    sound = _ridge(x, y, w)
    left = y - x @ sound
    explained = 1 - float((w * left**2).sum() / (w * (y - x[:, :12] @ own) ** 2).sum())
    quiet, loud = (left[where] for where in (speaks_T < 0.3, speaks_T > 0.7))
    pause = float(np.sqrt((quiet**2).mean() / (loud**2).mean())) if len(quiet) > 60 else 0.5
    pause = float(np.clip(pause, 0.25, 1))
    covariance = (w * left).T @ left / w.sum()
    steps = np.stack([sound[:6].T, sound[6:12].T])
    steps = _stable(steps)
    prior = Prior(steps, sound[12:].T, np.linalg.cholesky(covariance + 1e-9 * np.eye(6)), pause)
    return _to_unit(prior, heads), explained


def _ridge(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    return np.linalg.solve(x.T @ (w * x) + RIDGE * np.eye(x.shape[1]), x.T @ (w * y))


def _stable(steps_K66: np.ndarray) -> np.ndarray:
    """The same steps, shrunk until a push dies away."""
    while True:
        whole = np.block([[steps_K66[0], steps_K66[1]], [np.eye(6), np.zeros((6, 6))]])
        if np.abs(np.linalg.eigvals(whole)).max() <= STABLE:
            return steps_K66
        steps_K66 = steps_K66 * np.array([0.995, 0.99])[:, None, None]


def _to_unit(prior: Prior, heads: Sequence[Moving]) -> Prior:
    """The same prior in units in which each part of its pose has a spread of 1 in the clips' own speech."""
    spreads = []
    for n, head in enumerate(heads):
        if head.heard.lasts_s > 8:
            features, speaks = drive(head.heard, np.arange(int(head.heard.lasts_s * KNOT_HZ)) / KNOT_HZ)
            spreads += [prior.wander(features, speaks, np.random.default_rng(97 * n + k)).std(0) for k in range(8)]
    unit = np.mean(spreads, 0)
    return Prior(
        prior.next_K66 / unit[:, None] * unit[None, :], prior.drive_6F / unit[:, None], prior.noise_66 / unit[:, None],
        prior.pause,
    )  # fmt: skip


def roughness(pose_N6: np.ndarray, rate: float) -> dict[str, float]:
    """How a head moves: root mean squares of the speed of its turns (degrees a second), of the jerk of its turns
    (degrees a second cubed) and of its place (eye distances a second cubed), and the jerk over the speed (1 / second
    squared): the last does not depend on how far it moves."""
    each = [np.diff(pose_N6, n, axis=0) * rate**n for n in (1, 3)]
    speed, jerk = (float(np.sqrt((d[:, :3] ** 2).sum(1).mean())) for d in each)
    place = float(np.sqrt((each[1][:, 3:5] ** 2).sum(1).mean()))
    return {"speed": speed, "jerk": jerk, "place jerk": place, "jerk over speed": jerk / max(speed, 1e-9)}


def _report(heads: Sequence[Moving], prior: Prior) -> None:
    """The clips' heads and the prior's on the same sounds, both read at 25 Hz through a spline at KNOT_HZ."""
    print(f"{'clip':24s} {'speed':>13s} {'jerk':>15s} {'place jerk':>13s} {'jerk/speed':>13s}   (clip, prior)")
    sums = []
    for n, head in enumerate(heads):
        at = np.arange(head.times_s[0], head.times_s[-1], 0.04)
        own = roughness(CubicSpline(head.times_s, head.pose_T6)(at), 25)
        mine = roughness(poses(head.heard, np.maximum(at, 0), 7 + n, prior)[25:], 25)
        print(f"{head.name:24s}", *(f"{own[k]:7.1f} {mine[k]:7.1f}" for k in own))
        sums.append(([own[k] for k in own], [mine[k] for k in own]))
    print(f"{'median':24s}", *(f"{a:7.1f} {b:7.1f}" for a, b in np.median(np.array(sums), 0).T))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--meshes", type=Path)
    parser.add_argument("--out", type=Path, default=PRIOR_FILE)
    args = parser.parse_args()
    heads = [moving(clips.load(s, args.meshes, args.media)) for s in clips.TRAIN]
    if args.data or args.meshes:
        heads += [moving(clips.load(s, args.meshes, args.data), LATE_S.get(s.name, USUAL_LATE_S)) for s in clips.DATA]
    prior, explained = learn(heads)
    np.savez_compressed(
        args.out, next=prior.next_K66.astype(np.float32), drive=prior.drive_6F.astype(np.float32),
        noise=prior.noise_66.astype(np.float32), pause=np.float32(prior.pause),
    )  # fmt: skip
    seconds = sum(len(h.pose_T6) for h in heads) / KNOT_HZ
    print(f"{args.out}: {args.out.stat().st_size} bytes, {len(heads)} clips, {seconds:.0f} s")
    print(f"pauses move {prior.pause:.2f} of speech; of a step's noise, sound explains {explained:.3f}")
    for speaker in sorted({h.speaker for h in heads if h.heard.lasts_s > 8}):
        apart, _ = learn([h for h in heads if h.speaker != speaker])
        print(
            f"held out: {speaker}:",
            *(f"{n} {v:.2f}" for n, v in zip(POSE, _unseen(apart, heads, speaker), strict=True)),
        )
    _report([h for h in heads if len(h.pose_T6) > 40], prior)


def _unseen(prior: Prior, heads: Sequence[Moving], speaker: str) -> np.ndarray:
    """Of one speaker's steps, how much smaller the prior's errors are than those of a pose that stays as it is (1 less
    the ratio of their squares), (6,)."""
    wrong, stays = np.zeros(6), np.zeros(6)
    for head in (h for h in heads if h.speaker == speaker):
        pose = head.pose_T6 / np.maximum(head.pose_T6.std(0), 1e-9)
        features, _ = drive(head.heard, head.times_s)
        said = pose[1:-1] @ prior.next_K66[0].T + pose[:-2] @ prior.next_K66[1].T + features[2:] @ prior.drive_6F.T
        wrong += ((pose[2:] - said) ** 2).sum(0)
        stays += ((pose[2:] - pose[1:-1]) ** 2).sum(0)
    return 1 - wrong / stays


if __name__ == "__main__":
    main()

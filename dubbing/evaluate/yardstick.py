"""What a predicted mouth is held against, on arrays: blocks, floors, shut lips, lag, silence, and how sure a median is.

    blocks(...)              parts of a performance, each held out in turn, with a guard on both sides
    by_lot(...)              a floor: the mouth of another frame of the same face
    closures(...)            lips that shut between open frames: how many are met, how many are made up
    met_by_chance(...)       how many a prediction meets that knows nothing of when
    best_lag(...)            the shift at which two curves agree best
    quiet(...), leak(...)    where a sound is silent, and how much a mouth moves there
    confidence(...)          an interval for a median over speakers, by bootstrap

It knows no generator, no clip and no table. Lengths are in inter-ocular distances, times in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.interpolate import CubicSpline

from dubbing.sound import RATE_HZ

__all__ = ["BLOCKS", "GUARD_S", "LAGS_S", "Block", "Closures", "Lips", "best_lag", "blocks", "by_lot", "closures",
           "confidence", "correlation", "leak", "median", "met_by_chance", "quiet"]  # fmt: skip

BLOCKS = 4  # with the guards, a fit learns from about 70 % of a clip
BLOCK_LEAST_S = 1.0  # of speech; a shorter performance is cut into fewer blocks, two at the least
GUARD_S = 0.5  # on either side of a block nothing is learnt
LEAST_FRAMES = 6  # fewer say nothing
LAGS_S = np.round(np.arange(-0.2, 0.201, 0.02), 2)
SHUT, OPEN = 0.1, 0.4  # of the way from a face's own shut mouth to its wide one: under it shut, over it clearly open
SPREAD = (5, 95)  # percentiles of the true opening: the shut mouth, and the wide one
LEAST_SPREAD = 0.01  # a mouth that opens less shows no closure
CLOSED_S = (0.06, 0.34)  # how long lips are shut in speech: 2 to 8 frames at 25 a second
FLANK_S = 0.2  # on either side of a closure the mouth stands clearly open within this
QUIET_DB = 25.0  # a sound is silent where it lies so far under its loud parts
LOUD = 95  # percentile of the levels that counts as loud
QUIET_EDGE_S = 0.12  # so much of a silence at each end still belongs to the speech beside it
LEAST_PAIRS = 5
SAMPLES, INTERVAL = 2000, (2.5, 97.5)

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Block:
    """One part that is held out. begin, end: its frames [begin, end); held_N: bool, those judged; apart_N: bool, those
    outside, at least GUARD_S away; learnt_N: bool, those of them that a fit may learn from."""

    begin: int
    end: int
    held_N: np.ndarray
    apart_N: np.ndarray
    learnt_N: np.ndarray


@dataclass(frozen=True)
class Closures:
    """Counts. true: closures of the true lips; met: those in which the predicted lips shut too, within a frame; made:
    closures predicted; false: those of them under which the true lips stand clearly open."""

    true: int
    met: int
    made: int
    false: int


@dataclass(frozen=True)
class Lips:
    """How far this face's own lips stand apart when it speaks: shut under `shut`, clearly open over `open`."""

    shut: float
    open: float

    @classmethod
    def of(cls, opening_N: np.ndarray) -> Lips | None:
        """From true openings in speech; None where the mouth hardly moves."""
        if len(opening_N) < LEAST_FRAMES:
            return None
        low, high = np.percentile(opening_N, SPREAD)
        spread = float(high - low)
        return cls(float(low) + SHUT * spread, float(low) + OPEN * spread) if spread >= LEAST_SPREAD else None


def blocks(times_s: np.ndarray, speaks_N: np.ndarray, judged_N: np.ndarray, seen_N: np.ndarray) -> list[Block]:
    """Up to BLOCKS parts with equally much speech, together the whole, each with what may be learnt beside it.

    times_s: (N,) middles of the frames; speaks_N: where this face speaks; judged_N: where it may be judged (speech and
    its pauses); seen_N: where its mesh was measured; all bool (N,). A part with too little in it, or beside it, is left
    out; none where the whole is too short.
    """
    said = np.cumsum(speaks_N)
    if len(times_s) < 2 * LEAST_FRAMES or not said[-1]:
        return []
    frame_s = float(np.median(np.diff(times_s)))
    count = int(np.clip(said[-1] * frame_s / BLOCK_LEAST_S, 2, BLOCKS))
    inner = np.searchsorted(said, said[-1] * np.arange(1, count) / count, side="right")
    edges = [0, *inner.tolist(), len(times_s)]
    found = []
    for begin, end in zip(edges, edges[1:], strict=False):
        if begin >= end:
            continue
        inside = np.zeros(len(times_s), bool)
        inside[begin:end] = True
        apart = (times_s <= times_s[begin] - GUARD_S) | (times_s >= times_s[end - 1] + GUARD_S)
        block = Block(begin, end, inside & judged_N & seen_N, apart, apart & speaks_N & seen_N)
        if min(block.held_N.sum(), block.learnt_N.sum(), speaks_N[begin:end].sum()) >= LEAST_FRAMES:
            found.append(block)
    return found


def by_lot(curve_N: np.ndarray, times_s: np.ndarray, judged_N: np.ndarray) -> np.ndarray:
    """The floor that costs nothing: for every frame the value of a frame by lot among `judged_N`, at least GUARD_S
    away (where there is none, any of them), (N,); the same lot each time."""
    among = np.flatnonzero(judged_N)
    rng = np.random.default_rng(0)
    out = np.empty(len(curve_N))
    for n in range(len(out)):
        far = among[np.abs(times_s[among] - times_s[n]) >= GUARD_S]
        out[n] = curve_N[rng.choice(far if len(far) else among)]
    return out


def correlation(a_N: np.ndarray, b_N: np.ndarray) -> float:
    """Pearson's; 0 where either does not move."""
    return float(np.corrcoef(a_N, b_N)[0, 1]) if a_N.std() > 1e-9 and b_N.std() > 1e-9 else 0.0


def closures(
    true_N: np.ndarray, said_N: np.ndarray, times_s: np.ndarray, judged_N: np.ndarray, lips: Lips,
    at_N: np.ndarray | None = None,
) -> Closures:  # fmt: skip
    """Shut lips in the midst of speech, true and predicted.

    true_N, said_N: openings; judged_N: bool, the frames that count; at_N: bool, where a p, b or m is said, if that is
    known: then only true closures that touch it count.

    A true closure: lips shut for CLOSED_S between frames at most FLANK_S away in which they are clearly open. It is met
    where the predicted opening is under the same threshold in it or in the frame before or after. A predicted closure
    is a run of predicted openings under the threshold, of any length; false where the true lips are clearly open in all
    of it and in the frame before and after.
    """
    frame_s = float(np.median(np.diff(times_s)))
    flank = max(1, round(FLANK_S / frame_s))
    wide = judged_N & (true_N > lips.open)
    shut_said = judged_N & (said_N < lips.shut)
    true = met = made = false = 0
    for a, b in _runs(judged_N & (true_N < lips.shut)):
        if not CLOSED_S[0] <= (b - a) * frame_s <= CLOSED_S[1]:
            continue
        if not wide[max(0, a - flank) : a].any() or not wide[b : b + flank].any():
            continue
        if at_N is not None and not at_N[a:b].any():
            continue
        true += 1
        met += bool(shut_said[max(0, a - 1) : b + 1].any())
    for a, b in _runs(shut_said):
        made += 1
        false += bool((true_N[max(0, a - 1) : b + 1] > lips.open).all())
    return Closures(true, met, made, false)


def met_by_chance(
    true_N: np.ndarray, said_N: np.ndarray, times_s: np.ndarray, judged_N: np.ndarray, lips: Lips,
    at_N: np.ndarray | None = None,
) -> float:  # fmt: skip
    """How many true closures the same prediction meets when it is moved in time, round the judged frames: the mean over
    moves of a second and more."""
    frames = np.flatnonzero(judged_N)
    step = max(1, round(1 / float(np.median(np.diff(times_s)))))
    met = []
    for move in range(step, len(frames) - step + 1, max(1, step // 2)):
        moved_N = said_N.copy()
        moved_N[frames] = np.roll(said_N[frames], move)
        met.append(closures(true_N, moved_N, times_s, judged_N, lips, at_N).met)
    return float(np.mean(met)) if met else 0.0


def best_lag(said_N: np.ndarray, true_N: np.ndarray, times_s: np.ndarray, judged_N: np.ndarray) -> tuple[float, float]:
    """(lag, correlation) at which a prediction, read that much later, agrees best with the true curve: how much later
    the sound is than the lips. The smaller of two that agree equally well."""
    curve = CubicSpline(times_s, said_N)
    inside = (times_s[0], times_s[-1])
    found = {
        float(lag): correlation(curve(np.clip(times_s[judged_N] + lag, *inside)), true_N[judged_N]) for lag in LAGS_S
    }
    best = max(found, key=lambda lag: (round(found[lag], 9), -abs(lag)))
    return best, found[best]


def quiet(wave: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """Frames in which a sound is silent, by its level alone, and has been and will be for QUIET_EDGE_S, bool (N,).

    wave: float32 mono 16 kHz, sample 0 at time 0; times_s: (N,) middles of the frames.
    """
    hop = RATE_HZ // 100
    count = len(wave) // hop
    if count < 2 or not len(times_s):
        return np.zeros(len(times_s), bool)
    level = 10 * np.log10(np.mean(np.square(wave[: count * hop].reshape(count, hop), dtype=np.float64), 1) + 1e-10)
    sounds = level > np.percentile(level, LOUD) - QUIET_DB
    edge = round(QUIET_EDGE_S * 100)
    near = np.convolve(sounds, np.ones(2 * edge + 1), "same") > 0.5
    at = np.clip((np.asarray(times_s) * 100).astype(int), 0, count - 1)
    return np.asarray(~near[at])


def leak(said_N: np.ndarray, true_N: np.ndarray, quiet_N: np.ndarray, speaks_N: np.ndarray) -> float | None:
    """LipLeak: mean motion of predicted openings from frame to frame where the driving sound is silent, over that of
    the true ones where the face speaks. 0: rests; 1: moves as in speech. None of fewer than LEAST_PAIRS of either."""
    still, moving = quiet_N[1:] & quiet_N[:-1], speaks_N[1:] & speaks_N[:-1]
    if min(still.sum(), moving.sum()) < LEAST_PAIRS:
        return None
    spoken = float(np.abs(np.diff(true_N))[moving].mean())
    return float(np.abs(np.diff(said_N))[still].mean()) / spoken if spoken > 1e-9 else None


def median(values: Sequence[float]) -> float:
    """The median as a float."""
    return float(np.median(values))


def confidence(speakers: Sequence[T], statistic: Callable[[Sequence[T]], float | None]) -> tuple[float, float] | None:
    """The 95 % interval of a statistic over speakers: of SAMPLES draws of as many speakers with replacement (the
    percentile bootstrap, Efron 1979); the same each time. None of fewer than two speakers."""
    if len(speakers) < 2:
        return None
    rng = np.random.default_rng(0)
    drawn = (statistic([speakers[i] for i in rng.integers(0, len(speakers), len(speakers))]) for _ in range(SAMPLES))
    values = [v for v in drawn if v is not None]
    if not values:
        return None
    low, high = np.percentile(values, INTERVAL)
    return float(low), float(high)


def _runs(flags_N: np.ndarray) -> list[tuple[int, int]]:
    """Stretches [a, b) in which a flag is up."""
    steps = np.flatnonzero(np.diff(np.concatenate([[0], flags_N.astype(np.int8), [0]])))
    return list(zip(steps[::2].tolist(), steps[1::2].tolist(), strict=True))

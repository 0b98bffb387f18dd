"""What a pass over a film and its master has seen: sums over pairs of pictures, and which frames are not as they should
be. It looks at nothing itself (`likeness`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dubbing.clock import Timeline
from dubbing.media.gap import decibels

__all__ = ["InPictures", "Likeness", "Sums"]


@dataclass(frozen=True)
class InPictures:
    """What lies in single pictures of a film beside their samples. source, master: in how many of each; first: the
    source's first frame whose own is not the master's, None where all are."""

    source: int = 0
    master: int = 0
    first: int | None = None


@dataclass(frozen=True)
class Sums:
    """What pairs of pictures come to. error: sum of squared differences, in steps of 8 bits; samples: how many were
    compared; pairs, masked, same, within: as of `Likeness`; other: the first frame without a patch whose packet is
    another, where packets are compared; worst: PSNR and number of the worst frame; best: the greatest PSNR."""

    error: float = 0.0
    samples: int = 0
    pairs: int = 0
    masked: int = 0
    same: int = 0
    other: int | None = None
    worst: tuple[float, int] | None = None
    best: float | None = None
    within: Mapping[str, InPictures] = field(default_factory=dict)

    def __add__(self, other: Sums) -> Sums:
        """Those of two stretches, the other one after this one."""
        worst = [w for w in (self.worst, other.worst) if w is not None]
        best = [b for b in (self.best, other.best) if b is not None]
        within = dict(self.within)
        for name, one in other.within.items():
            was = within.get(name, InPictures())
            first = one.first if was.first is None else was.first
            within[name] = InPictures(was.source + one.source, was.master + one.master, first)
        return Sums(
            self.error + other.error, self.samples + other.samples, self.pairs + other.pairs,
            self.masked + other.masked, self.same + other.same, other.other if self.other is None else self.other,
            min(worst, default=None), max(best, default=None),
            within,
        )  # fmt: skip


@dataclass(frozen=True)
class Likeness:
    """What a pass over both found. PSNR is in dB, of 8-bit samples of Y, U and V together; 99 where all are equal.

    source, master: times of all frames (the master's None where it is damaged); sums: of all pairs; differing: frames
    of the source [first, last] that differ, with the least PSNR of each stretch, over the frame and in a block;
    missing: frames of the source [first, last] that the master has not; extra: frames of the master that the source has
    not; damage: the sentence that says where the master is damaged, None where it is whole.
    """

    source: Timeline
    master: Timeline | None
    sums: Sums
    differing: tuple[tuple[int, int, float, float], ...] = ()
    missing: tuple[tuple[int, int], ...] = ()
    extra: tuple[tuple[int, int], ...] = ()
    damage: str | None = None

    @property
    def pairs(self) -> int:
        """Frames that were compared."""
        return self.sums.pairs

    @property
    def psnr_db(self) -> float:
        """Over all of them."""
        return decibels(self.sums.error / self.sums.samples if self.sums.samples else 0.0)

    @property
    def worst_frame(self) -> int | None:
        """The source's frame of the least PSNR; None without a pair."""
        return self.sums.worst[1] if self.sums.worst else None

    @property
    def worst_db(self) -> float | None:
        """Its PSNR."""
        return self.sums.worst[0] if self.sums.worst else None

    @property
    def best_db(self) -> float | None:
        """The greatest PSNR of a frame."""
        return self.sums.best

    @property
    def masked(self) -> int:
        """Pairs of which a matte was left out."""
        return self.sums.masked

    @property
    def same(self) -> int:
        """Pairs whose packets are the same bytes."""
        return self.sums.same

    @property
    def within(self) -> Mapping[str, InPictures]:
        """By name, what lies in single pictures (`captions`, `HDR10+`, ...), where there is any."""
        return self.sums.within

    @property
    def fits(self) -> bool:
        """Whether every picture is there, and none differs."""
        return not (self.differing or self.missing or self.extra or self.damage)

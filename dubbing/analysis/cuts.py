"""Where the cuts of a film are, from small pictures given one after another.

PySceneDetect's detectors are fed frame by frame: an adaptive content detector and a threshold detector for fades
through black. What the first finds counts where one of two stricter ones finds it in the pictures around it (a strong
change that stands out a little, or a weak one that stands out much, as between two people before the same wall).

A finder may begin in the middle of a film. What it remembers are the last dozen pictures that it looked at, and which
of the pictures that repeat others it passed over; `CutFinder.state` tells when it remembers what one does that has seen
the film from its first frame, and from there on it finds the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import partial
from hashlib import blake2b

import numpy as np

__all__ = ["SCAN_WIDTH_PX", "CutFinder", "FoundCut", "kept_cuts"]

FoundCut = tuple[int, int, bool]
"""What a finder found: the frame at which it did, the first frame of the shot, and whether black ends there."""

SCAN_WIDTH_PX = 256
_WINDOW_FRAMES = 2  # frames on each side that a change is compared with
_STRONG = 20.0  # mean change of hue, saturation and value, 0..255: 34 at the reel's weakest cut
_WEAK, _WEAK_RATIO = 12.0, 5.0
_BLACK = 4  # mean of B, G, R below which a picture is black
_STILL = 0.25  # mean change below which a frame repeats the one before
_FLASH = 0.5  # a change that is undone to less than this part of itself is a flash
_SOON = 4  # frames after a flash in which its end is no cut


class CutFinder:
    """Finds cuts in pictures given one after another; memory does not grow with their number.

    threshold: how many times the change around it a cut must be; min_frames: no shot that it finds
    is shorter (a cut nearer to the one before, or to the end, is left out); first: number of the first frame given.
    """

    def __init__(self, threshold: float = 3.0, min_frames: int = 6, first: int = 0) -> None:
        from scenedetect import FrameTimecode
        from scenedetect.detectors import AdaptiveDetector, ThresholdDetector

        self._timecode = lambda frame: FrameTimecode(frame, fps=25.0)  # counts frames; no time is read from it
        self._min_frames = min_frames

        def detector(ratio: float, least: float) -> AdaptiveDetector:
            return AdaptiveDetector(
                adaptive_threshold=ratio, min_content_val=least, min_scene_len=1, window_width=_WINDOW_FRAMES
            )

        self._changes = detector(threshold, _WEAK)
        self._stricter = [
            partial(detector, threshold, _STRONG), partial(detector, max(_WEAK_RATIO, threshold), _WEAK)
        ]  # fmt: skip
        self._pictures: deque[tuple[int, np.ndarray]] = deque(maxlen=2 * _WINDOW_FRAMES + 2)
        self._fades = ThresholdDetector(threshold=_BLACK, min_scene_len=1, fade_bias=1.0)
        self.found: list[FoundCut] = []
        """All that was found so far, whatever the lengths of shots."""
        self._recent: deque[tuple[int, np.ndarray]] = deque(maxlen=4 * _WINDOW_FRAMES + 4)
        self._last: np.ndarray | None = None
        self._flash: tuple[int, np.ndarray] | None = None  # where the last one was, and the picture before it
        self._repeats = 0
        self._frames = first
        self._faded = False
        self._marks: dict[tuple[int, bool], bytes] = {}  # of pictures, whole and thumbs, that `state` was asked for

    def feed(self, bgr_HWC: np.ndarray) -> None:
        """The next frame, uint8 BGR, all of one size."""
        frame = self._frames
        self._frames += 1
        fades = self._fades.process_frame(self._timecode(frame), bgr_HWC)
        self.found += [(frame, cut.frame_num, True) for cut in fades]
        self._faded = self._fades.last_fade["type"] == "out"
        thumb = bgr_HWC[::4, ::4].astype(np.float32)
        still = self._last is not None and _apart(thumb, self._last) < _STILL
        self._repeats = self._repeats + 1 if still else 0
        # Film at 24 in a stream at 60, or drawn on twos, repeats pictures; between repeats every
        # ordinary movement stands out. At most two in a row are passed over: a still stays a still.
        if self._repeats in (1, 2):
            return
        self._look(frame, bgr_HWC, thumb)

    def _look(self, frame: int, bgr_HWC: np.ndarray, thumb: np.ndarray) -> None:
        self._last = thumb
        self._picture = bgr_HWC
        self._recent.append((frame, thumb))
        self._pictures.append((frame, bgr_HWC))
        for cut in self._changes.process_frame(self._timecode(frame), bgr_HWC):
            if self._is_clear(cut.frame_num) and not self._is_flash(cut.frame_num):
                self.found.append((frame, cut.frame_num, False))

    def _is_clear(self, cut: int) -> bool:
        """Whether a stricter detector, which sees the pictures that the change is compared with, finds the cut too."""
        for make in self._stricter:
            detector = make()
            found = [c for f, bgr_HWC in self._pictures for c in detector.process_frame(self._timecode(f), bgr_HWC)]
            if any(c.frame_num == cut for c in found):
                return True
        return False

    def _is_flash(self, cut: int) -> bool:
        """Whether the picture before `cut` comes back within the next frames seen, or just has come back."""
        before = [t for f, t in self._recent if f < cut]
        after = [t for f, t in self._recent if f >= cut]
        if not before or not after:
            return False
        change = _FLASH * _apart(after[0], before[-1])
        if any(_apart(t, before[-1]) < change for t in after[1:]):
            self._flash = (cut, before[-1])
            return True
        return self._flash is not None and cut - self._flash[0] <= _SOON and _apart(after[0], self._flash[1]) < change

    def state(self) -> int:
        """A checksum, 63 bits, of all that finding depends on from here on: where it is the same for two finders after
        the same frame, they find the same in what follows. What they found before does not count."""
        told = blake2b(digest_size=8)
        now = (self._frames, min(self._repeats, 3), self._faded)  # a third repeat is looked at as any further one is
        told.update(repr(now).encode())
        held = [(frame, True, bgr_HWC) for frame, bgr_HWC in self._pictures]
        held += [(frame, False, thumb) for frame, thumb in self._recent]
        self._marks = {
            (frame, whole): self._marks.get((frame, whole)) or blake2b(np.ascontiguousarray(picture).data).digest()
            for frame, whole, picture in held
        }
        for (frame, whole), mark in self._marks.items():
            told.update(b"%d %d " % (frame, whole) + mark)
        seen = [frame for frame, _ in self._recent]
        next_cut = seen[-_WINDOW_FRAMES] if len(seen) >= _WINDOW_FRAMES else self._frames
        if self._flash is not None and next_cut - self._flash[0] <= _SOON:
            told.update(b"%d" % self._flash[0] + blake2b(np.ascontiguousarray(self._flash[1]).data).digest())
        return int.from_bytes(told.digest(), "big") >> 1

    def end(self) -> None:
        """Look at what the last frames leave open, once all of the film were fed."""
        if self._last is not None:
            for n in range(_WINDOW_FRAMES):  # the detectors look that far ahead
                self._look(self._frames + n, self._picture, self._last)

    def finish(self) -> list[int]:
        """The cuts, once all frames were fed: increasing, each the first frame of a shot, 0 left out."""
        self.end()
        return kept_cuts(self.found, self._frames, self._min_frames)


def kept_cuts(found: Iterable[FoundCut], frames: int, min_frames: int) -> list[int]:
    """The cuts of a film of so many frames: of all that was found in it those that leave no shot shorter than
    `min_frames`, the first of two that are too near each other, and one that is sure before a fade."""
    cuts: list[tuple[int, bool]] = [(cut, fade) for _, cut, fade in found]
    sure = {cut for cut, fade in cuts if not fade and cut < frames}
    kept: list[int] = []
    for cut in sorted(sure | {cut for cut, fade in cuts if fade}):
        near = cut not in sure and any(abs(cut - c) < min_frames for c in sure)
        first = kept[-1] if kept else 0
        if not near and cut - first >= min_frames and frames - cut >= min_frames:
            kept.append(cut)
    return kept


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).mean())

"""The contact sheet of a take: source above result, and the mouth enlarged. A picture for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from dubbing.clock import Timeline
from dubbing.face import LIPS

__all__ = ["Sheet"]

_CELL = 240  # px, each picture of the sheet
_HEAD = 26


class Sheet:
    """Collects stills and writes them: columns are moments; rows are source, result, and both mouths."""

    def __init__(self, name: str, line: Timeline, frames: Sequence[int]) -> None:
        self._name, self._line, self._frames = name, line, set(frames)
        self.columns: dict[str, np.ndarray] = {}
        """Pictures of the moments, uint8 (H, W, 3), by `frame_<number>`."""

    def add(self, frame: int, before_HWC: np.ndarray, after_HWC: np.ndarray, mesh_P2: np.ndarray) -> None:
        """One moment, if it is one of the sheet's. mesh_P2: (478, 2) pixels of these crops."""
        if frame not in self._frames:
            return
        head = np.full((_HEAD, _CELL, 3), 32, np.uint8)
        cv2.putText(head, f"{self._line.timecode(frame)}  #{frame}", (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45,
                    (230, 230, 230), 1, cv2.LINE_AA)  # fmt: skip
        cells = [_fit(before_HWC, None), _fit(after_HWC, None), _fit(before_HWC, mesh_P2), _fit(after_HWC, mesh_P2)]
        self.columns[f"frame_{frame:08d}"] = np.concatenate([head, *cells])

    def write(self, path: Path) -> None:
        """As JPEG; nothing where no moment was added."""
        if not self.columns:
            return
        body = np.concatenate([self.columns[k] for k in sorted(self.columns)], 1)
        title = np.full((_HEAD, body.shape[1], 3), 32, np.uint8)
        text = f"{self._name}: rows are source, result, source mouth, result mouth"
        cv2.putText(title, text, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
        done, data = cv2.imencode(".jpg", np.concatenate([title, body]), [cv2.IMWRITE_JPEG_QUALITY, 92])
        if not done:
            raise OSError(f"{path.name} could not be encoded as JPEG")
        path.write_bytes(data.tobytes())


def _fit(crop_HWC: np.ndarray, mesh_P2: np.ndarray | None) -> np.ndarray:
    """A square cell of the whole crop, or of the mouth when a mesh is given."""
    height, width = crop_HWC.shape[:2]
    if mesh_P2 is None:
        centre, half = np.array([width / 2, height / 2]), max(width, height) / 2
    else:
        lips = mesh_P2[list(LIPS)]
        centre, half = lips.mean(0), 0.85 * float(np.ptp(lips[:, 0]))
    scale = _CELL / (2 * half)
    move = np.array([[scale, 0, _CELL / 2 - scale * centre[0]], [0, scale, _CELL / 2 - scale * centre[1]]])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.warpAffine(crop_HWC, move, (_CELL, _CELL), flags=way, borderMode=cv2.BORDER_CONSTANT)

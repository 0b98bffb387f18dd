"""The contact sheet of a take: source above result, and the mouth enlarged. A picture for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np

from dubbing.clock import Timeline
from dubbing.face import LIPS

__all__ = ["Sheet", "write_sheets"]

_CELL = 240  # px, each picture of the sheet
_HEAD = 26


class Sheet:
    """Collects stills and draws them: columns are moments; rows are source, result, and both mouths.

    labels: what to write over a moment, by frame; cell_px: the side of each picture.
    """

    def __init__(
        self, name: str, line: Timeline, frames: Iterable[int], labels: Mapping[int, str] | None = None,
        cell_px: int = _CELL,
    ) -> None:  # fmt: skip
        self._name, self._line, self._frames = name, line, set(frames)
        self._labels, self._cell_px = labels or {}, cell_px
        self.columns: dict[str, np.ndarray] = {}
        """Pictures of the moments, uint8 (H, W, 3), by `frame_<number>`."""

    def wants(self, frame: int) -> bool:
        """Whether it is one of the sheet's moments."""
        return frame in self._frames

    def add(self, frame: int, before_HWC: np.ndarray, after_HWC: np.ndarray, mesh_P2: np.ndarray) -> None:
        """Add the pictures of a frame, if it is one of the sheet's moments. mesh_P2: (478, 2) pixels of these crops."""
        if not self.wants(frame):
            return
        head = np.full((_HEAD, self._cell_px, 3), 32, np.uint8)
        text = f"{self._line.timecode(frame)}  #{frame}  {self._labels.get(frame, '')}"
        cv2.putText(head, text, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45,
                    (230, 230, 230), 1, cv2.LINE_AA)  # fmt: skip
        pairs = ((before_HWC, None), (after_HWC, None), (before_HWC, mesh_P2), (after_HWC, mesh_P2))
        cells = [_fit(picture, mesh, self._cell_px) for picture, mesh in pairs]
        self.columns[f"frame_{frame:08d}"] = np.concatenate([head, *cells])

    def drawn(self) -> np.ndarray | None:
        """The whole sheet, uint8 (H, W, 3) BGR; None where no moment was added."""
        if not self.columns:
            return None
        body = np.concatenate([self.columns[k] for k in sorted(self.columns)], 1)
        title = np.full((_HEAD, body.shape[1], 3), 32, np.uint8)
        text = f"{self._name}: rows are source, result, source mouth, result mouth"
        cv2.putText(title, text, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
        return np.concatenate([title, body])


def write_sheets(path: Path, sheets: Iterable[Sheet]) -> None:
    """One below the other, as JPEG; nothing where no moment was added to any."""
    pictures = [picture for sheet in sheets if (picture := sheet.drawn()) is not None]
    if not pictures:
        return
    width = max(picture.shape[1] for picture in pictures)
    wide = [
        cv2.copyMakeBorder(p, 0, 0, 0, width - p.shape[1], cv2.BORDER_CONSTANT, value=(32, 32, 32)) for p in pictures
    ]
    done, data = cv2.imencode(".jpg", np.concatenate(wide), [cv2.IMWRITE_JPEG_QUALITY, 92])
    if not done:
        raise OSError(f"{path.name} could not be encoded as JPEG")
    path.write_bytes(data.tobytes())


def _fit(crop_HWC: np.ndarray, mesh_P2: np.ndarray | None, cell_px: int) -> np.ndarray:
    """A square cell of the whole crop, or of the mouth when a mesh is given."""
    height, width = crop_HWC.shape[:2]
    if mesh_P2 is None:
        centre, half = np.array([width / 2, height / 2]), max(width, height) / 2
    else:
        lips = mesh_P2[list(LIPS)]
        centre, half = lips.mean(0), 0.85 * float(np.ptp(lips[:, 0]))
    scale, middle = cell_px / (2 * half), cell_px / 2
    move = np.array([[scale, 0, middle - scale * centre[0]], [0, scale, middle - scale * centre[1]]])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.warpAffine(crop_HWC, move, (cell_px, cell_px), flags=way, borderMode=cv2.BORDER_CONSTANT)

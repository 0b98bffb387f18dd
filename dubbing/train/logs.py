"""The logs of a run: losses.jsonl for programs, TensorBoard's events for people.

    OUT/losses.jsonl   one JSON object a line: {"step", "epoch", <loss>, ..., "grad_norm/<network>"} after each step,
                       {"step", "epoch", "held_out": {...}} after each look at the held-out speakers
    OUT/tensorboard/   the same as curves, and sheets of sample pictures

A resumed run cuts off what was written after its checkpoint, so that the file reads as if nothing had happened.
It knows no design.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dubbing.errors import InputError
from dubbing.store import output_error
from dubbing.store.folder import replace

__all__ = ["LOSSES", "Logs", "read_losses"]

LOSSES = "losses.jsonl"


def read_losses(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's losses.jsonl; one that was cut short is left out."""
    found = []
    path = folder / LOSSES
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


class Logs:
    """The logs of a run that is at `step`. Raises InputError without the extra `train`, OutputError."""

    def __init__(self, folder: Path, step: int, boards: bool = True) -> None:
        self._board = _writer(folder / "tensorboard", step) if boards else None
        self._path = folder / LOSSES
        kept = [line for line in read_losses(folder) if line["step"] <= step]
        replace(self._path, "".join(json.dumps(line) + "\n" for line in kept).encode())
        try:
            self._file = self._path.open("a", encoding="utf-8")
        except OSError as e:
            raise output_error(self._path, e) from e

    def losses(self, step: int, epoch: int, numbers: Mapping[str, float]) -> None:
        """After a step."""
        self._line({"step": step, "epoch": epoch, **numbers})
        self._scalars("train", numbers, step)

    def held_out(self, step: int, epoch: int, numbers: Mapping[str, float]) -> None:
        """After a look at the held-out speakers."""
        self._line({"step": step, "epoch": epoch, "held_out": dict(numbers)})
        self._scalars("held_out", numbers, step)

    def picture(self, step: int, sheet_HWC: np.ndarray) -> None:
        """A sheet of sample pictures, uint8 BGR."""
        if self._board is not None:
            self._board.add_image("samples", np.ascontiguousarray(sheet_HWC[..., ::-1]), step, dataformats="HWC")

    def flush(self) -> None:
        """Write everything so far to disk, so that a checkpoint never refers to a line that is not there."""
        self._file.flush()
        os.fsync(self._file.fileno())
        if self._board is not None:
            self._board.flush()

    def close(self) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()

    def _line(self, content: Mapping[str, Any]) -> None:
        try:
            self._file.write(json.dumps(content) + "\n")
            self._file.flush()
        except OSError as e:
            raise output_error(self._path, e) from e

    def _scalars(self, group: str, numbers: Mapping[str, float], step: int) -> None:
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(f"{group}/{name}", value, step)


def _writer(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as e:
        raise InputError(
            "Training writes its curves for TensorBoard, which is not installed: pip install 'dubbing[train]'."
        ) from e
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)

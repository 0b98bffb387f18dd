"""Where voices that people brought themselves lie: `voices` in the folder of models."""

from __future__ import annotations

from pathlib import Path

from dubbing import models

__all__ = ["own_folder"]


def own_folder(folder: str | None) -> Path:
    """folder: of models, as the configuration says; None for the user's."""
    return Path(models.folder(folder)) / "voices"

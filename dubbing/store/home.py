"""The user's own folders for dub on this machine, where platformdirs says: by the rules of the XDG base directories,
and on macOS in ~/Library unless an XDG variable says otherwise.

Knows nothing of what others put there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import platformdirs

__all__ = ["user_folder"]


def user_folder(kind: Literal["cache", "data"]) -> Path:
    """Where dub keeps what may be deleted at any time (cache), or what may not (data). Nothing is created."""
    folder = platformdirs.user_cache_path if kind == "cache" else platformdirs.user_data_path
    return folder("dub", appauthor=False)

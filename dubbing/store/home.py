"""The user's own folders for dub on this machine, by the rules of the XDG base directories and of macOS.

Knows nothing of what others put there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

__all__ = ["user_folder"]

# kind -> the variable that names it, where it is on macOS, where elsewhere
_PLACES = {
    "cache": ("XDG_CACHE_HOME", "~/Library/Caches", "~/.cache"),
    "data": ("XDG_DATA_HOME", "~/Library/Application Support", "~/.local/share"),
}


def user_folder(kind: Literal["cache", "data"]) -> Path:
    """Where dub keeps what may be deleted at any time (cache), or what may not (data). Nothing is created."""
    variable, on_mac, elsewhere = _PLACES[kind]
    said = os.environ.get(variable, "")
    if not os.path.isabs(said):  # the XDG rule: a relative one is to be ignored
        said = on_mac if sys.platform == "darwin" else elsewhere
    return Path(said).expanduser() / "dub"

"""The packages that decide what comes out, and whether they are those of the machine that sent its code here."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

__all__ = ["SENT_WITH", "other_packages", "versions"]

SENT_WITH = "DUB_PACKAGES"  # `name==version`, apart by spaces, of the machine that sent its code to this one
_PACKAGES = ("av", "mediapipe", "numpy", "opencv", "pyarrow", "ray", "scenedetect", "scipy", "silero-vad", "torch")
_ALSO = {"opencv": ("opencv-contrib-python-headless", "opencv-contrib-python", "opencv-python")}  # one library


def versions() -> dict[str, str]:
    """The packages that decide what comes out; `absent` where one is missing."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}


def _version(name: str) -> str:
    for one in _ALSO.get(name, (name,)):
        try:
            return version(one)
        except PackageNotFoundError:
            continue
    return "absent"


def other_packages() -> list[str]:
    """A note where this code was sent here from a machine with other packages than this one's (`--with-code`)."""
    sent = dict(one.split("==", 1) for one in os.environ.get(SENT_WITH, "").split() if "==" in one)
    here = versions()
    other = [
        f"{name} {here[name]} instead of {sent[name]}" for name in here if sent.get(name, here[name]) != here[name]
    ]
    if not other:
        return []
    return [
        f"This machine has {', '.join(other)}, with which the code was sent: results may differ; an image made of the "
        "same lock (requirements/run.txt) has the same packages."
    ]

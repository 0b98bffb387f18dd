"""Fixtures every test may use."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of third-party clips and reference outputs; skips where it is absent."""
    if not (SHARED / "media" / "reel.mp4").exists():
        pytest.skip("needs ../shared (third-party test media), which is not on this machine")
    return SHARED

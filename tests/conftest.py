"""Fixtures every test may use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session", autouse=True)
def nothing_of_this_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Models that a developer has pulled and runs that were measured must not change what a test sees."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUB_MODELS", str(tmp_path_factory.mktemp("no models")))
        patch.setenv("DUB_HISTORY", str(tmp_path_factory.mktemp("history") / "history.jsonl"))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of third-party clips and reference outputs; skips where it is absent."""
    if not (SHARED / "media" / "reel.mp4").exists():
        pytest.skip("needs ../shared (third-party test media), which is not on this machine")
    return SHARED

"""Which clips the shipped weights were trained on: numbers on those say nothing of unseen speakers.

Clips are known by content, so that a copy under another name is found too. Update the lists whenever weights are
trained on other clips; a test compares the names with `shipped_weights.clips`.
"""

from __future__ import annotations

from functools import lru_cache

from dubbing.generators.rewrite.shape import prior_arrays

__all__ = ["SHOWS_THEM", "TRAINED_ON", "was_seen"]

# file name without its ending -> first 16 hex digits of the file's sha256
TRAINED_ON: dict[str, str] = {
    "kitchen_1080x1920": "8c3f10288e0642e5",
    "garden_1080x1920": "ed2dd1e2001aa605",
    "webcam_glasses": "3eeab2aba7902991",
    "grid_bbaf2n": "e468120039e208b5",
    "grid_brbk7n": "2122707c6dd3b59a",
    "grid_id2_swwp2s": "3bb8cffd51399caa",
    "grid_pwij3p": "a610d98c101dde35",
    "grid_lbax4n": "8f80c8ced6a8cb47",
    "grid_lbbc2a": "9447e5e0732eeaf4",
    "grid_lrwp9a": "1a6c86fc5e7d4e9e",
    "grid_lwbsza": "09090d1f7a8a9462",
    "grid_sbia1a": "768e49272122f157",
    "grid_sbwe5n": "6707e709f1d713a6",
    "grid_swiz3n": "080f3e1511879a3b",
    "address_01": "c048270369b88ab2",
    "address_02": "065ae19e47befb2e",
    "address_03": "f85f65c27cd8f59c",
    "address_04": "446dd690891997c9",
    "address_05": "00c721ecc9fa9e8d",
    "address_06": "4117146cae56478b",
    "address_07": "e7231cfd81c229c3",
    "address_08": "12ed796dfa11cc4c",
    "address_09": "3eb498d35b178600",
    "presenter_1080x1920": "cfa177b2a44f7809",
}

# films cut from them
SHOWS_THEM: dict[str, str] = {"reel": "286c9306e723d86f"}


def was_seen(content: str) -> bool:
    """Whether a file of this content (sha256, hex) is among them, or shows one."""
    return content[:16] in (*TRAINED_ON.values(), *SHOWS_THEM.values()) or int(content[:16], 16) in _many()


@lru_cache(maxsize=1)
def _many() -> frozenset[int]:
    """The first 64 bits of the sha256 of the clips of GRID's speaker 1 that the prior learnt from."""
    return frozenset(prior_arrays()["seen"].tolist())

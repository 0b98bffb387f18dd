"""Which tags of a film go on to its master."""

from __future__ import annotations

from collections.abc import Mapping

from dubbing.media.language import three_letters

__all__ = ["kept_tags"]

_NOT_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "timecode", "alpha_mode"}
_MATROSKA_STATISTICS = ("bps", "number_of_", "_statistics_")


def kept_tags(tags: Mapping[str, str], muxer: str = "") -> dict[str, str]:
    """Tags worth carrying: not those that describe the old file's own encoding."""
    kept = {
        key: value
        for key, value in tags.items()
        if key.lower() not in _NOT_TAGS and not key.lower().startswith(_MATROSKA_STATISTICS)
    }
    if muxer == "mov" and "language" in kept:
        kept["language"] = three_letters(kept["language"], quicktime=True)
    return kept

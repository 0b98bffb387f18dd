"""How many pictures of a master are the source's own packets, byte for byte. It decodes nothing."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import av.error

from dubbing.media.film import Film
from dubbing.media.parameter_sets import HevcSets, Sets, packed, sets_of, units

__all__ = ["own_packets"]


def own_packets(source: str | Path, master: str | Path) -> int:
    """How many pictures of a master are the source's own packets, by their order as they are shown. Of H.264
    and HEVC units are compared, parameter sets left out; nothing is decoded. Raises MediaError."""
    was, now = (_hashes(path) for path in (source, master))
    return sum(a == b for a, b in zip(was, now, strict=False))


def _hashes(path: str | Path) -> list[bytes]:
    """Of the picture's packets, in the order in which they are shown."""
    found: list[tuple[int, bytes]] = []
    with Film(path, 1) as film:
        film.picture_only()
        sets: Sets | HevcSets | None = None
        context = film.stream.codec_context
        with contextlib.suppress(ValueError):
            if context.codec.canonical_name in ("h264", "hevc"):
                sets = sets_of(context.codec.canonical_name, bytes(context.extradata or b""))
        try:
            for packet in film.packets():
                data = bytes(packet)
                with contextlib.suppress(ValueError):
                    if sets is not None:
                        data = packed(part for part in units(data, sets.prefix) if sets.kind(part) not in sets.kinds)
                at = packet.pts if packet.pts is not None else len(found)
                found.append((at, hashlib.blake2b(data, digest_size=8).digest()))
        except av.error.FFmpegError:
            pass  # what follows is damaged: `likeness` says where
    return [digest for _, digest in sorted(found, key=lambda one: one[0])]

"""How many pictures of a master are the source's own packets, byte for byte. It decodes nothing."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import av.error

from dubbing.media.film import Film
from dubbing.media.parameter_sets import Sets, packed, units

__all__ = ["own_packets"]


def own_packets(source: str | Path, master: str | Path) -> int:
    """How many pictures of a master are the source's own packets, by their order as they are shown. Of H.264 units are
    compared, however their lengths are told; nothing is decoded. Raises MediaError."""
    was, now = (_hashes(path) for path in (source, master))
    return sum(a == b for a, b in zip(was, now, strict=False))


def _hashes(path: str | Path) -> list[bytes]:
    """Of the picture's packets, in the order in which they are shown."""
    found: list[tuple[int, bytes]] = []
    with Film(path, 1) as film:
        film.picture_only()
        prefix = -1
        with contextlib.suppress(ValueError, IndexError):
            if film.stream.codec_context.codec.canonical_name == "h264":
                prefix = Sets.of(bytes(film.stream.codec_context.extradata or b"")).prefix
        try:
            for packet in film.packets():
                data = bytes(packet)
                with contextlib.suppress(ValueError):
                    data = packed(units(data, prefix)) if prefix >= 0 else data
                at = packet.pts if packet.pts is not None else len(found)
                found.append((at, hashlib.blake2b(data, digest_size=8).digest()))
        except av.error.FFmpegError:
            pass  # what follows is damaged: `likeness` says where
    return [digest for _, digest in sorted(found, key=lambda one: one[0])]

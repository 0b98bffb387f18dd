"""A few seconds out of a film, without decoding it: for trials. It knows nothing of masters (`master`).

Packets are copied from the key frame at or before the wanted time, so what comes out costs the same to
decode as the film itself; it begins a little early, and its sound may end a little before its picture.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np

from dubbing.errors import MediaError
from dubbing.media.probe import first_video, local_url, open_media, probe
from dubbing.media.sound import sound_blocks
from dubbing.media.write import ClipWriter

__all__ = ["excerpt", "sound_excerpt"]

_CHANNELS = (1, 2, 6, 8)


def excerpt(path: str | Path, target: str | Path, start_s: Fraction, length_s: Fraction) -> Fraction:
    """Copy a film's first picture and sound stream to `target` (same ending as the film's), from the key frame at or
    before `start_s` to `length_s` after `start_s`. Returns the time, from the film's start, at which the copy begins.

    Raises MediaError where the container cannot be cut like this.
    """
    zero = None
    try:
        with open_media(path) as source, av.open(local_url(target), "w") as made:
            picture = first_video(source)
            if picture is None:
                raise MediaError(f"{path} has no video stream.")
            kept = [picture, *source.streams.audio[:1]]
            streams = {s.index: made.add_stream_from_template(s) for s in kept}
            begin = (picture.start_time or 0) * Fraction(picture.time_base)
            source.seek(int((begin + start_s) * av.time_base), backward=True)
            last = None
            for packet in source.demux(kept):
                if packet.pts is None or packet.dts is None:
                    continue
                at = Fraction(packet.pts * packet.time_base)
                shown = packet.stream is picture
                if zero is None and shown and packet.is_keyframe:
                    zero = at
                if zero is None or at < zero:  # sound before the first picture, pictures that refer to earlier ones
                    continue
                if shown and last is not None and at > last:
                    break
                if shown and last is None and at >= max(zero, begin + start_s) + length_s:
                    last = at  # what is coded after it and shown before it refers to it
                shift = round(zero / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = streams[packet.stream.index]
                made.mux(packet)
    except (av.error.FFmpegError, ValueError, OSError) as e:
        raise MediaError(f"A few seconds of {path} cannot be cut out ({e}); plan without --trial.") from e
    if zero is None:
        raise MediaError(f"{path} has no key frame at or after {float(start_s):.1f} s; plan without --trial.")
    return max(Fraction(0), zero - begin)


def sound_excerpt(path: str | Path, target: str | Path, start_s: Fraction, length_s: Fraction) -> None:
    """Decode [start_s, start_s + length_s) of a file's sound into `target`, a .flac; silence after its end."""
    rate_hz = probe(path).audio[0].rate_hz
    skip, want = int(start_s * rate_hz), max(1, int(length_s * rate_hz))
    kept: list[np.ndarray] = []
    for block in sound_blocks(path, None, mono=False):
        kept.append(block[max(0, skip) :][:want])
        skip, want = skip - len(block), want - len(kept[-1])
        if want <= 0:
            break
    wave = np.concatenate([*kept, np.zeros((max(0, want), kept[-1].shape[1] if kept else 1), np.float32)])
    if wave.shape[1] not in _CHANNELS:
        wave = wave.mean(axis=1, keepdims=True, dtype=np.float32)
    with ClipWriter(target, sample_rate_hz=rate_hz, channels=wave.shape[1]) as writer:
        writer.sound(wave)

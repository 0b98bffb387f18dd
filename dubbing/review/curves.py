"""What was measured along one shot, for a page to draw under its pictures: openings, confidence, offset, both sounds.

Reads what stages left; measures nothing anew but sound peaks, and the original's mouth where no take was looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from dubbing.artifacts.sound import load_speech, load_wave, speech_mask
from dubbing.artifacts.tracks import load_tracks
from dubbing.errors import InputError
from dubbing.experts.lse import SHIFTS
from dubbing.face import canonical, mouth_measures
from dubbing.review.library import Library, Shown
from dubbing.review.sides import main_track, stretch
from dubbing.review.takes import Take
from dubbing.sound import RATE_HZ

__all__ = ["curves"]

_PEAKS = 2000  # at most, of one sound
_LEAST_SAMPLES = RATE_HZ // 200


def curves(library: Library, shown: Shown, take_id: str = "current") -> dict[str, Any]:
    """The curves of a take, ready for JSON. take_id: a take's id, `current`, or `source` for none.

    frames: [first, last) of the proxy; opening: frames of the title, and wanted, seen (of the take) and was (of the
    original), inter-ocular distances, null where there is none; confidence: dub and source, per window of 5 frames at
    25 a second, at its middle frame, both null where they were not kept; offset: shifts, 25ths of a second, positive:
    the sound is early (the least of `distance` lies at the table's lse_offset_frames), distance of the take with the
    dub, source_distance of the original with its own sound, null where not measured; waveform: source (null without
    one) and dub (what drives the lips), least and greatest sample of every step_s seconds, start_s on the proxy's
    clock; silence: [a, b) frames in which the dub does not speak. Raises InputError where there is no such take.
    """
    first, last = stretch(shown)
    seen = _seen(shown, take_id)
    return {
        "frames": [first, last],
        "opening": _opening(shown, seen),
        "confidence": {
            "frames": _plain(seen.get("windows"), 0) or [], "dub": _plain(seen.get("confidence")),
            "source": _plain(seen.get("source_confidence")),
        },
        "offset": {
            "shifts": list(range(-SHIFTS, SHIFTS + 1)), "distance": _plain(seen.get("distance"), turned=True),
            "source_distance": _plain(seen.get("source_distance"), turned=True),
        },
        "waveform": {
            "source": _peaks(shown, shown.step.source_sound, first, last),
            "dub": _peaks(shown, shown.step.sound, first, last),
        },
        "silence": _silence(shown, first, last),
    }  # fmt: skip


def _seen(shown: Shown, take_id: str) -> dict[str, np.ndarray]:
    """`seen.npz` of a take, empty where it was not looked at."""
    take: Take | None = None
    if take_id == "current":
        take = next((t for t in shown.takes if t.current), None)
    elif take_id != "source":
        take = shown.take(take_id)
    file = take.seen / "seen.npz" if take and take.seen else None
    if file is None or not file.exists():
        return {}
    try:
        with np.load(file) as data:
            return {name: data[name] for name in data.files}
    except (OSError, ValueError) as e:
        raise InputError(f"{file} cannot be read ({e}); remove its folder and run again.") from e


def _opening(shown: Shown, seen: dict[str, np.ndarray]) -> dict[str, Any]:
    if seen:
        return {name: _plain(seen[name], 0 if name == "frames" else 4) for name in ("frames", "wanted", "seen", "was")}
    name = main_track(shown, ())
    track = next((t for t in load_tracks(shown.step.faces.folder) if t.id == name), None) if name else None
    if track is None:
        return {"frames": [], "wanted": [], "seen": [], "was": []}
    was_N = mouth_measures(canonical(track.mesh_NP3)[0])["opening"]
    none = [None] * len(was_N)
    return {"frames": _plain(track.frames_N, 0), "wanted": none, "seen": none, "was": _plain(was_N)}


def _plain(values: np.ndarray | None, digits: int = 4, turned: bool = False) -> list[Any] | None:
    """A curve for JSON, None where there is none; what is no number is null."""
    if values is None or not len(values):
        return None
    numbers: Iterable[Any] = values[::-1] if turned else values
    if digits == 0:
        return [int(v) for v in numbers]
    return [round(float(v), digits) if np.isfinite(v) else None for v in numbers]


def _peaks(shown: Shown, folder: Path | None, first: int, last: int) -> dict[str, Any] | None:
    """Least and greatest sample of equal steps over frames [first, last)."""
    if folder is None:
        return None
    wave = load_wave(folder, shown.line.sample(first, RATE_HZ), shown.line.sample(last, RATE_HZ))
    step = max(_LEAST_SAMPLES, -(-len(wave) // _PEAKS))
    starts = np.arange(0, len(wave), step)
    low, high = (f.reduceat(wave, starts) for f in (np.minimum, np.maximum))
    return {"start_s": 0.0, "step_s": step / RATE_HZ, "low": _plain(low, 3), "high": _plain(high, 3)}


def _silence(shown: Shown, first: int, last: int) -> list[list[int]]:
    speech_N = speech_mask(load_speech(shown.step.sound), shown.line, first, last)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (~speech_N).astype(np.int8), [0]])))
    return [[first + int(a), first + int(b)] for a, b in edges.reshape(-1, 2)]

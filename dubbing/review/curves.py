"""What was measured along one shot, for a page to draw under its pictures: openings, confidence, offset, both sounds.

Reads what stages left; measures nothing anew but sound peaks, and the original's mouth where no take was looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dubbing.artifacts.sound import load_speech, load_wave, speech_mask
from dubbing.artifacts.takes import seen_file
from dubbing.artifacts.tracks import load_tracks
from dubbing.errors import InputError
from dubbing.experts.lse import SHIFTS
from dubbing.face import canonical, mouth_measures
from dubbing.review.library import Library, Shown
from dubbing.review.sides import rendered_frames, runs, stretch
from dubbing.review.takes import Take
from dubbing.sound import RATE_HZ
from dubbing.words import Word

__all__ = ["curves"]

_PEAKS = 2000  # at most, of one sound
_LEAST_SAMPLES = RATE_HZ // 200


def curves(library: Library, shown: Shown, take_id: str = "current") -> dict[str, Any]:
    """The curves of a take, ready for JSON. take_id: a take's id, `current`, or `source` for none.

    frames: [first, last) of the proxy; faces: of each face that the take re-renders, the one that speaks longest first
    (without a take, of the shot's main face): track; rendered: the stretches [a, b) in which it is; opening: frames of
    the title, and wanted, seen (of the take, where it is rendered) and was (of the original), inter-ocular distances,
    null where there is none; confidence: dub and source, per window of 5 frames at 25 a second that is rendered, at its
    middle frame, null for the other windows, both null where they were not kept; offset: shifts, 25ths of a second,
    positive: the sound is early (the least of `distance` lies at the table's lse_offset_frames), distance of the take
    with the dub, source_distance of the original with its own sound, null where not measured; waveform: source (null
    without one) and dub (what drives the lips), least and greatest sample of every step_s seconds, start_s on the
    proxy's clock; words: of source and dub, [word, start_s, end_s, character] on the same clock; silence: [a, b) frames
    in which the dub does not speak. Raises InputError: there is no such take.
    """
    first, last = stretch(shown)
    return {
        "frames": [first, last],
        "faces": _faces(shown, take_id),
        "waveform": {
            "source": _peaks(shown, shown.step.source_sound, first, last),
            "dub": _peaks(shown, shown.step.sound, first, last),
        },
        "words": {
            "source": _words(library.heard(shown.title.id, None), shown, first, last),
            "dub": _words(library.heard(*shown.key[:2]), shown, first, last),
        },
        "silence": _silence(shown, first, last),
    }  # fmt: skip


def _faces(shown: Shown, take_id: str) -> list[dict[str, Any]]:
    """What was measured of each face of a take; of the shot's main face in the source where there is none."""
    take: Take | None = None
    if take_id == "current":
        take = shown.current
    elif take_id != "source":
        take = shown.take(take_id)
    if take is None or not take.faces:
        main = shown.row["face"]
        original = _original(shown, main) if main else {}
        return [_face(main, [], original)] if original else []
    found = []
    for face in take.faces:
        seen = _seen(take.seen, face.track) if take.seen else {}
        rendered = runs(rendered_frames(take.folder / face.folder))
        found.append(_face(face.track, rendered, seen or _original(shown, face.track)))
    return found


def _face(track: str, rendered: list[list[int]], seen: dict[str, np.ndarray]) -> dict[str, Any]:
    return {
        "track": track, "rendered": rendered,
        "opening": {name: _plain(seen.get(name), 0 if name == "frames" else 4) or [] for name in
                    ("frames", "wanted", "seen", "was")},
        "confidence": {
            "frames": _plain(seen.get("windows"), 0) or [], "dub": _plain(seen.get("confidence")),
            "source": _plain(seen.get("source_confidence")),
        },
        "offset": {
            "shifts": list(range(-SHIFTS, SHIFTS + 1)), "distance": _plain(seen.get("distance"), turned=True),
            "source_distance": _plain(seen.get("source_distance"), turned=True),
        },
    }  # fmt: skip


def _seen(folder: Path, track: str) -> dict[str, np.ndarray]:
    """The curves of a rendered face, empty where it was not looked at."""
    file = seen_file(folder, track)
    if not file.exists():
        return {}
    try:
        with np.load(file) as data:
            found = {name: data[name] for name in data.files}
            found["seen"] = np.where(found["rendered"], found["seen"], np.nan)
            return found
    except (OSError, ValueError, KeyError) as e:
        raise InputError(f"{file} cannot be read ({e}); remove its folder and run again.") from e


def _original(shown: Shown, name: str) -> dict[str, np.ndarray]:
    """The opening of a face in the source; empty where its shot has no such track."""
    track = next((t for t in load_tracks(shown.step.faces.folder) if t.id == name), None)
    if track is None:
        return {}
    was_N = mouth_measures(canonical(track.mesh_NP3)[0])["opening"]
    none_N = np.full(len(was_N), np.nan)
    return {"frames": track.frames_N, "wanted": none_N, "seen": none_N, "was": was_N}


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


def _words(words: Sequence[Word], shown: Shown, first: int, last: int) -> list[list[Any]]:
    """Those that are heard in frames [first, last), in order of time."""
    begin, end = (float(shown.line.time(f)) for f in (first, last))
    near = [w for w in words if w.end_s > begin and w.start_s < end]
    return [
        [w.word, round(w.start_s - begin, 3), round(w.end_s - begin, 3), w.character]
        for w in sorted(near, key=lambda w: w.start_s)
    ]


def _silence(shown: Shown, first: int, last: int) -> list[list[int]]:
    speech_N = speech_mask(load_speech(shown.step.sound), shown.line, first, last)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (~speech_N).astype(np.int8), [0]])))
    return [[first + int(a), first + int(b)] for a, b in edges.reshape(-1, 2)]

"""How bad a shot is: one number, its parts, and the sentence for each threshold that it crosses.

Four things can be wrong with a dubbed shot; each is measured by its own threshold of the configuration, so that 1 is
just at it:

    lse      LSE-D above the original's of the same shot       over  review.lse_d_over_source
    offset   |offset|, frames at 25 a second                   over  review.offset_frames
    sharp    1 - sharpness                                     over  1 - review.min_sharpness
    silence  silence motion above 1                            over  review.max_silence_motion - 1

Severity is the largest of the four and a tenth of the other three. A failed shot has FAILED, before any other; one that
was left alone has 0, for its picture is the source's. What was not measured counts nothing. A shot needs review where
a part is over 1. Where several faces were rendered, each is judged over its own frames, and the shot's numbers are
those of the worst of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dubbing.config import Review

__all__ = ["FAILED", "complaints", "judged", "parts", "reason", "severity"]

FAILED = 100.0
_LEAST = 1e-3  # of a threshold that leaves no room


def parts(row: Mapping[str, Any], limits: Review) -> dict[str, float]:
    """What of a row of `dub.shot.1` is how bad, by name, 1 = at its threshold; only what was measured."""
    if row["status"] != "dubbed":
        return {}
    found: dict[str, float] = {}
    if row["lse_d"] is not None and row["source_lse_d"] is not None:
        found["lse"] = (row["lse_d"] - row["source_lse_d"]) / max(limits.lse_d_over_source, _LEAST)
    if row["lse_offset_frames"] is not None:
        found["offset"] = abs(row["lse_offset_frames"]) / max(limits.offset_frames, _LEAST)
    if row["sharpness"] is not None:
        found["sharp"] = (1 - row["sharpness"]) / max(1 - limits.min_sharpness, _LEAST)
    if row["silence_motion"] is not None:
        found["silence"] = (row["silence_motion"] - 1) / max(limits.max_silence_motion - 1, _LEAST)
    return {name: max(0.0, float(value)) for name, value in found.items()}


def severity(row: Mapping[str, Any], limits: Review) -> float:
    """One number for a row of `dub.shot.1`, 0 and up; see above."""
    if row["status"] == "failed":
        return FAILED
    values = sorted(parts(row, limits).values())
    return values[-1] + 0.1 * sum(values[:-1]) if values else 0.0


def complaints(row: Mapping[str, Any], limits: Review) -> list[str]:
    """Which thresholds a row of `dub.shot.1` crosses, each as a sentence with both numbers."""
    said = {
        "lse": "LSE-D {lse_d:.2f} is over the original's {source_lse_d:.2f} by more than {limits.lse_d_over_source:g}",
        "offset": "offset {lse_offset_frames:+.0f} frames is beyond {limits.offset_frames:g}",
        "sharp": "sharpness {sharpness:.2f} is under {limits.min_sharpness:g}",
        "silence": "silence motion {silence_motion:.2f} is over {limits.max_silence_motion:g}",
    }
    return [said[name].format(**row, limits=limits) for name, value in parts(row, limits).items() if value > 1]


def judged(faces: Iterable[Mapping[str, Any]], limits: Review) -> list[dict[str, Any]]:
    """Rows of the rendered faces of one take (`FaceScores.row`) with their severity and review_reason, None where they
    cross no threshold; the worst first, which is the shot's."""
    found = []
    for face in faces:
        row = {**face, "status": "dubbed"}
        said = "; ".join(complaints(row, limits)) or None
        found.append({**face, "severity": severity(row, limits), "review_reason": said})
    return sorted(found, key=lambda face: -face["severity"])


def reason(faces: Sequence[Mapping[str, Any]]) -> str | None:
    """The review_reason of a shot whose faces were `judged`: what each crosses, by its name where there are several."""
    named = [(face["track"].rsplit("/", 1)[-1].replace("_", " "), face["review_reason"]) for face in faces]
    said = [f"{name}: {text}" if len(named) > 1 else text for name, text in named if text]
    return ". ".join(said) or None

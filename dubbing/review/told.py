"""What the server tells of dubs, jobs, decisions and shots, as plain values for JSON. Knows no request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dubbing import generators
from dubbing.clock import Timecode, counting_base
from dubbing.decisions import Decision, ShotKey, Standing
from dubbing.errors import InputError
from dubbing.review.background_jobs import BackgroundJob
from dubbing.review.library import Library, Shown

__all__ = ["brief", "dub", "generator", "job", "jobs", "record", "shot", "standing"]

_MOST_ERRORS = 20  # of the dubs of one export, that a page is told


def dub(library: Library, title: str, language: str) -> dict[str, Any]:
    """A dub by the header of its film."""
    film, maker = library.film(title), library.run_file.maker(title, language)
    return {
        "title": title, "language": language, "frames": film.frames_hint, "fps": float(film.rate),
        "width": film.size[0], "height": film.size[1], "run": maker.number if maker else None,
    }  # fmt: skip


def generator(library: Library, name: str) -> dict[str, Any]:
    """A generator with its settings' limits, and why it cannot be used."""
    why, settings = "", dict[str, Any]()
    try:
        settings = generators.settings(name)
        library.choice({"name": name})
    except InputError as e:
        why = str(e)
    return {"name": name, "ready": not why, "why": why, "settings": settings}


def jobs(every: Sequence[BackgroundJob], of: str) -> list[dict[str, Any]]:
    """What a page asks for every few seconds, so of bounded size: numbers in the place of lists.

    of: the shot (`reel/fr/shot_0004`) of which a page shows the reruns; empty: everything is told.
    """
    found = []
    for one in every:
        names = ["/".join(key) for key in one.about.get("keys", [])]
        if not of or of in names:
            found.append(brief(one, of))
    return found


def brief(one: BackgroundJob, of: str = "") -> dict[str, Any]:
    """One of `jobs`."""
    whole = job(one)
    keys, made, result = whole.pop("keys", []), whole["made"], whole["result"]
    if result:
        dubs = result["dubs"]
        result = {
            "delivery": result["delivery"], "files": len(result["files"]),
            "changed": sum(len(d["changed"]) for d in dubs),
            "errors": [f"{d['title']} ({d['language']}): {d['error']}" for d in dubs if d["error"]][:_MOST_ERRORS],
        }  # fmt: skip
    return {
        **whole, "shots": len(keys), "first": keys[0] if keys else None, "result": result,
        "made": [m for m in made if "/".join(m["key"]) == of], "takes": sum(1 for m in made if m["take"]),
    }  # fmt: skip


def job(one: BackgroundJob) -> dict[str, Any]:
    """All of a rerun or an export."""
    plain = asdict(one)
    about, result, part = plain.pop("about"), plain.pop("result"), plain.pop("part")
    made = result.get("made", []) if isinstance(result, dict) else []
    return {**plain, **about, "progress": part, "made": made, "result": result if one.kind == "export" else None}


def record(decision: Decision) -> dict[str, Any]:
    """A decision without what it does not say."""
    return {k: v for k, v in vars(decision).items() if v is not None and k not in ("tracks", "spans")}


def standing(now: Standing) -> dict[str, Any]:
    """What holds for a shot, with its comments and all that was ever said of it."""
    names = ("verdict", "about", "by", "at", "take", "generator", "revision", "reasons", "chosen_by", "chosen_at")
    lists = {"comments": now.comments, "history": now.history}
    return {k: getattr(now, k) for k in names} | {k: [record(r) for r in v] for k, v in lists.items()}


def _judged(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "severity": round(row["severity"], 3)}


def shot(library: Library, rows: Mapping[ShotKey, Mapping[str, Any]], shown: Shown) -> dict[str, Any]:
    """All that the page of a shot shows beside pictures and curves. rows: of all shots, by key."""
    aim, line = shown.step.shot, shown.line
    mine = sorted((r for r in rows.values() if (r["title"], r["language"]) == shown.key[:2]), key=lambda r: r["order"])
    at = next(n for n, r in enumerate(mine) if r["shot"] == aim.id)
    compared = shown.step.selected.candidates if shown.step.selected else ()
    scores = {one.take: one.score for one in compared}
    start, limits = Timecode.parse(line.start_tc, line.rate), library.config.review
    return {
        "row": rows[shown.key], "standing": standing(shown.standing), "frames": [aim.start_frame, aim.end_frame],
        "takes": [{"id": t.id, "generator": t.generator, "status": t.status, "reason": t.reason, "made": t.made,
                   "current": t.current, "score": scores.get(t.id), "row": _judged(t.row(limits)),
                   "faces": [_judged(f) for f in t.scored]}
                  for t in shown.takes],
        "fps": [line.rate.numerator, line.rate.denominator], "nominal_fps": counting_base(line.rate),
        "drop_frame": start.drop, "start_timecode_frames": start.frames,
        "timecodes": {"start": shown.row["start_tc"], "end": shown.row["end_tc"]},
        "neighbours": {"first": mine[0]["shot"], "previous": mine[at - 1]["shot"] if at else None,
                       "next": mine[at + 1]["shot"] if at + 1 < len(mine) else None},
        "names": {t: n for t, n in library.characters(shown.key[0]).items() if t.startswith(f"{aim.id}/")},
    }  # fmt: skip

"""`report.html`: one self-contained page to mail. What was decided, how well the lips fit, the worst shots to look at.

No asset from outside and no script: pictures are data URIs (JPEG stills, loops as animated WebP), charts inline SVG.
Knows the library, and nothing of what an export changed.
"""

from __future__ import annotations

import base64
import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from dubbing import __version__, sequences, severity
from dubbing.artifacts.takes import Signed
from dubbing.artifacts.turns import TurnList
from dubbing.clock import Timeline
from dubbing.decisions import SEVERITIES, Decision, ShotKey
from dubbing.errors import DubError, MediaError
from dubbing.manifest import Dub, Title
from dubbing.review.charts import distribution, edges
from dubbing.review.deliveries import Deliveries
from dubbing.review.library import Library
from dubbing.review.look import style
from dubbing.review.moments import LOOP_S, Moment, moment
from dubbing.review.people import cast_of
from dubbing.review.proofs import COLUMNS, proof_lines
from dubbing.run_file import read_run
from dubbing.turns.asked import NO_CONSENT

__all__ = ["WORST", "report"]

WORST = 8  # shots of each dub that are shown
_MOST = 40  # shots in all: a page of 15 MB can still be mailed
_SCORES = {"lse_d": "LSE-D, lower is better", "lse_c": "LSE-C, higher is better"}
_VERDICTS = ("approved", "rejected", "original", "chosen")
_PARTS = {"lse": "LSE-D over the original's", "offset": "offset", "sharp": "sharpness", "silence": "motion in silence"}


def report(library: Library, *, worst: int = WORST, changes: Sequence[Mapping[str, Any]] | None = None) -> str:
    """The page, as HTML. worst: how many shots of each dub are shown with stills and a loop, about 0.4 MB each (fewer
    where dubs are many); changes: what a delivery changed, a row a shot (dub, shot, start_tc, end_tc, was, now, by,
    since), None outside of one.

    A shot whose pictures cannot be made says why in their place. Raises OutputError as `Library`, MediaError where a
    film is not there any more.
    """
    run = read_run(library.store).plain  # as an export has just left it
    lines = _lines(library)
    rows, worst = library.rows(), min(worst, max(1, _MOST // max(1, len(library.dubs()))))
    chosen = [_mine(rows, title, dub) for title, dub in library.dubs()]
    bins = {name: edges([r[k] for r in rows for k in (name, f"source_{name}") if r[k] is not None]) for name in _SCORES}
    dubs = [_dub(library, *pair, mine, bins, worst, lines) for pair, mine in zip(library.dubs(), chosen, strict=True)]
    return _template().render(
        mastered=max((d["mastered"] for d in dubs if d["mastered"]), default=None), left_out=library.left_out,
        titles=", ".join(dict.fromkeys(t.id for t, _ in library.dubs())),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        totals=_counts(rows), dubs=dubs, changes=changes, people=_people(library), decisions=_decisions(library, rows),
        cast=[t for t in cast_of(library) if t["members"]], comments=_comments(library, rows, lines),
        deliveries=_deliveries(library), worst=worst,
        loop_s=f"{float(LOOP_S):g}", how=_how(), limits=_limits(library), run=run, version=__version__,
        style=style(), proof_columns=list(COLUMNS),
        expert=sorted({r["lse_model"] for r in rows if r["lse_model"]}),
    )  # fmt: skip


@cache
def _template() -> Any:
    import jinja2

    source = (Path(__file__).parent / "templates" / "report.html").read_text(encoding="utf-8")
    made = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    made.filters |= {"number": _number, "signed": _signed, "date": _date}
    return made.from_string(source)


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.0f}" if round(value) else "0"


def _date(iso: str | None) -> str:
    """`2026-11-21 13:48`."""
    return (iso or "")[:16].replace("T", " ")


def _mine(rows: Sequence[Mapping[str, Any]], title: Title, dub: Dub) -> list[Mapping[str, Any]]:
    return [r for r in rows if r["title"] == title.id and r["language"] == dub.language]


def _counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of some rows: shots, by status, by verdict, open (dubbed or failed and nothing said), comments by severity."""
    status = Counter(r["status"] for r in rows)
    verdicts = Counter(r["verdict"] for r in rows if r["verdict"])
    return {
        "shots": len(rows), **{k: status[k] for k in ("dubbed", "untouched", "failed")},
        **{k: verdicts[k] for k in _VERDICTS},
        "open": sum(r["verdict"] is None and r["status"] != "untouched" for r in rows),
        "needs_review": sum(bool(r["needs_review"]) for r in rows),
        "comments": sum(r["comments"] for r in rows), "blockers": sum(r["comment_severity"] == "blocker" for r in rows),
    }  # fmt: skip


def _dub(
    library: Library, title: Title, dub: Dub, rows: Sequence[Mapping[str, Any]], bins: Mapping[str, Any], worst: int,
    lines: Mapping[str, Timeline],
) -> dict[str, Any]:  # fmt: skip
    def values(name: str) -> list[float]:
        return [r[name] for r in rows if r["status"] == "dubbed" and r[name] is not None]

    def middle(name: str) -> float | None:
        return median(values(name)) if values(name) else None

    job, names = library.job(title.id, dub.language), ("lse_d", "lse_c", "lse_offset_frames")
    known = job.plan(title, {}, dubs=[dub])
    turns: TurnList | None = job.result(known.get(TurnList, dub.language))
    looked = [r for r in rows if r["severity"] > 0][:worst]
    return {
        "title": title.id, "language": dub.language, **_counts(rows), "has_table": bool(rows),
        "run": library.run_file.maker(title.id, dub.language), "mastered": _mastered(library, title, dub),
        "proof": proof_lines(library.store, library.store.dub(title.id, dub.language)),
        "reasons": Counter(r["reason"] for r in rows if r["status"] == "untouched" and r["reason"]).most_common(),
        "signed": job.result(known.get(Signed, dub.language)),
        "unconsented": [n for n in (turns.notices if turns else ()) if job.manifest.consented(title) is not None
                        and n.startswith(NO_CONSENT)],
        "excluded_frames": sum(r.get("excluded_frames") or 0 for r in rows),
        "covered_frames": sum(r.get("covered_frames") or 0 for r in rows),
        "mixed_frames": sum(r.get("mixed_frames") or 0 for r in rows),
        "medians": {k: middle(k) for name in names for k in (name, f"source_{name}")},
        "charts": [
            (label, distribution(f"{title.id} {dub.language}, {label}", values(k), values(f"source_{k}"), bins[k]))
            for k, label in _SCORES.items()
        ],
        "scored": len(values("lse_d")),
        "worst": [_card(library, r, lines) for r in looked],
    }  # fmt: skip


def _mastered(library: Library, title: Title, dub: Dub) -> str | None:
    """When a dub's master was made, UTC, ISO 8601: what is in a run's own record is when the run ended, and a run makes
    only those masters anew whose pictures or sound changed. None where there is no master."""
    found = library.store.names(library.store.dub(title.id, dub.language), f"{title.id}.{dub.language}.")
    newest = max((f.stat().st_mtime for f in found), default=None)
    return datetime.fromtimestamp(newest, UTC).isoformat() if newest is not None else None


def _card(library: Library, row: Mapping[str, Any], lines: Mapping[str, Timeline]) -> dict[str, Any]:
    """One shot to look at."""
    key = (row["title"], row["language"], row["shot"])
    shown, take, seen, why = None, None, None, None
    try:
        shown = library.find(*key)
        take = shown.take(row["take"]) if row["take"] else None
        seen = moment(shown, take)
    except (DubError, OSError) as e:
        why = str(e)
    faces = take.scored if take and len(take.scored) > 1 else ()
    names = library.characters(row["title"]) if faces else {}
    parts = sorted(row["severity_parts"].items(), key=lambda part: -part[1])
    called = [names.get(f["track"]) or f["track"].rsplit("/", 1)[-1].replace("_", " ") for f in faces]
    return {
        "row": row, "name": "/".join(key), "parts": [(_PARTS[k], v) for k, v in parts if v > 0],
        "at": shown.line.timecode(seen.frame) if shown and seen else None, "seen": _pictures(seen) if seen else None,
        "faces": [{"name": name, **f} for name, f in zip(called, faces, strict=True)],
        "missing": why, "generator": _generator(take.generator if take else None),
        "failed": row["status"] == "failed",
        "comments": [_comment(c, lines) for c in (shown.standing.comments if shown else ())],
    }  # fmt: skip


def _pictures(seen: Moment) -> dict[str, Any]:
    return {
        "whole": _uri(seen.whole[0]), "whole_take": _uri(seen.whole[1]), "size": seen.size,
        "mouth": [_uri(m) for m in seen.mouth] if seen.mouth else None,
        "loop": _uri(seen.loop, "webp"), "loop_size": seen.loop_size,
    }  # fmt: skip


def _uri(data: bytes | None, kind: str = "jpeg") -> str | None:
    return None if data is None else f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _lines(library: Library) -> dict[str, Timeline]:
    """Of the titles whose cuts are known."""
    for title, _ in library.dubs():
        if isinstance(title.video, Path) and not sequences.is_there(title.video):
            raise MediaError(f"There is no film at {str(title.video)!r}, which was dubbed here; put it back there.")
    found: dict[str, Timeline] = {}
    for title, dub in library.dubs():
        job = library.job(title.id, dub.language)
        if title.id not in found and job.shots(title):
            found[title.id] = job.timeline(title)
    return found


def _comment(said: Decision, lines: Mapping[str, Timeline]) -> dict[str, Any]:
    line = lines.get(said.title)
    at = line.timecode(said.frame) if line is not None and said.frame is not None else ""
    return {"at": at, "severity": said.severity, "by": said.reviewer, "when": said.time, "text": said.text,
            "dub": f"{said.title}/{said.language}", "shot": said.shot}  # fmt: skip


def _comments(
    library: Library, rows: Sequence[Mapping[str, Any]], lines: Mapping[str, Timeline]
) -> list[dict[str, Any]]:
    """All that were not taken back, the gravest first, then as the film goes."""
    order = _order(rows)
    said = [c for key, now in library.log.all().items() if key in order for c in now.comments]
    said.sort(key=lambda c: (-SEVERITIES.index(c.severity or "note"), *order[c.key], c.frame or 0, c.seq))
    return [_comment(c, lines) for c in said]


def _order(rows: Sequence[Mapping[str, Any]]) -> dict[ShotKey, tuple[str, str, int]]:
    return {(r["title"], r["language"], r["shot"]): (r["title"], r["language"], r["order"]) for r in rows}


def _decisions(library: Library, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What holds of every shot of which anything was said but comments, as the film goes."""
    said, found = library.log.all(), []
    for row in sorted(rows, key=lambda r: (r["title"], r["language"], r["order"])):
        now = said.get((row["title"], row["language"], row["shot"]))
        if now is None or (now.verdict is None and now.take is None):
            continue
        found.append({
            "dub": f"{row['title']}/{row['language']}", "shot": row["shot"], "at": row["start_tc"],
            "verdict": now.verdict, "by": now.by, "when": now.at, "take": now.take,
            "source": now.delivers_source(row["take"] or now.about or ""),
            "generator": _generator(now.generator), "chosen_by": now.chosen_by,
            "reasons": [r.replace("_", " ") for r in now.reasons],
        })  # fmt: skip
    return found


def _generator(choice: Mapping[str, Any] | None) -> str:
    plain = dict(choice or {})
    return " ".join([str(plain.pop("name", "")), *(f"{k} = {v}" for k, v in plain.items())])


def _people(library: Library) -> list[dict[str, Any]]:
    """Who said how much, those who said most first."""
    found: dict[str, Counter[str]] = {}
    for record in library.log.records():
        found.setdefault(record.reviewer, Counter())[record.kind] += 1
    kinds = ("approve", "reject", "original", "choose", "comment", "rerun")
    rows = [{"name": name, "all": sum(c.values()), **{k: c[k] for k in kinds}} for name, c in found.items()]
    return sorted(rows, key=lambda row: (-int(str(row["all"])), str(row["name"])))


def _deliveries(library: Library) -> list[dict[str, Any]]:
    return [
        {"seq": d.seq, "when": d.time, "by": d.reviewer,
         "dubs": [(name, sum(take is not None for take in one.pictures.values()), len(one.pictures))
                  for name, one in d.dubs.items()]}
        for d in Deliveries(library.out).all()
    ]  # fmt: skip


def _how() -> list[str]:
    """The paragraphs in which `severity` says how it is made."""
    return (inspect.getdoc(severity) or "").split("\n\n")


def _limits(library: Library) -> list[tuple[str, str, str]]:
    fields = type(library.config.review).model_fields
    now = library.config.review.model_dump()
    return [(name, f"{now[name]:g}", about.description or "") for name, about in fields.items()]

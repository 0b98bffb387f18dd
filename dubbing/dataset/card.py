"""The card of a data folder: what is in it, from where, what was left out and why; and a sheet of faces to look at.

`card.json` for machines, `card.md` for people, `clips.parquet` with a row for every clip of the source, `sheet.jpg`.
Everything here is read from what was prepared.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dubbing import __version__, experts
from dubbing.dataset.faces import CROPS
from dubbing.dataset.prepare import Looked, Prepared
from dubbing.dataset.shards import FPS, SPLITS, Dataset, Sample
from dubbing.errors import InputError, several
from dubbing.preflight import versions
from dubbing.store import Store

__all__ = ["CARD", "load_card", "format_text", "write_card"]

CARD, PAGE, SHEET, TABLE = "card.json", "card.md", "sheet.jpg", "clips.parquet"
REASONS = {
    "no_sound": "no sound stream, or nothing to hear",
    "no_picture": "no picture stream",
    "no_face": "no face was found",
    "several_faces": "several faces, and their lips did not tell who speaks",
    "too_small": "the face is smaller than --min-face (of titles: than the run allowed)",
    "too_short": "a face is seen for less than --shortest",
    "not_in_sync": "lips and sound are further apart than --max-offset",
    "other_split": "the source's own lists hold its speaker out in another split",
    "no_speech": "nobody speaks",
    "off_screen": "the speaker is not in the picture",
    "profile": "the speaker is turned too far",
    "occluded": "the speaker's mouth is hidden",
    "out_of_frame": "the picture's edge cuts the speaker's mouth",
    "burned_in": "letters or a logo lie over the speaker's mouth",
    "dissolve": "people speak only where the picture dissolves or fades",
    "unreadable": "the file is broken",
    "error": "dub failed on it; the next run tries it again",
}
_CELL, _ACROSS, _HEAD = 96, 12, 22
_SCHEMA = "dub.dataset.card.1"
_NAMED = 50  # broken files that the card names; the table has all


def write_card(prepared: Prepared, note: str | None = None) -> dict[str, Any]:
    """Write card, table and sheet into the data folder, and return the card. note: a line on licence or consent; the
    one that is there is kept where none is given.

    Raises OutputError where they cannot be written.
    """
    data, store = Dataset(prepared.folder), Store(prepared.folder)
    if note is None and (prepared.folder / CARD).is_file():
        note = load_card(prepared.folder).get("note")
    card = _card(prepared, data, note)
    store.write_bytes(prepared.folder / TABLE, _table(prepared.looked))
    store.write_bytes(prepared.folder / SHEET, _sheet(data))
    store.write_bytes(prepared.folder / PAGE, (format_text(card) + "\n").encode())
    store.write_json(prepared.folder / CARD, card)
    return card


def load_card(folder: Path) -> dict[str, Any]:
    """The card of a data folder. Raises InputError: there is none, or one of another version."""
    Dataset(folder)
    try:
        card: dict[str, Any] = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise InputError(f"{str(folder)!r} has no {CARD} that can be read; prepare it again.") from e
    if card.get("schema") != _SCHEMA:
        raise InputError(f"{str(folder / CARD)!r} is of schema {card.get('schema')}, this version reads {_SCHEMA}.")
    return card


def _card(prepared: Prepared, data: Dataset, note: str | None) -> dict[str, Any]:
    looked = prepared.looked
    rejected = Counter(one.reason for one in looked if one.status != "used")
    left: defaultdict[str, float] = defaultdict(float)
    for one in looked:
        for reason, seconds in (one.left_out or {}).items():
            left[reason] += seconds
    used = {s for one in looked for s in one.samples}
    offsets = [
        abs(p["offset_frames"]) for one in looked if one.samples for p in one.about if p["offset_frames"] is not None
    ]
    broken = [one for one in looked if one.status in ("unreadable", "failed")]
    assert used == {s.id for s in data.samples}
    return {
        "schema": _SCHEMA, "made": datetime.now(UTC).isoformat(timespec="seconds"), "hash": data.hash,
        "source": str(prepared.source), "layout": prepared.layout, "note": note,
        "settings": {**asdict(prepared.settings), "crop": prepared.settings.crop or CROPS[0]},
        "expert": experts.identity("lips"),
        "versions": {"dub": __version__, **versions()},
        "clips": {"found": len(looked), **Counter(one.status for one in looked)},
        "rejected": {reason: n for reason, n in sorted(rejected.items()) if reason},
        "left_out_s": {reason: round(s, 1) for reason, s in sorted(left.items()) if s >= 0.05},
        "splits": {split: _split(data.of(split)) for split in SPLITS},
        "offset_frames": _spread(offsets),
        "broken": [{"id": one.id, "file": one.source, "text": one.text} for one in broken[:_NAMED]],
    }  # fmt: skip


def _split(samples: Sequence[Sample]) -> dict[str, Any]:
    frames = sum(s.frames for s in samples)
    names = sorted({s.speaker for s in samples})
    return {"samples": len(samples), "hours": round(frames / FPS / 3600, 4), "frames": frames,
            "shards": len({s.shard for s in samples}), "speakers": len(names), "names": names}  # fmt: skip


def _spread(offsets: Sequence[float]) -> dict[str, Any]:
    if not offsets:
        return {"median": None, "p90": None, "within_2": None}
    values = np.asarray(offsets, np.float64)
    return {"median": float(np.median(values)), "p90": float(np.quantile(values, 0.9)),
            "within_2": round(float((values <= 2).mean()), 3)}  # fmt: skip


def format_text(card: Mapping[str, Any]) -> str:
    """The card as Markdown that also reads well on a terminal."""
    clips, splits = card["clips"], card["splits"]
    hours = sum(s["hours"] for s in splits.values())
    samples = sum(s["samples"] for s in splits.values())
    lines = [
        f"# Data folder {card['hash']}", "",
        f"{several(samples, 'sample')}, {hours:.3f} hours, "
        f"{several(sum(s['speakers'] for s in splits.values()), 'speaker')}, from "
        f"{several(clips['found'], 'clip')} ({card['layout']}) in {card['source']}; made {card['made']} by dub "
        f"{card['versions']['dub']}.", "",
        f"Licence and consent: {card['note'] or 'not stated (--note)'}", "",
        "| split | samples | hours | speakers | shards |", "|---|---:|---:|---:|---:|",
    ]  # fmt: skip
    lines += [
        f"| {n} | {s['samples']} | {s['hours']:.3f} | {s['speakers']} | {s['shards']} |" for n, s in splits.items()
    ]
    empty = [name for name, s in splits.items() if not s["samples"]]
    if empty and samples:
        lines += ["", f"No speaker is in {' and '.join(empty)}: with few speakers give a larger --val and --test."]
    if card["rejected"]:
        lines += ["", "| clips not used | reason | |", "|---:|---|---|"]
        lines += [f"| {n} | {r} | {REASONS.get(r, '')} |" for r, n in card["rejected"].items()]
    if card["left_out_s"]:
        text = ", ".join(f"{r} {s:.1f} s" for r, s in card["left_out_s"].items())
        lines += ["", f"Left out, of all clips: {text}."]
    if card["offset_frames"]["median"] is not None:
        o = card["offset_frames"]
        lines += ["", f"Lips and sound are {o['median']:.0f} frames apart at the median, {o['p90']:.0f} at the 90th "
                  f"percentile; {100 * o['within_2']:.0f} % within 2 ({card['expert']})."]  # fmt: skip
    if card["broken"]:
        lines += ["", *(f"- broken: {b['id']}: {b['text']}" for b in card["broken"])]
    of_clips = {k: v for k, v in card["settings"].items() if k != "splits"} | card["settings"]["splits"]
    lines += ["", "Settings: " + ", ".join(f"{k} {v}" for k, v in of_clips.items()) + "."]
    lines += ["", "With: " + ", ".join(f"{k} {v}" for k, v in card["versions"].items()) + "."]
    return "\n".join(lines)


def _table(looked: Sequence[Looked]) -> bytes:
    """One row per clip of the source, schema dub.dataset.clips.1."""
    numbers = ("face_px", "offset_frames", "lse_d", "lse_c")
    rows = []
    for one in looked:
        row = {"id": one.id, "speaker": one.speaker, "split": one.split, "file": one.source, "status": one.status,
               "reason": one.reason, "text": one.text, "samples": len(one.samples),
               "seconds": round(sum(p["frames"] for p in one.about) / FPS, 3),
               "left_out": json.dumps(one.left_out or {})}  # fmt: skip
        for name in numbers:
            values = [p[name] for p in one.about if p[name] is not None]
            row[name] = float(np.median(values)) if values else None
        rows.append(row)
    kinds = {"samples": pa.int32(), "seconds": pa.float32(), **dict.fromkeys(numbers, pa.float32())}
    names = ("id", "speaker", "split", "file", "status", "reason", "text", "samples", "seconds", "left_out", *numbers)
    columns = {name: pa.array([r[name] for r in rows], kinds.get(name, pa.string())) for name in names}
    buffer = BytesIO()
    table = pa.table(columns).replace_schema_metadata({"schema": "dub.dataset.clips.1"})
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _sheet(data: Dataset) -> bytes:
    """A few faces of each split, of as many speakers as fit, as JPEG."""
    width = _CELL * _ACROSS
    parts = []
    for split in SPLITS:
        samples = data.of(split)
        head = np.full((_HEAD, width, 3), 32, np.uint8)
        _write(
            head, f"{split}: {several(len(samples), 'sample')}, {several(len({s.speaker for s in samples}), 'speaker')}"
        )
        parts.append(head)
        chosen = _varied(samples, 2 * _ACROSS)
        for n in range(0, len(chosen), _ACROSS):
            row = [_face(data, s) for s in chosen[n : n + _ACROSS]]
            row += [np.full_like(row[0], 32)] * (_ACROSS - len(row))
            parts.append(np.concatenate(row, 1))
    return bytes(cv2.imencode(".jpg", np.concatenate(parts), [cv2.IMWRITE_JPEG_QUALITY, 90])[1])


def _varied(samples: Sequence[Sample], most: int) -> list[Sample]:
    """Up to `most`: one of every speaker first, evenly over them, then more of each."""
    turns: defaultdict[str, int] = defaultdict(int)
    order = []
    for s in samples:
        order.append((turns[s.speaker], s))
        turns[s.speaker] += 1
    order.sort(key=lambda pair: pair[0])
    first = [s for turn, s in order if turn == 0]
    if len(first) > most:
        return [first[i] for i in np.linspace(0, len(first) - 1, most).round().astype(int)]
    return [s for _, s in order[:most]]


def _face(data: Dataset, sample: Sample) -> np.ndarray:
    """The middle frame of a clip with its speaker's name under it, uint8 (_CELL + _HEAD, _CELL, 3)."""
    clip = data.load(sample, sample.frames // 2, 1)
    face = cv2.resize(clip.faces_NHWC[0], (_CELL, _CELL), interpolation=cv2.INTER_AREA)
    x0, y0, x1, y1 = (clip.lips_N4[0] * _CELL).round().astype(int)
    cv2.rectangle(face, (int(x0), int(y0)), (int(x1), int(y1)), (80, 220, 80), 1)
    foot = np.full((_HEAD, _CELL, 3), 32, np.uint8)
    _write(foot, sample.speaker[-14:], 0.36)
    return np.concatenate([face, foot])


def _write(strip_HWC: np.ndarray, text: str, scale: float = 0.48) -> None:
    shown = text.encode("ascii", "replace").decode()  # OpenCV draws no other letters
    cv2.putText(strip_HWC, shown, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, scale, (230, 230, 230), 1, cv2.LINE_AA)

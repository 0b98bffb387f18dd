"""Scores as rows of a table, and as a Parquet file: one row per face track, schema `dub.score.1`.

A film without a face, and one that could not be scored, has one row that says so. Extend at the end only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dubbing.errors import DubError, OutputError
from dubbing.scoring.film import FilmScore
from dubbing.store import Store, content_key, key_of

__all__ = ["SCHEMA", "VERSION", "failed_row", "key", "read_table", "rows", "write_table"]

VERSION = 1  # raise it when numbers change: rows of older versions are then made again
NAME = "dub.score.1"
_TEXT, _WHOLE, _NUMBER = pa.string(), pa.int64(), pa.float32()
SCHEMA = pa.schema(
    [
        *((n, _TEXT) for n in ("video", "audio", "track")),
        *((n, _WHOLE) for n in ("start_frame", "end_frame")),
        *((n, _TEXT) for n in ("start_tc", "end_tc")),
        *((n, _NUMBER) for n in ("face_px", "yaw_deg", "lse_d", "lse_c", "lse_offset_frames", "lse_at_zero")),
        ("lse_windows", pa.int32()),
        ("lse_model", _TEXT),
        ("reason", _TEXT),  # null where scored; no_face, too_short, out_of_sight, or the error's class
        ("distance", pa.list_(_NUMBER)),  # 31, at shifts -15..15
        ("start_s", pa.float64()),  # of the first window, from frame 0
        ("confidence", pa.list_(_NUMBER)),  # of each window, 25 a second; null where out of sight
        ("key", _TEXT),  # of everything the row depends on
        ("error", _TEXT),
    ],
    metadata={"schema": NAME},
)


def key(video: Path, audio: Path | None, model: str) -> str:
    """16 hex digits that change when the film, the other sound, the expert or this code does."""
    return key_of("score", VERSION, content_key(video), content_key(audio) if audio else None, model)[:16]


def rows(film: FilmScore, name: str, of: str) -> list[dict[str, Any]]:
    """The film's tracks as rows with every column. name: what the film is called; of: its `key`."""
    common = dict.fromkeys(SCHEMA.names) | {
        "video": name, "audio": str(film.sound) if film.sound != film.video else None, "lse_model": film.model,
        "lse_windows": 0, "key": of,
    }  # fmt: skip
    made = []
    for t in film.tracks:
        curve = (
            None if t.confidence_V is None else [None if np.isnan(v) else round(float(v), 4) for v in t.confidence_V]
        )
        made.append(common | {
            "track": t.id, "start_frame": t.start_frame, "end_frame": t.end_frame, "start_tc": t.start_tc,
            "end_tc": t.end_tc, "face_px": t.face_px, "yaw_deg": t.yaw_deg, "lse_d": t.d, "lse_c": t.c,
            "lse_offset_frames": t.offset_frames, "lse_at_zero": t.at_zero, "lse_windows": t.windows,
            "reason": t.reason, "distance": None if t.distance_S is None else t.distance_S.tolist(),
            "start_s": t.start_s, "confidence": curve,
        })  # fmt: skip
    return made or [common | {"reason": "no_face"}]


def failed_row(name: str, audio: Path | None, model: str, error: DubError) -> dict[str, Any]:
    """The row of a film that could not be scored."""
    return dict.fromkeys(SCHEMA.names) | {
        "video": name, "audio": str(audio) if audio else None, "lse_windows": 0, "lse_model": model,
        "reason": type(error).__name__, "error": str(error),
    }  # fmt: skip


def write_table(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Commit the rows in one rename. Raises OutputError when that cannot be done."""
    buffer = BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(r) for r in rows], SCHEMA), buffer, compression="zstd")
    Store(path.parent).write_bytes(path, buffer.getvalue())


def read_table(path: Path) -> list[dict[str, Any]]:
    """The rows of a file written here, none where there is no file. Raises OutputError for any other file."""
    if not path.exists():
        return []
    try:
        with pq.ParquetFile(path) as file:
            table = file.read(use_threads=False)
    except (pa.ArrowException, OSError) as e:
        raise OutputError(f"{str(path)!r} exists and is no table of scores; choose another --out.") from e
    if (table.schema.metadata or {}).get(b"schema") != NAME.encode():
        raise OutputError(f"{str(path)!r} is a table, but not of scores ({NAME}); choose another --out.")
    found: list[dict[str, Any]] = table.to_pylist()
    return found

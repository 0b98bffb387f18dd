"""The tables of a dub, to be extended at the end only.

`shots.parquet`: one row per shot, schema `dub.shot.1`; where several faces were rendered, its numbers are those of the
worst one, which `face` names. `faces.parquet`: one row per rendered face of a shot, schema `dub.face.1`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dubbing.errors import DamagedResult
from dubbing.store import Store

__all__ = ["FACES", "FACE_SCHEMA", "REASONS", "SCHEMA", "SHOTS", "read_rows", "read_table", "shot_numbers",
           "write_rows"]  # fmt: skip

REASONS = (
    "no_face", "no_speech", "off_screen", "too_small", "profile", "occluded", "out_of_frame", "excluded", "no_consent",
    "dissolve", "burned_in",
)  # fmt: skip

SHOTS, FACES = "shots.parquet", "faces.parquet"
_METRIC, _CHECK = "metric_", b"check"
_TEXT, _WHOLE, _NUMBER = pa.string(), pa.int64(), pa.float32()
SCHEMA = pa.schema(
    [
        *((n, _TEXT) for n in ("title", "language", "shot")),
        *((n, _WHOLE) for n in ("start_frame", "end_frame")),
        *((n, _TEXT) for n in ("start_tc", "end_tc", "status", "reason", "face")),
        *((n, _NUMBER) for n in ("face_px", "yaw_deg")),
        *((n, _TEXT) for n in ("generator", "generator_hash", "take")),
        *((n, _NUMBER) for n in ("lse_d", "lse_c", "lse_offset_frames")),
        *((n, _NUMBER) for n in ("source_lse_d", "source_lse_c", "source_lse_offset_frames")),
        ("lse_model", _TEXT),
        ("lse_windows", pa.int32()),
        *((n, _NUMBER) for n in ("sharpness", "silence_motion")),
        ("needs_review", pa.bool_()),
        ("review_reason", _TEXT),
        ("seconds", _NUMBER),
        ("error", _TEXT),
        # added by this project after the contract's columns
        ("following", _NUMBER),
        ("actor", _TEXT),
        ("lse_at_zero", _NUMBER),
        ("source_lse_at_zero", _NUMBER),
        ("foreign_lse_at_zero", _NUMBER),
        ("rest_opening", _NUMBER),
        ("severity", _NUMBER),
        ("excluded_frames", _WHOLE),  # that `only` and `leave` took from it; null where neither is said
        ("character", _TEXT),  # of `face`, where it is known
        ("lip_leak", _NUMBER),
        ("mixed_frames", _WHOLE),  # that a dissolve or a fade takes from it: nothing is rendered there
        ("covered_frames", pa.int32()),  # rendered frames in which something burned in was kept; null where none are
        ("occluded_frames", _WHOLE),  # of what its faces say in the dub: not rendered, since something hides the mouth
        ("selection", _TEXT),  # why this take of several, with the scores of all; null where the manifest asks for one
    ],
    metadata={"schema": "dub.shot.1"},
)
FACE_SCHEMA = pa.schema(
    [
        *((n, _TEXT) for n in ("title", "language", "shot", "track", "actor", "take")),
        *((n, _WHOLE) for n in ("start_frame", "end_frame", "rendered_frames")),  # [start, end) of what is rendered
        *((n, _TEXT) for n in ("start_tc", "end_tc")),
        *((n, _NUMBER) for n in ("face_px", "yaw_deg")),
        *((n, _NUMBER) for n in ("lse_d", "lse_c", "lse_offset_frames", "lse_at_zero")),
        *((n, _NUMBER) for n in ("source_lse_d", "source_lse_c", "source_lse_offset_frames", "source_lse_at_zero")),
        ("foreign_lse_at_zero", _NUMBER),
        ("lse_model", _TEXT),
        ("lse_windows", pa.int32()),
        *((n, _NUMBER) for n in ("sharpness", "silence_motion", "following", "rest_opening", "severity")),
        ("review_reason", _TEXT),
        ("character", _TEXT),
        ("stem", _TEXT),  # the character whose stem drives it; null where the dub's one dialogue does
        ("lip_leak", _NUMBER),
    ],
    metadata={"schema": "dub.face.1"},
)
_MEASURED = tuple(
    n for n in FACE_SCHEMA.names[FACE_SCHEMA.names.index("lse_d") :] if n not in ("review_reason", "character", "stem")
)


def shot_numbers(faces: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a row of `dub.shot.1` takes from the rows of its take's faces, the worst first: that one's numbers and name;
    all None where no face was measured."""
    if not faces:
        return dict.fromkeys(_MEASURED)
    worst = faces[0]
    others = {name: value for name, value in worst.items() if name.startswith(_METRIC)}
    about = {"face": worst["track"], "face_px": worst["face_px"], "yaw_deg": worst["yaw_deg"]}
    return {**{name: worst[name] for name in _MEASURED}, **others, **about}


def write_rows(
    store: Store, path: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema = SCHEMA, **metadata: str
) -> None:
    """Commit the table atomically. A row may leave columns out (null); it adds none but those of other packages'
    metrics, `metric_<name>`, which come after the schema's own.

    Raises OutputError when the folder cannot be written.
    """
    rows = list(rows)
    others = sorted({name for row in rows for name in row if name.startswith(_METRIC)})
    kind = schema.metadata
    for name in others:
        schema = schema.append(pa.field(name, _NUMBER))
    columns: dict[str, list[Any]] = {name: [] for name in schema.names}
    for row in rows:
        unknown = row.keys() - columns.keys()
        if unknown:
            raise KeyError(f"not in {kind[b'schema'].decode()}: {sorted(unknown)}")
        for name, values in columns.items():
            values.append(row.get(name))
    table = pa.table(columns, schema=schema)
    table = table.replace_schema_metadata({**kind, **metadata})
    table = table.replace_schema_metadata({**table.schema.metadata, _CHECK: _checksum(table)})
    buffer = BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    store.write_bytes(path, buffer.getvalue())


def read_table(path: Path | bytes, name: str = "") -> pa.Table:
    """One of the tables (or its bytes, of a table called `name`), as written. Raises FileNotFoundError; DamagedResult
    where it is damaged."""
    name = name or ("a table" if isinstance(path, bytes) else str(path))
    try:
        # pq.read_table would load pyarrow.dataset, and pandas where it is installed: 1.3 s of every `dub status`
        with pq.ParquetFile(BytesIO(path) if isinstance(path, bytes) else path) as file:
            table = file.read(use_threads=False)
        said = (table.schema.metadata or {}).get(_CHECK)
        if said is None or said == _checksum(table):  # tables of earlier versions say nothing
            return table
    except FileNotFoundError:
        raise
    except Exception:  # damaged bytes make a parser raise anything
        pass
    raise DamagedResult(f"{name!r} is damaged; `dub run` its manifest again, which writes it anew.")


def _checksum(table: pa.Table) -> bytes:
    """CRC-32 of what a table says, its metadata included, 8 hex digits."""
    about = sorted((k, v) for k, v in table.schema.metadata.items() if k != _CHECK)
    return b"%08x" % zlib.crc32(repr([about, *table.to_pydict().items()]).encode())


def read_rows(path: Path | bytes) -> list[dict[str, Any]]:
    """The rows of one of the tables (or of its bytes), as written."""
    rows: list[dict[str, Any]] = read_table(path).to_pylist()
    return rows

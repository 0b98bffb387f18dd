"""Phones: which sound of a language is said when, as who made the speech knows it.

    phones.json    {"schema": "dub.phones.1", "phones": [["h", 0.31, 0.36], ["ˈoʊ", 0.36, 0.52]]}

A phone is written in IPA; between two that do not touch is a pause. Times are seconds from the first sample of the
sound that they belong to. It knows no mouth: what the lips do for a phone is for who moves them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dubbing.errors import ManifestError
from dubbing.inputs import json_bytes, json_value, read_file

__all__ = ["Phone", "packed", "read", "runs_of", "within"]

SCHEMA = "dub.phones.1"
_MOST_BYTES = 50_000_000
_LONGEST_S = 100 * 3600
_SHOWN = 60


@dataclass(frozen=True)
class Phone:
    """One sound. symbol: IPA, stress and length marks included; start_s, end_s: seconds, the end after the start."""

    symbol: str
    start_s: float
    end_s: float


def packed(phones: Sequence[Phone]) -> bytes:
    """A file of the phones of a sound, in order, of which none overlap. Times are written to a tenth of a
    millisecond."""
    rows = [[p.symbol, round(p.start_s, 4), round(p.end_s, 4)] for p in phones]
    return json_bytes({"schema": SCHEMA, "phones": rows}, None)


def read(path: Path) -> tuple[Phone, ...]:
    """What `packed` wrote, or another program. Raises ManifestError: it is not there, or is no such file."""
    try:
        data = read_file(path, _MOST_BYTES + 1)
    except OSError as e:
        raise ManifestError(f"{path} cannot be read ({e.strerror or e}); 'phones' names a file of phones.") from e
    try:
        if len(data) > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES // 1_000_000} MB")
        found = json_value(data)
        if not isinstance(found, dict) or found.get("schema") != SCHEMA:
            raise ValueError(f"it has no schema {SCHEMA}")
        return tuple(_checked(found["phones"]))
    except (ValueError, KeyError, TypeError) as e:
        raise ManifestError(
            f'{path} is no file of phones ({str(e)[:200]}); write {{"schema": "{SCHEMA}", '
            '"phones": [["m", 0.31, 0.38], ...]}, in seconds.'
        ) from e


def _checked(rows: Iterable[Any]) -> Iterable[Phone]:
    before = 0.0
    for n, row in enumerate(rows, 1):
        good = isinstance(row, list) and len(row) == 3 and isinstance(row[0], str) and row[0]
        if not good or any(isinstance(t, bool) or not isinstance(t, int | float) for t in row[1:]):
            raise ValueError(f"phone {n} is {str(row)[:_SHOWN]}, and not [symbol, start, end]")
        symbol, start, end = str(row[0]), float(row[1]), float(row[2])
        if start < max(before - 1e-3, 0) or not start < end <= _LONGEST_S:
            raise ValueError(f"phone {n} ({symbol[:8]}, {start} to {end}) ends before it begins, or overlaps the last")
        yield Phone(symbol, start, end)
        before = end


def within(phones: Sequence[Phone], start_s: float, end_s: float) -> tuple[Phone, ...]:
    """Those that lie in [start_s, end_s) with any part, their times counted from start_s; none is cut."""
    return tuple(
        Phone(p.symbol, p.start_s - start_s, p.end_s - start_s)
        for p in phones
        if p.end_s > start_s and p.start_s < end_s
    )


def runs_of(phones: Sequence[Phone], join_s: float) -> list[tuple[float, float]]:
    """Where they are said without a pause of join_s or more, as (start, end) in seconds."""
    found: list[tuple[float, float]] = []
    for p in phones:
        if found and p.start_s - found[-1][1] < join_s:
            found[-1] = found[-1][0], max(found[-1][1], p.end_s)
        else:
            found.append((p.start_s, p.end_s))
    return found

"""What is proven of the masters that are delivered, for pages: a line for each, in a few columns. Compares nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dubbing.artifacts.proof import MasterProof, Proof
from dubbing.media import Check
from dubbing.shot_table import read_table
from dubbing.store import Store

__all__ = ["COLUMNS", "proof_lines", "proof_of"]

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "frames": ("frames", "times"),
    "pictures": ("pictures", "file"),
    "sound": ("sound", "samples", "the source's track"),
    "shape": ("picture",),
    "colour": ("colour tags",),
    "HDR": ("HDR metadata",),
    "timecode": ("timecode",),
    "captions": ("captions",),
    "subtitles": ("subtitles",),
    "chapters": ("chapters",),
    "tags": ("tags", "further pictures", "covers", "attachments", "data"),
}
"""The columns, and how the subjects of the checks in each begin."""


def proof_of(store: Store, home: Path) -> Proof | None:
    """The proof of those masters that a dub's table of shots belongs to; None where there is none. home: its folder."""
    try:
        table = home / "shots.parquet"
        about = read_table(store.read_bytes(table), store.shown(table)).schema.metadata or {}
    except FileNotFoundError:
        return None
    key = about.get(b"content", b"").decode()
    found = store.results(store.names(home, "proof-"))
    return next((Proof.of(told, f) for f, told in found.items() if told and told.get("master") == key), None)


def proof_lines(store: Store, home: Path) -> list[dict[str, Any]]:
    """A line for each master of a dub, none where nothing was compared: file, proven, cells (status, what is said of it
    and all of it, by `COLUMNS`; None where there is nothing of the kind) and sentence: what is wrong with it."""
    proof = proof_of(store, home)
    return [
        {
            "file": one.file, "proven": not one.differing, "sentence": one.sentence,
            "cells": [_cell(one, begins) for begins in COLUMNS.values()],
        }
        for one in (proof.masters if proof else ())
    ]  # fmt: skip


def _cell(one: MasterProof, begins: tuple[str, ...]) -> dict[str, str] | None:
    mine = [c for c in one.checks if c.what.startswith(begins) and not (begins == ("picture",) and c.what != "picture")]
    if not mine:
        return None
    status = _worst(mine)
    text = "; ".join(f"{c.what}: {c}" for c in mine)
    seen = one.pictures
    if begins[0] != "pictures" or status != "equal" or not seen:
        return {"status": status, "says": status, "detail": text}
    copied, worst = seen["copied"], seen["worst_db"]
    parts = [f"{copied} of {seen['compared']} copied"] if copied else []
    parts += ["every sample equal" if worst >= 99 else f"{seen['psnr_db']:.1f} dB, worst {worst:.1f} in frame "
              f"{seen['worst_frame']}"]  # fmt: skip
    return {"status": status, "says": "; ".join(parts), "detail": text}


def _worst(checks: Iterable[Check]) -> str:
    found = {c.status for c in checks}
    return next(s for s in ("differs", "not looked at", "equal") if s in found)

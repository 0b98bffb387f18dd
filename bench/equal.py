"""Whether two finished runs of one manifest gave the same: patches and masters byte for byte, tables value by value.

    python -m bench.equal OUT OTHER

A take is told by its shot, because its name is the key of what it was made of, which another version of the code
may make in another way; for the same reason `take` and `seconds` are left out of the tables, and columns that only
one of the two has are named. Exit code 1 where anything differs.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pyarrow.parquet as pq

_LEFT_OUT = {"take", "seconds"}


def main(one: Path, other: Path) -> int:
    """Print what differs; returns the exit code."""
    wrong: list[str] = []
    counts = {}
    for kind in ("patch", "master"):
        mine, theirs = _hashes(one, kind), _hashes(other, kind)
        counts[kind] = len(mine)
        wrong += [f"{kind} {name}" for name in sorted(mine.keys() | theirs) if mine.get(name) != theirs.get(name)]
    rows = 0
    for table in sorted(t for kind in ("shots", "faces") for t in one.rglob(f"{kind}.parquet")):
        name = table.relative_to(one)
        if not (other / name).exists():
            print(f"{name}: only one has it")
            continue
        a, b = pq.read_table(table), pq.read_table(other / name)
        for column in sorted({*a.column_names} ^ {*b.column_names}):
            print(f"{name}: only one has the column {column}")
        common = [c for c in a.column_names if c in b.column_names and c not in _LEFT_OUT]
        rows += a.num_rows
        wrong += [f"{name} column {c}" for c in common if not a[c].equals(b[c])]
    print(f"{counts['patch']} files of patches, {counts['master']} masters, {rows} rows: {len(wrong)} differ")
    print("".join(f"  {w}\n" for w in wrong), end="")
    return bool(wrong) or not rows


def _hashes(out: Path, kind: str) -> dict[str, str]:
    """sha256 of every file of a kind, by title, language, shot and name."""
    if kind == "patch":
        files = [f for name in ("patch.nut", "frames.parquet") for f in out.glob(f"*/*/takes/*/*/patch/*/{name}")]
        named = {"/".join([*f.relative_to(out).parts[:4], *f.parts[-2:]]): f for f in files}
    else:
        files = [f for f in out.glob("*/*/*.*") if f.suffix not in (".parquet", ".json") and f.is_file()]
        named = {str(f.relative_to(out)): f for f in files}
    return {name: hashlib.sha256(f.read_bytes()).hexdigest() for name, f in named.items()}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))

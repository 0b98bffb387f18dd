"""Where the clips of a source folder are and who speaks in them: LRS2, VoxCeleb2, a folder of clips, finished titles.

Files are listed by name only; none is opened but the lists of splits.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dubbing.dataset.shards import SPLITS
from dubbing.dataset.source import Source
from dubbing.dataset.titles import find_titles
from dubbing.errors import InputError, several
from dubbing.media import ENDINGS

__all__ = ["LAYOUTS", "Source", "Splits", "find", "layout_of"]

LAYOUTS = ("lrs2", "voxceleb2", "clips", "titles")
_LRS2, _VOX = ("main", "pretrain"), ("dev", "test", "mp4")
_LRS2_CLIP = re.compile(r"\d{5}\.mp4")
_VOX_ID = re.compile(r"id\d{5}")
_EXPECTED = (
    "expected: LRS2 (main|pretrain/SPEAKER/NNNNN.mp4 with NNNNN.txt beside), VoxCeleb2 (dev|test|mp4/idNNNNN/VIDEO/"
    "NNNNN.mp4), clips (films, or folders of them by speaker), or the --out folder of a finished `dub run`"
)


@dataclass(frozen=True)
class Splits:
    """Which speaker is held out: by a hash of the name, so that neither order nor newcomers move anyone.

    val, test: parts 0..1 of all speakers, about.
    """

    val: float = 0.05
    test: float = 0.05

    def of(self, speaker: str) -> str:
        """train, val or test."""
        place = int.from_bytes(hashlib.sha256(speaker.encode()).digest()[:6], "big") / 2**48
        return "test" if place < self.test else "val" if place < self.test + self.val else "train"

    def assign(self, sources: list[Source]) -> dict[str, str]:
        """The split of every speaker. A layout's own lists win; of a speaker in several, test, then val."""
        own: dict[str, set[str]] = {}
        for source in sources:
            own.setdefault(source.speaker, set()).update([source.split] if source.split else [])
        return {
            speaker: next((s for s in ("test", "val", "train") if s in said), None) or self.of(speaker)
            for speaker, said in own.items()
        }


def layout_of(folder: Path) -> str:
    """Which layout a folder has. Raises InputError: none that is known; no such folder."""
    if not folder.is_dir():
        what = "is a file, not a folder of clips" if folder.exists() else "is not there"
        raise InputError(f"{str(folder)!r} {what}; {_EXPECTED}.")
    if (folder / "run.json").is_file():
        return "titles"
    for name, has in (("lrs2", _lrs2), ("voxceleb2", _voxceleb2), ("clips", _clips)):
        if next(has(folder), None) is not None:
            return name
    raise InputError(f"{str(folder)!r} has no layout that is known: it holds {_held(folder)}; {_EXPECTED}.")


def find(folder: Path, layout: str = "auto") -> tuple[str, list[Source]]:
    """The layout of a folder, and its clips in the order of their ids; of finished titles see `titles.find_titles`.

    Raises InputError: no such folder, or it has not that layout.
    """
    known = layout_of(folder)
    layout = known if layout == "auto" else layout
    if layout == "titles":
        return layout, find_titles(folder)
    sources = sorted({"lrs2": _lrs2, "voxceleb2": _voxceleb2, "clips": _clips}[layout](folder), key=lambda s: s.id)
    if not sources:
        raise InputError(f"{str(folder)!r} has not the layout {layout}: it holds {_held(folder)}; {_EXPECTED}.")
    return layout, _named_apart(sources)


def _held(folder: Path) -> str:
    """`3 folders (a, b, c) and 2 files (.txt)`."""
    entries = sorted((e for e in os.scandir(folder) if not e.name.startswith(".")), key=lambda e: e.name)
    folders, files = [e.name for e in entries if e.is_dir()], [e.name for e in entries if e.is_file()]
    kinds = sorted({Path(n).suffix or n for n in files})
    parts = []
    if folders:
        rest = ", ..." if len(folders) > 3 else ""
        parts.append(f"{several(len(folders), 'folder')} ({', '.join(folders[:3])}{rest})")
    if files:
        parts.append(f"{several(len(files), 'file')} ({', '.join(kinds[:4])})")
    return " and ".join(parts) or "nothing"


def _lrs2(folder: Path) -> Iterator[Source]:
    """main|pretrain / SPEAKER / NNNNN.mp4 with its text beside; split as the lists beside them say, where there are."""
    lists = _lists(folder)
    for part in _LRS2:
        for speaker in _folders(folder / part):
            for path in sorted(speaker.iterdir()):
                if _LRS2_CLIP.fullmatch(path.name) and path.with_suffix(".txt").exists():
                    name = f"{speaker.name}/{path.stem}"
                    split = lists.get(name) if part == "main" else "train" if lists else None
                    yield Source(f"{part}/{name}", speaker.name, path, split)


def _lists(folder: Path) -> dict[str, str]:
    """SPEAKER/NNNNN -> split, from train.txt, val.txt and test.txt (the first word of a line)."""
    found: dict[str, str] = {}
    for split in SPLITS:
        path = folder / f"{split}.txt"
        if path.is_file():
            words = (line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
            found |= {w[0].removeprefix("main/").removesuffix(".mp4"): split for w in words if w}
    return found


def _voxceleb2(folder: Path) -> Iterator[Source]:
    """[dev|test|mp4[/mp4]] / idNNNNN / VIDEO / NNNNN.mp4; what lies in `test` is the test split."""
    homes = [folder, *(folder / a for a in _VOX), *(folder / a / "mp4" for a in ("dev", "test"))]
    for home in homes:
        for speaker in _folders(home):
            if _VOX_ID.fullmatch(speaker.name):
                for video in _folders(speaker):
                    for path in sorted(video.iterdir()):
                        if _LRS2_CLIP.fullmatch(path.name):
                            split = "test" if "test" in home.relative_to(folder).parts else None
                            yield Source(_id(path, folder), speaker.name, path, split)


def _clips(folder: Path) -> Iterator[Source]:
    """Films; the speaker is the folder below `folder` that they lie in, or, directly in it, their own name."""
    seen: set[str] = set()
    for home, inside, files in os.walk(folder, followlinks=True):
        if os.path.realpath(home) in seen:  # a link to a folder above it
            inside[:] = []
            continue
        seen.add(os.path.realpath(home))
        inside[:] = sorted(d for d in inside if not d.startswith("."))
        for name in sorted(files):
            path = Path(home) / name
            if path.suffix[1:].lower() in ENDINGS and not name.startswith("."):
                parts = path.relative_to(folder).parts
                yield Source(_id(path, folder), parts[0] if len(parts) > 1 else path.stem, path)


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] != ".") if folder.is_dir() else []


def _id(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _named_apart(sources: list[Source]) -> list[Source]:
    """Clips that differ by their ending only are named with it."""
    count = Counter(s.id for s in sources)
    return [
        s if count[s.id] == 1 else Source(s.id + s.path.suffix.replace(".", "_"), s.speaker, s.path, s.split)
        for s in sources
    ]

"""An output place at a URI, with a local mirror: the same store as a folder, for whoever uses it.

Tasks fill local folders. A commit uploads their files and, last, `result.json`, which lists them with their sizes and
checksums: a result is done exactly when that one object exists, and a reader takes what it lists. What a run is
interrupted in leaves no result.json, so it counts as nothing and is written over later. What is done is listed once,
at the start. The mirror lies in the scratch folder (`dubbing.store.scratch`): results that nobody uses go when the disk
fills, and all of it may be deleted while no run is under way.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dubbing.errors import DamagedResult, OutputError, StorageError
from dubbing.remote import Objects, Uri, at_once
from dubbing.store.contents import RESULT, Look, checksum, fault, listed, read_result
from dubbing.store.copies import folder_of, walked
from dubbing.store.folder import PART, Store, output_error, read_folder
from dubbing.store.lease import Lease, held
from dubbing.store.scratch import ENVIRONMENT, make_room, use

__all__ = ["RemoteStore"]

PROGRESS = ".progress.json"
MASTER = ".master.json"  # which result the published master is
LEFT_S = 24 * 3600.0  # a part that old belongs to nobody


class RemoteStore(Store):
    """One output place at a URI. `root` is its mirror on this machine."""

    lasting = False

    def __init__(self, uri: Uri, patience_s: float | None = None) -> None:
        super().__init__(folder_of(uri, "out") / (uri.name or "out"))
        self.uri = uri
        self._origin = str(self.root)
        self._objects = Objects(uri, patience_s)
        self._done: set[str] | None = None
        self._sizes: dict[str, int] = {}
        self._lease: Lease | None = None
        self._progress_sent = 0

    def __getstate__(self) -> dict[str, Any]:
        """For a worker: where things are, and nothing of what is done or held."""
        return {"uri": self.uri, "origin": self._origin, "copies": self.copies}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(state["uri"])  # type: ignore[misc]
        self._origin, self.copies = state["origin"], state["copies"]

    def shown(self, path: Path) -> str:
        return str(self.uri / self._name(path))

    @property
    def private(self) -> bool:
        return self.uri.scheme == "memory"

    # -- what is there -----------------------------------------------------------------------

    def done(self, folder: Path) -> bool:
        if self._done is None:
            end, self._sizes = f"/{RESULT}", self._objects.find()
            self._done = {name.removesuffix(end) for name in self._sizes if name.endswith(end)}
        return self._name(folder) in self._done

    def note(self, folder: Path) -> None:
        if self._done is not None:
            self._done.add(self._name(folder))

    def results(self, folders: Iterable[Path]) -> dict[Path, dict[str, Any] | None]:
        found: dict[Path, dict[str, Any] | None] = {}
        names = {}
        for folder in folders:
            if self.done(folder):
                try:
                    found[folder] = read_folder(folder)
                except (OSError, ValueError):  # it is not here, or what is here is damaged
                    names[self._name(folder / RESULT)] = folder
        for name, data in self._objects.read_many(names).items():
            found[names[name]] = _parsed(data)
        return found

    def fault(self, folder: Path, told: Mapping[str, Any], look: Look = "sizes") -> str | None:
        """As of a folder, by the listing of the beginning; contents are looked at, by loading them, where that is
        asked for, but not of a published master whose object's mark is what it was when it was published."""
        name = self._name(folder)
        try:
            files = listed(told)
        except ValueError as e:
            return f"is damaged: {e}"
        if not self.done(folder) or f"{name}/{RESULT}" not in self._sizes:
            return None  # not there, or made since the listing
        for file, (size, crc) in files.items():
            at, mark = f"{name}/{file}", None
            if at not in self._sizes:
                at, mark = self._published(at)
            if at not in self._sizes:
                return f"is not whole: {file} is missing"
            if self._sizes[at] != size:
                return f"is damaged: {file} has {self._sizes[at]} bytes instead of {size}"
            moved = look == "moved" and (mark is None or list(self._objects.stamp(at)) != mark)
            if crc is not None and (look == "all" or moved) and self._checksum(at) != crc:
                return f"is damaged: {file} no longer holds what was written into it"
        return None

    def _published(self, made: str) -> tuple[str, Any]:
        """The object that a master's file became when it was published, and the mark that it then had; its own name
        where it was not."""
        home = made.rpartition("/")[0].rpartition("/")[0]
        marks = self._marks(home)
        return (f"{home}/{made.rpartition('/')[2]}", marks[made]) if made in marks else (made, None)

    def _marks(self, home: str) -> dict[str, Any]:
        """What masters' files were called before they were published, and the marks that they then had."""
        with suppress(FileNotFoundError, ValueError, AttributeError):
            note = json.loads(self._objects.read(f"{home}/{MASTER}"))
            return {**note.get("others", {}), note.get("made", ""): note.get("mark")}
        return {}

    def _checksum(self, name: str) -> str:
        """Of an object, which is loaded for it."""
        self._make_mirror()
        part = self.root / f"{PART}{uuid.uuid4().hex[:8]}"
        try:
            self._objects.get(name, part)
            return checksum(part)
        finally:
            part.unlink(missing_ok=True)

    def read_bytes(self, path: Path) -> bytes:
        return self._objects.read(self._name(path))

    def find(self, folder: Path, name: str) -> set[Path]:
        found = self._objects.find(self._name(folder))
        return {self.root / n for n in found if n.rpartition("/")[2] == name}

    def names(self, folder: Path, beginning: str) -> list[Path]:
        return [folder / n for n in self._objects.children(self._name(folder)) if n.startswith(beginning)]

    # -- what a worker needs -----------------------------------------------------------------

    def bring(self, args: Mapping[str, Any], user: object = None) -> Mapping[str, Any]:
        """Results, and files inside one by the name of the file: names of results hold no dot.

        Raises OutputError when a result that was there is no longer.
        """
        wanted: dict[str, Path] = {}

        def here(text: str) -> str:
            path = self.here(Path(text)) if text.startswith(self._origin + os.sep) else None
            if path is None:
                return self.copies.bring(text, user)
            wanted[str(path)] = path.parent if path.suffix else path
            return str(path)

        changed = walked(args, here)
        use(wanted.values(), user)
        missing = [p for p in dict.fromkeys(wanted.values()) if not p.exists()]
        if missing:
            make_room()
        at_once(self._download, missing)
        return dict(changed)

    def tidy(self) -> None:
        """The driver's `sweep` does not reach other machines: there, parts go when they are a day old."""
        for left in self.root.rglob(f"{PART}*"):
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > LEFT_S:
                    shutil.rmtree(left) if left.is_dir() else left.unlink()

    def here(self, folder: Path) -> Path:
        text = str(folder)
        if text.startswith(self._origin + os.sep):
            return self.root / text[len(self._origin) + 1 :]
        return folder

    def there(self, folder: Path) -> Path:
        return Path(self._origin) / folder.relative_to(self.root)

    def whole(self, folder: Path) -> None:
        """A mirrored result that is damaged is loaded again first."""
        try:
            super().whole(folder)
        except DamagedResult:
            shutil.rmtree(folder, ignore_errors=True)
            self._download(folder)

    def _download(self, folder: Path) -> None:
        """One result from the place into the mirror: whole or not at all."""
        name, shown = self._name(folder), self.shown(folder)
        try:
            with self._filled(folder) as part:
                data = self._objects.read(f"{name}/{RESULT}")
                told = _parsed(data)
                if told is None:
                    raise DamagedResult(f"{shown!r} is damaged: {RESULT}", folder)
                for file in listed(told):
                    target = part / file
                    target.parent.mkdir(parents=True, exist_ok=True)
                    self._get(f"{name}/{file}", target)
                if problem := fault(part, told, "all"):
                    raise DamagedResult(f"{shown!r} {problem}", folder)
                (part / RESULT).write_bytes(data)
        except FileNotFoundError as e:
            raise DamagedResult(f"{shown!r} is not whole: files of it are missing", folder) from e

    def _get(self, name: str, target: Path) -> None:
        """Load a file of a result; one that was published lies under its final name only."""
        try:
            self._objects.get(name, target)
        except FileNotFoundError:
            at, _ = self._published(name)
            if at == name:
                raise
            self._objects.get(at, target)

    # -- writing -----------------------------------------------------------------------------

    def _send(self, part: Path, final: Path) -> None:
        """Upload it, result.json last. Raises StorageError."""
        name = self._name(final)
        files = [str(p.relative_to(part)) for p in sorted(part.rglob("*")) if p.is_file() and p != part / RESULT]
        at_once(lambda f: self._objects.put(f"{name}/{f}", part / f), files)
        self._objects.write(f"{name}/{RESULT}", (part / RESULT).read_bytes())
        make_room()

    def write_bytes(self, path: Path, data: bytes) -> None:
        """Atomic, here and there; what lies in a folder that is being filled goes with its commit."""
        super().write_bytes(path, data)
        if not any(p.startswith(PART) for p in path.relative_to(self.root).parts):
            if self._lease is not None:
                self._lease.check()
            self._objects.write(self._name(path), data)

    def remove(self, folder: Path) -> None:
        """Its result.json first."""
        name = self._name(folder)
        for left in (f"{name}/{RESULT}", *self._objects.find(name)):
            self._objects.remove(left)
            self._sizes.pop(left, None)
        if self._done is not None:
            self._done.discard(name)
        super().remove(folder)

    def publish(self, made: Path, final: Path) -> None:
        """Give a file of a result its final name, by a copy inside the place, and remove the results that
        this one follows. The object itself then lies under the final name only.

        Raises OutputError when neither is there any more.
        """
        if self._lease is not None:
            self._lease.check()
        home, source = self._name(final.parent), self._name(made)
        names = self._objects.find(home)
        marks = self._marks(home)
        published = source in marks and self._name(final) in names
        if published and source not in names:  # else it was made again, or a run was killed at the end of this
            self._retire(made.parent, names)
            return
        if source not in names:
            self._objects.remove(self._name(made.parent / RESULT))  # so that the next run makes it
            self._done = None
            shutil.rmtree(made.parent, ignore_errors=True)
            raise OutputError(f"{self.shown(final)!r} was removed; run the same command again to make it anew.")
        self._objects.copy(source, self._name(final))
        mark = self._objects.stamp(self._name(final))
        own = source.rpartition("/")[0] + "/"
        stem = own.rpartition("-")[0] + "-"  # of results that this one follows
        others = {
            name: was for name, was in marks.items()
            if name.rpartition("/")[2] != final.name and (name.startswith(own) or not name.startswith(stem))
        }  # fmt: skip
        note = {"made": source, "mark": mark} | ({"others": others} if others else {})
        self._objects.write(f"{home}/{MASTER}", json.dumps(note).encode())
        self._objects.remove(source)
        self._retire(made.parent, names)

    def retire(self, folder: Path) -> None:
        """As of a folder."""
        self._retire(folder, self._objects.find(self._name(folder.parent)))

    def retract(self, final: Path) -> None:
        """As of a folder."""
        if self._name(final) in self._objects.find(self._name(final.parent)):
            self._objects.remove(self._name(final))
        super().retract(final)

    def _retire(self, folder: Path, names: Mapping[str, int]) -> None:
        """Remove the results beside `folder` that differ from it by their key only: result.json first."""
        kept = self._name(folder) + "/"
        stem = kept.rpartition("-")[0] + "-"
        old = [n for n in names if n.startswith(stem) and not n.startswith(kept)]
        for name in sorted(old, key=lambda n: not n.endswith(f"/{RESULT}")):
            self._objects.remove(name)
            if self._done is not None:
                self._done.discard(name.removesuffix(f"/{RESULT}"))
        for path in {self.root / "/".join(n.split("/")[: kept.count("/")]) for n in old}:
            shutil.rmtree(path, ignore_errors=True)

    # -- one run at a time -------------------------------------------------------------------

    def check(self) -> None:
        self._make_mirror()
        self._objects.writable()

    def held(self) -> bool:
        return held(self._objects)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold this place alone, by a lease. Raises OutputError when another run holds it."""
        self._make_mirror()
        lease = Lease(self._objects, self._send_progress)
        lease.take()
        self._lease = lease
        try:
            yield
        finally:
            self._lease = None
            lease.release()
            if not lease.lost:
                with suppress(StorageError):
                    Objects(self.uri, patience_s=5.0).remove(PROGRESS)

    def sweep(self) -> int:
        """Also forgets what was listed: the lease is ours from here on."""
        self._done = None
        return super().sweep()

    def _send_progress(self) -> None:
        """The figures that a display leaves in the mirror, for `dub status` elsewhere."""
        with suppress(FileNotFoundError):
            file = self.root / PROGRESS
            changed = file.stat().st_mtime_ns
            if changed != self._progress_sent:
                Objects(self.uri, patience_s=5.0).write(PROGRESS, file.read_bytes())
                self._progress_sent = changed

    # -- names -------------------------------------------------------------------------------

    def _make_mirror(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise OutputError(f"{output_error(self.root, e)} ({ENVIRONMENT} names the folder for copies.)") from e

    def _name(self, path: Path) -> str:
        """A path of the mirror as the name of its object."""
        return path.relative_to(self.root).as_posix()


def _parsed(data: bytes) -> dict[str, Any] | None:
    try:
        return read_result(data)
    except ValueError:
        return None

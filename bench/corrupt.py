"""Damage every file of a finished run in four ways, run again, and say what became of each.

    python -m bench.corrupt [--film short|demo] [--s3] [--only RULE|cost]

The film is made, and dubbed by the local engine. Then, again and again, a copy of the output is damaged: a file is cut
to half, one bit of it is flipped (with the times of the file as they were), it is emptied, or removed. Many files are
damaged at once, but never two of one result, so that each one's fate can be told: afterwards the file is what it was
(healed), or the run said why it stopped, or it is still damaged. In that case either nothing that is delivered differs
(not read), or something does (used). Rules say what else is removed, so that what is damaged must be read:

    as it is      nothing else
    analysis      everything that is made of shots, faces and sounds
    people        everything that is made of speakers and actors
    takes         everything that is made of takes
    seen          the same, and what is damaged is what was seen of takes while they were rendered

The undisturbed run is measured: how much of its time went into lists, checksums and waiting for the disk.

After each, the same is run with `--verify`, which must heal what is left. Exit code 1 where anything was used, crashed,
was healed without being named, or was not healed by `--verify`. At a URI a result without result.json needs no name: it
is one that was never finished.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import sys
import tempfile
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from dubbing import config, demo, manifest
from dubbing.engine import Event, run_job
from dubbing.errors import DubError
from dubbing.job import Job
from dubbing.remote import Objects, Uri, forget_connections
from dubbing.shot_table import read_rows
from dubbing.store import RESULT, folder
from dubbing.task import Inputs

__all__ = ["DAMAGES", "RULES", "Bucket", "Folder", "Place", "damaged", "fates", "main", "rounds"]

DAMAGES = ("cut", "flipped", "emptied", "removed")
_ANALYSIS, _PEOPLE = (
    r"/analysis/(shots|faces|sound)|/sound-",
    r"/analysis/(active|descriptors|people|cast|speakers|actors)",
)
_TAKES, _SCORES, _MASTERS = r"/patch/", r"/score-", r"/master-|/\.master\.json"
_SEEN = r"(seen\.npz|sheet\.jpg)$"
RULES = {  # which files are damaged, and which are removed
    "as it is": (r"", None),
    "analysis": (_ANALYSIS, f"{_PEOPLE}|{_TAKES}|{_SCORES}|{_MASTERS}"),
    "people": (_PEOPLE, f"{_TAKES}|{_SCORES}|{_MASTERS}"),
    "takes": (rf"{_TAKES}(?!.*{_SEEN})", f"{_SCORES}|{_MASTERS}"),
    "seen": (rf"{_TAKES}.*{_SEEN}", f"{_SCORES}|{_MASTERS}"),
}
_PASSING = re.compile(r"(^|/)\.(lock|lease\.json|progress\.json)$")  # nothing of a finished run
_OWN = re.compile(r"\.(contents|sounds)\.json$|run\.json$")  # times and stamps, which differ by run
_SPENT = ("seconds", "cpu_s", "check", "files")


class Place(Protocol):
    """Where a run writes."""

    @property
    def out(self) -> Path | Uri:
        """The output folder."""
        ...

    def files(self) -> dict[str, bytes]:
        """Everything there: name -> content."""
        ...

    def put(self, files: Mapping[str, bytes]) -> None:
        """Exactly these files, and nothing else."""
        ...

    def write(self, name: str, data: bytes | None) -> None:
        """Another content in place of a file's, or no such file."""
        ...


class Folder:
    """A folder of this machine. A published master is the same file as its result's, as a run leaves it."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def files(self) -> dict[str, bytes]:
        return {p.relative_to(self.out).as_posix(): p.read_bytes() for p in self.out.rglob("*") if p.is_file()}

    def put(self, files: Mapping[str, bytes]) -> None:
        for path in sorted(self.out.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        for name, data in files.items():
            path = self.out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        for made in self.out.glob("*/*/master-*/*"):
            if made.name != RESULT:
                made.parents[1].joinpath(made.name).unlink(missing_ok=True)
                os.link(made, made.parents[1] / made.name)

    def write(self, name: str, data: bytes | None) -> None:
        path = self.out / name
        if data is None:
            return path.unlink()
        before = path.stat()
        with path.open("r+b") as f:  # in place: all of its names show it
            f.truncate(len(data))
            f.write(data)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


class Bucket:
    """A folder of objects. Each run is on a machine that has nothing yet."""

    def __init__(self, uri: Uri, scratch: Path) -> None:
        self.out, self._objects, self._scratch, self._runs = uri, Objects(uri), scratch, 0

    def files(self) -> dict[str, bytes]:
        return self._objects.read_many(self._objects.find())

    def put(self, files: Mapping[str, bytes]) -> None:
        self._elsewhere()
        for name in self._objects.find().keys() - files.keys():
            self._objects.remove(name)
        for name, data in files.items():
            self._objects.write(name, data)

    def write(self, name: str, data: bytes | None) -> None:
        self._elsewhere()
        self._objects.remove(name) if data is None else self._objects.write(name, data)

    def _elsewhere(self) -> None:
        self._runs += 1
        os.environ["DUB_SCRATCH"] = str(self._scratch / str(self._runs))


def damaged(data: bytes, how: str, name: str) -> bytes | None:
    """The content of a damaged file; None where it is removed. Which bit is flipped follows from the name."""
    if how == "removed":
        return None
    if how == "emptied" or not data:
        return b""
    if how == "cut":
        return data[: len(data) // 2]
    at = zlib.crc32(name.encode()) % (8 * len(data))
    return data[: at // 8] + bytes([data[at // 8] ^ (1 << at % 8)]) + data[at // 8 + 1 :]


def rounds(names: Sequence[str], whole: Mapping[str, bytes]) -> list[list[str]]:
    """Names of files, sorted into sets of which none has two of one result, or of one folder outside of results."""
    by_result: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        by_result[result_of(whole, name) or name.rpartition("/")[0]].append(name)
    most = max((len(of) for of in by_result.values()), default=0)
    return [[of[n] for of in by_result.values() if n < len(of)] for n in range(most)]


def told(files: Mapping[str, bytes], name: str) -> Any:
    """What a file says, without what differs from run to run; None where it is not there, or says nothing."""
    data = files.get(name)
    if data is None:
        return None
    try:
        if name.endswith(RESULT):
            return {k: v for k, v in json.loads(data).items() if k not in _SPENT}
        if _OWN.search(name):
            return isinstance(json.loads(data), dict) or None
        if name.endswith("shots.parquet"):
            return [{k: v for k, v in row.items() if k != "seconds"} for row in read_rows(data)]
        if name.endswith(".master.json"):
            return json.loads(data)["made"]
    except (ValueError, KeyError, AttributeError, DubError):
        return None
    return data


def delivered(files: Mapping[str, bytes]) -> dict[str, Any]:
    """What people take away: masters and tables."""
    return {n: told(files, n) for n in files if n.count("/") == 2 and "/." not in n}


def fates(
    place: Place, job: Path | str, whole: Mapping[str, bytes], names: Sequence[str], how: str | Sequence[str],
    gone: str | None = None, verify: bool = False,
) -> dict[str, str]:  # fmt: skip
    """Damage these files of a finished run, run it again, and say what became of each: name -> healed, healed unnamed,
    not read, used, stopped, crashed. how: the damage of all of them, or of each; gone: a pattern of files that are
    removed besides."""
    hows = dict(zip(names, [how] * len(names) if isinstance(how, str) else how, strict=True))
    there = {n: d for n, d in whole.items() if not (gone and re.search(gone, n))}
    place.put(there)
    for name in names:
        place.write(name, damaged(whole[name], hows[name], name))
    said: list[str] = []
    try:
        work = Job(manifest.load(job), place.out, config.load())
        work.verifies = verify
        report = run_job(work, "local", lambda e: said.append(text_of(e)))
        ended = "crashed" if report.counts.get("failed") or report.exit_code == 1 else ""
    except DubError as e:
        said.append(str(e))
        ended = "stopped"
    except Exception as e:
        said.append(f"{type(e).__name__}: {e}")
        ended = "crashed"
    after = place.files()
    if ended:
        print("  " + " | ".join(said[-3:]), file=sys.stderr)
    same = delivered(after) == delivered(whole)
    found = {}
    for name in names:
        if ended:
            found[name] = ended
        elif told(after, name) == told(whole, name):
            result = result_of(whole, name)
            unfinished = hows[name] == "removed" and name.endswith(RESULT) and isinstance(place.out, Uri)
            named = not result or unfinished or any(f"{result}'" in line for line in said)
            found[name] = "healed" if named else "healed unnamed"
        else:
            found[name] = "not read" if same else "used"
    return found


def result_of(files: Mapping[str, bytes], name: str) -> str:
    """The folder of the result that a file belongs to; empty where it belongs to none."""
    home = name.rpartition("/")[0]
    while home and f"{home}/{RESULT}" not in files:
        home = home.rpartition("/")[0]
    return home


def text_of(event: Event) -> str:
    """What an event says to people."""
    return event.text if event.kind in ("message", "failed") else ""


def kind_of(name: str) -> str:
    """`analysis/faces/tracks.npz` of `film/analysis/faces/shot_0001-0123456789ab/tracks.npz`."""
    parts = name.split("/")[1:] or [name]
    if len(parts) > 1 and parts[0] != "analysis":
        parts[0] = "dub"
    text = re.sub(r"shot_\d+(-[0-9a-f]{12})?/|[0-9a-f]{12}/(?=patch|score)|-[0-9a-f]{12}", "", "/".join(parts))
    return re.sub(r"face_\d+", "face", re.sub(r"[\w-]+\.\w+\.(mp4|mov|mkv)$", r"master.\1", text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--film", choices=["short", "demo"], default="demo")
    parser.add_argument("--s3", action="store_true", help="write to a real S3 endpoint on loopback (moto)")
    parser.add_argument("--only", choices=[*RULES, "cost"], help="one rule instead of all")
    args = parser.parse_args()
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dub-corrupt-")))
        os.environ["DUB_HISTORY"] = str(work / "history.jsonl")
        if args.film == "short":
            job = demo.make_demo(work / "film", scenes=demo.SHORT, size=(480, 270))
        else:
            job = demo.make_demo(work / "film")
        place: Place = Folder(work / "out")
        if args.s3:
            place = Bucket(bucket(stack), work / "scratch")
        place.put({})
        began = time.monotonic()
        with measured() as cost:
            run_job(Job(manifest.load(job), place.out, config.load()), "local", lambda e: None)
        whole = {n: d for n, d in place.files().items() if not _PASSING.search(n)}
        size_mb, lasted_s = sum(map(len, whole.values())) / 1e6, time.monotonic() - began
        print(f"{len(whole)} files, {size_mb:.1f} MB; made in {lasted_s:.0f} s")
        parts = ", ".join(f"{name} {1e3 * spent:.0f} ms" for name, spent in cost.items())
        print(f"checking took {sum(cost.values()) / lasted_s:.2%} of it: {parts}")
        bad = False
        for rule in [r for r in RULES if args.only in (None, r)]:
            bad = shown(rule, place, job, whole) or bad
    sys.exit(1 if bad else 0)


@contextmanager
def measured() -> Iterator[dict[str, float]]:
    """Seconds spent meanwhile, in this process, on what makes results trusted."""
    spent: dict[str, float] = {}
    own = {"lists and waiting for the disk": (folder, "seal"), "names on the disk": (folder, "sync"),
           "reading results": (folder, "fault"), "looking at inputs": (Inputs, "changed")}  # fmt: skip
    with ExitStack() as stack:
        for what, (owner, name) in own.items():
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, timed(getattr(owner, name), what, spent))
        yield spent


def timed(call: Callable[..., Any], what: str, spent: dict[str, float]) -> Callable[..., Any]:
    """The same call, with its seconds added to what was spent."""

    def timed_call(*args: Any) -> Any:
        began = time.perf_counter()
        try:
            return call(*args)
        finally:
            spent[what] = spent.get(what, 0.0) + time.perf_counter() - began

    return timed_call


def shown(rule: str, place: Place, job: Path, whole: Mapping[str, bytes]) -> bool:
    """One rule's table. Returns whether anything in it must not be."""
    which, gone = RULES[rule]
    names = [n for n in whole if re.search(which, n) and not (gone and re.search(gone, n))]
    table: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for how in DAMAGES:
        for some in rounds(names, whole):
            found = fates(place, job, whole, some, how, gone)
            left = [n for n, fate in found.items() if fate == "not read"]
            later = fates(place, job, whole, left, how, gone, verify=True) if left else {}
            for name, fate in found.items():
                then = f", with --verify {later[name]}" if name in later else ""
                table[kind_of(name), how][fate + then] += 1
    print(f"\n{rule}: {len(names)} files")
    total: Counter[str] = Counter()
    for (kind, how), count in sorted(table.items()):
        total += count
        print(f"  {kind:45} {how:8} " + "; ".join(f"{n} {text}" for text, n in count.items()))
    print(f"  {'all':54} " + "; ".join(f"{n} {text}" for text, n in total.most_common()), flush=True)
    return any(text not in ("healed", "not read, with --verify healed") for text in total)


def bucket(stack: ExitStack) -> Uri:
    """An empty bucket on loopback, with the environment that reaches it."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    stack.callback(server.stop)
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    boto3.client("s3").create_bucket(Bucket="films")
    forget_connections()
    return Uri("s3://films/out")


if __name__ == "__main__":
    main()

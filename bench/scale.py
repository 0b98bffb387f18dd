"""What a catalogue costs on clusters, worked out from the table that `bench.cost --json` writes: docs/scale.md.

    python -m bench.scale [COSTS.json] [--page docs/scale.md] [--megapixels 2.07] [--source-kb 1100] [--share 0.4]
        [--titles 1000] [--languages 10] [--minutes 110] [--rate 24] [--shots 2000] [--machines 1 8 64] [--cores 16]
        [--use 0.95] [--machine-price 0.7] [--storage-price 20] [--person-price 40] [--look-s 20] ...

Prints the tables; --page puts them in place of those of the page, between its marks, so that the page holds what this
prints. Costs go to another picture size by the proportions in dubbing/estimate/costs.py, bytes by the area. What is an
option with a default is an assumption, (a) on the page; all else was measured on the run that the table is of, or
follows. COSTS.json: default: the committed table of the reel.
"""

from __future__ import annotations

import argparse
import json
import pickle
import re
import time
import tracemalloc
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.simulated import PER_DUB, spent_by_stage
from dubbing import estimate, media
from dubbing.config import Config
from dubbing.estimate.costs import MIX, Work
from dubbing.job import Job
from dubbing.manifest import Manifest
from dubbing.shot_table import read_rows
from dubbing.store import read_json
from dubbing.task import Outcome, Task

COSTS = Path(__file__).with_name("costs.json")
GB = 1e9


@dataclass(frozen=True)
class Seen:
    """One run. cost_s: stage -> processor seconds a frame of film, at the run's own share and size; once_s: of decoding
    and encoding it once; first_s, further_s: of all that the first and a further language cost; bytes_: what -> bytes a
    frame (patches: a dubbed one); files: per shot and language; review: share of its dubbed shots that a person should
    look at; task_bytes, pickled_bytes, plan_s: per task."""

    frames: int
    share: float
    faces: float
    face_share: float
    megapixels: float
    once_s: float
    first_s: float
    further_s: float
    cost_s: Mapping[str, float]
    bytes_: Mapping[str, float]
    files: float
    review: float
    task_bytes: float
    pickled_bytes: float
    plan_s: float

    @classmethod
    def read(cls, path: Path) -> Seen:
        """From what `bench.cost --json` wrote."""
        told = json.loads(path.read_text(encoding="utf-8"))
        if "run" not in told:
            raise SystemExit(f"{path} says nothing of the run: it was written by an earlier bench.cost; write it anew.")
        first, *more = told["languages"].values()
        further, frames = (more or [first])[0]["stages"], told["frames"]
        cost_s = {stage: seconds / frames for stage, (seconds, _) in spent_by_stage(told).items() if stage in MIX}
        first_s, further_s = (sum(s["s"] for s in stages.values()) / frames for stages in (first["stages"], further))
        return cls(frames, first["rendered"] / frames, once_s=told["once_s"] / frames, first_s=first_s,
                   further_s=further_s, cost_s=cost_s, **told["run"])  # fmt: skip


def look(run: Path) -> dict[str, Any]:
    """What a finished run of one title says, for `Seen`, of all but time."""
    told = read_json(run / "run.json")
    job = Job(Manifest.model_validate(told["manifest"]), run, Config.model_validate(told["config"]))
    job.tasks()  # the first time reads the results, as a run does once
    began = time.process_time()
    tasks = job.tasks()
    plan_s = (time.process_time() - began) / len(tasks)
    measured = estimate.measure(job, told["engine"])
    title, found = job.manifest.titles[0], measured.titles[0]
    if len(measured.titles) > 1 or "master" not in found or not found["lipsync"].work.frames:
        raise SystemExit(f"{run} must be a finished run of one title, made by this version, with a dubbed shot.")
    languages, frames = len(title.dubs), found["shots"].frames
    width, height = media.probe(title.video).upright_size
    dubbed = found["lipsync"].work.frames / languages
    sizes: Counter[str] = Counter()
    files = 0
    for path in (run / title.id).rglob("*"):
        if path.is_file() and not path.name.endswith(tuple(f"{title.id}.{d.language}.mp4" for d in title.dubs)):
            parts = path.relative_to(run / title.id).parts
            kind = "analysis" if parts[0] == "analysis" else "patches" if "patch" in parts else "scores and tables"
            sizes[kind] += path.stat().st_size
            files += kind != "analysis"
    masters = sum(
        next((run / title.id / d.language).glob(f"{title.id}.{d.language}.*")).stat().st_size for d in title.dubs
    )
    bytes_ = {"source": Path(title.video).stat().st_size / frames, "analysis": sizes["analysis"] / frames,
              "patches": sizes["patches"] / dubbed / languages,
              "scores and tables": sizes["scores and tables"] / frames / languages,
              "masters": masters / frames / languages}  # fmt: skip
    rows = [row for d in title.dubs for row in read_rows(run / title.id / d.language / "shots.parquet")]
    shown = [bool(row["needs_review"]) for row in rows if row["status"] == "dubbed"]
    lips = found["lipsync"].work
    pickled = sum(len(pickle.dumps(t)) + len(pickle.dumps(Outcome(t.id, 1.0))) for t in tasks) / len(tasks)
    return {
        "faces": found["faces"].work.faces / frames, "face_share": lips.face_area / lips.area,
        "megapixels": width * height / 1e6, "bytes_": bytes_, "files": files / languages / found["faces"].tasks,
        "review": sum(shown) / len(shown), "task_bytes": held(tasks), "pickled_bytes": pickled, "plan_s": plan_s,
    }  # fmt: skip


def held(tasks: list[Task]) -> float:
    """Bytes of memory that one task of the plan holds (copies of real ones, a feature's worth)."""
    frozen = pickle.dumps(tasks)
    tracemalloc.start()
    kept = [pickle.loads(frozen) for _ in range(20)]
    total, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return total / len(kept) / len(tasks)


def priced(seen: Seen, size: float, share: float) -> dict[str, float]:
    """stage -> processor seconds a frame of film, at another picture size and share of dubbed frames."""

    def reference(stage: str, megapixels: float, part: float) -> float:
        if stage in ("lipsync", "sync"):
            work = Work(part, part * megapixels, part, part * megapixels * seen.face_share)
        else:
            work = Work(1.0, megapixels, part if stage in ("master", "proof") else seen.faces)
        return work.reference_s(stage)

    return {
        s: v * reference(s, size, share) / reference(s, seen.megapixels, seen.share) for s, v in seen.cost_s.items()
    }


def title_hours(cost: Mapping[str, float], frames: int, languages: int) -> float:
    """Core-hours of one title in so many languages."""
    return sum(v * frames * (languages if s in PER_DUB else 1) for s, v in cost.items()) / 3600


def table(heads: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """Markdown."""
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


@dataclass(frozen=True)
class Catalogue:
    """All that is worked out, as texts of the page by their names."""

    seen: Seen
    args: argparse.Namespace

    @property
    def frames(self) -> int:
        return round(self.args.minutes * 60 * self.args.rate)

    @property
    def share(self) -> float:
        return float(self.args.share if self.args.share is not None else self.seen.share)

    @property
    def size(self) -> float:
        return float(self.args.megapixels or self.seen.megapixels)

    @property
    def cost(self) -> dict[str, float]:
        return priced(self.seen, self.size, self.share)

    @property
    def hours(self) -> float:
        """Core-hours of a title."""
        return title_hours(self.cost, self.frames, self.args.languages)

    @property
    def tasks(self) -> int:
        """Of a title: three of the analysis and two of each language a shot, windows of masters and proofs of 14 s."""
        windows = 2 * self.frames / self.args.rate / 14
        return round(self.args.shots * (3 + 2 * self.args.languages) + self.args.languages * (windows + 4) + 6)

    def texts(self) -> dict[str, str]:
        """Name of a place on the page -> what stands there."""
        return {"basis": self.basis(), "work": self.work(), "storage": self.storage(), "clusters": self.clusters(),
                "limits": self.limits()}  # fmt: skip

    def basis(self) -> str:
        seen, a = self.seen, self.args
        first, further = seen.first_s / seen.once_s, seen.further_s / seen.once_s
        return (
            f"Measured on {seen.frames:,} frames of {seen.megapixels:.2f} megapixels, {seen.share:.0%} of them "
            f"re-rendered: the first language costs {first:.2f} times what decoding and encoding the film once costs "
            f"({1000 * seen.once_s:.1f} ms a frame on one core), a further one {further:.2f} times.\n\n"
            f"Worked out for features of {a.minutes:g} minutes at {a.rate:g} frames a second ({self.frames:,} frames), "
            f"{a.shots:,} shots, {self.size:.2f} megapixels, {self.share:.0%} of their frames re-rendered, from "
            f"sources of {self.source / 1000:,.0f} KB a frame, in {a.languages} languages; {a.titles:,} of them."
        )

    @property
    def source(self) -> float:
        """Bytes a frame of the source."""
        kb = self.args.source_kb
        return float(kb * 1000 if kb else self.seen.bytes_["source"] * self.size / self.seen.megapixels)

    def work(self) -> str:
        rows: list[tuple[Any, ...]] = []
        for stage in MIX:
            if stage in self.cost:
                times = self.args.languages if stage in PER_DUB else 1
                rows.append((stage, f"{1000 * self.seen.cost_s[stage]:.2f}", f"{1000 * self.cost[stage]:.2f}", times,
                             f"{self.cost[stage] * self.frames * times / 3600:.1f}"))  # fmt: skip
        rows.append(("together", "", "", "", f"{self.hours:.1f}"))
        heads = ("stage", "measured, ms a frame of film", "worked out, ms", "times per title", "core-hours per title")
        return table(heads, rows)

    def moved(self) -> list[tuple[str, float, float, float]]:
        """What, bytes a frame of film, how often it is written for a title, how often read."""
        seen, n, grows = self.seen, self.args.languages, self.size / self.seen.megapixels
        return [
            ("source", self.source, 0.0, 3 + n * (1 + self.share)),
            ("analysis", seen.bytes_["analysis"], 1.0, 2 * n),
            ("patches", seen.bytes_["patches"] * grows * self.share, n, 3 * n),
            ("scores, sheets, tables, sound", seen.bytes_["scores and tables"], n, n),
            ("masters", seen.bytes_["masters"] * grows, n, n),
        ]

    def kept_gb(self) -> float:
        """Of a title."""
        return sum(b * w for _, b, w, _ in self.moved()) * self.frames / GB

    def read_gb(self) -> float:
        """Of a title."""
        return sum(b * r for _, b, _, r in self.moved()) * self.frames / GB

    def storage(self) -> str:
        def row(what: str, bytes_: float, written: float, read: float) -> tuple[str, ...]:
            gb = bytes_ * self.frames / GB
            return what, f"{bytes_ / 1000:.1f}", f"{gb * written:,.1f}", f"{gb * read:,.1f}"

        rows: list[tuple[Any, ...]] = [row(*one) for one in self.moved()]
        rows.append(("together", "", f"{self.kept_gb():,.0f}", f"{self.read_gb():,.0f}"))
        made = table(("what", "KB a frame of film", "GB written per title", "GB read per title"), rows)
        files = self.seen.files * self.args.shots * self.args.languages
        return (
            f"{made}\n\nThe catalogue is {self.kept_gb() * self.args.titles / 1000:,.0f} TB of results and "
            f"{files * self.args.titles / 1e6:,.0f} million files ({self.seen.files:.1f} for a shot in a language); "
            f"{self.read_gb() * self.args.titles / 1000:,.0f} TB are read."
        )

    def seconds(self, machines: int) -> float:
        """Of the whole catalogue on so many machines."""
        return self.args.titles * self.hours * 3600 / (machines * self.args.cores * self.args.use)

    def reviewing(self) -> float:
        """Hours of people for a title: every shot that says it needs one, for as long as a look takes."""
        shown = self.share * self.args.shots * self.args.languages * self.seen.review
        return shown * self.args.look_s / 3600

    def clusters(self) -> str:
        a, rows = self.args, list[tuple[Any, ...]]()
        for machines in a.machines:
            hours = self.seconds(machines) / 3600
            money = hours * machines * a.machine_price
            rows.append((machines, machines * a.cores, f"{hours:,.0f}", f"{hours / 24:,.1f}",
                         f"{24 * a.titles / hours:,.1f}", f"{money:,.0f}"))  # fmt: skip
        made = table(
            ("machines", "cores", "hours for the catalogue", "days", "titles a day", "money for machines"), rows
        )
        whole = self.hours * a.titles / a.cores / a.use * a.machine_price
        disk = self.kept_gb() * a.titles / 1000 * a.storage_price
        people, share = self.reviewing() * a.titles, f"{self.seen.review:.0%}"
        return (
            f"{made}\n\nA title costs {self.hours:.0f} core-hours, {whole / a.titles:.2f} in money, "
            f"{whole / a.titles / a.languages:.2f} a language. What is kept costs {disk:,.0f} a month. People look at "
            f"the {share} of the dubbed shots that say they need one (as on the film that was measured), {a.look_s:g} "
            f"s each: {self.reviewing():.0f} hours a title, {people:,.0f} in all, {people * a.person_price:,.0f} in "
            "money."
        )

    def limits(self) -> str:
        """What is asked for over what there is, by machines; the largest of each is what breaks first."""
        a = self.args
        chain_s = sum(
            self.cost.get(s, 0.0) * self.frames for s in ("shots", "source_audio", "people", "speakers", "actors")
        )
        rows: list[tuple[Any, ...]] = []
        names: dict[str, list[float]] = {}
        shown: dict[str, list[str]] = {}

        def add(what: str, asked: float, there: float, text: str) -> None:
            names.setdefault(what, []).append(asked / there)
            shown.setdefault(what, []).append(text)

        for machines in a.machines:
            seconds, cores = self.seconds(machines), machines * a.cores
            read = (self.read_gb() + self.kept_gb()) * a.titles / seconds
            rate, at_once = self.tasks * a.titles / seconds, max(1.0, chain_s * cores / (self.hours * 3600) + 1)
            add(f"storage, of {a.storage_gbs:g} GB/s", read, a.storage_gbs, f"{read:.1f} GB/s")
            add(f"a machine's network, of {a.network_gbs:g} GB/s", read / machines, a.network_gbs,
                f"{read / machines:.2f} GB/s")  # fmt: skip
            scratch = at_once * (self.source * self.frames / GB + self.kept_gb() / a.languages)
            add(f"a machine's disk, of {a.disk_gb:,.0f} GB", scratch, a.disk_gb, f"{scratch:,.0f} GB")
            memory = at_once * self.tasks * 2 * self.seen.task_bytes / GB
            add(f"memory of the driver, of {a.memory_gb:g} GB, a run a title at once", memory, a.memory_gb,
                f"{memory:.1f} GB")  # fmt: skip
            add(f"the driver's core, at {a.loop_ms:g} ms a task", rate * a.loop_ms / 1000, 1.0, f"{rate:.0f} tasks/s")
            calls = 2 * rate + cores
            add(f"Ray's control store, of {a.calls:,.0f} calls a second", calls, a.calls, f"{calls:,.0f} calls/s")
            people = self.reviewing() * a.titles / (seconds / 3600)
            add(f"people, of {a.people:g} at a time, day and night", people, a.people, f"{people:.1f} people")
        for what, parts in names.items():
            cells = [f"{text}: {part:.0%}" for text, part in zip(shown[what], parts, strict=True)]
            rows.append((what, *cells))
        made = table(("what there is", *(f"{m} machines" if m > 1 else "1 machine" for m in a.machines)), rows)
        first = []
        for n, machines in enumerate(a.machines):
            most = sorted(((parts[n], what) for what, parts in names.items()), reverse=True)
            broken = [what.split(", ")[0] for part, what in most if part > 1]
            first.append(
                f"on {machines}: " + (", then ".join(broken) if broken else f"nothing; {most[0][1]} is nearest")
            )
        return f"{made}\n\nOver 100 % it breaks. What does so first, {'; '.join(first)}."


def filled(page: str, texts: Mapping[str, str]) -> str:
    """The page with these texts between its marks. Raises SystemExit where a mark is missing."""
    for name, text in texts.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        if begin not in page or end not in page:
            raise SystemExit(f"the page has no marks {begin} and {end}")
        page = re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n\n{text}\n\n{end}", page, flags=re.S)  # noqa: B023
    return page


def options() -> argparse.ArgumentParser:
    """All assumptions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("costs", type=Path, nargs="?", default=COSTS)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--megapixels", type=float, default=2.07, help="of the pictures; 0: as of the costs")
    parser.add_argument("--source-kb", type=float, default=1100, help="of the source, a frame; 0: as of the costs")
    parser.add_argument("--share", type=float, help="of frames that are re-rendered; default: as of the costs")
    parser.add_argument("--titles", type=int, default=1000)
    parser.add_argument("--languages", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=110)
    parser.add_argument("--rate", type=float, default=24)
    parser.add_argument("--shots", type=int, default=2000)
    parser.add_argument("--machines", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--cores", type=int, default=16)
    parser.add_argument("--use", type=float, default=0.95, help="share of the time that a core is busy")
    parser.add_argument("--machine-price", type=float, default=0.7, help="of a machine, an hour")
    parser.add_argument("--storage-price", type=float, default=20.0, help="of a terabyte, a month")
    parser.add_argument("--person-price", type=float, default=40.0, help="of an hour of a person")
    parser.add_argument("--look-s", type=float, default=20.0, help="that a person looks at a shot")
    parser.add_argument("--people", type=float, default=20.0, help="who look at shots")
    parser.add_argument("--storage-gbs", type=float, default=10.0, help="GB a second that the storage gives")
    parser.add_argument("--network-gbs", type=float, default=1.25, help="GB a second of a machine's network")
    parser.add_argument("--disk-gb", type=float, default=2000.0, help="of a machine's scratch disk")
    parser.add_argument("--memory-gb", type=float, default=32.0, help="of the machine with the driver")
    parser.add_argument("--loop-ms", type=float, default=4.0, help="of the driver's core, a task")
    parser.add_argument("--calls", type=float, default=5000.0, help="a second that Ray's control store answers")
    return parser


def main() -> None:
    """Print the page's tables."""
    args = options().parse_args()
    texts = Catalogue(Seen.read(args.costs), args).texts()
    for name, text in texts.items():
        print(f"{name}\n\n{text}\n")
    if args.page:
        args.page.write_text(filled(args.page.read_text(encoding="utf-8"), texts), encoding="utf-8")


if __name__ == "__main__":
    main()

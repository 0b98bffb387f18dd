"""What a cluster does with a catalogue, worked out from one finished run: the tables of docs/scale.md.

    python -m bench.scale RUN [--megapixels 2.07] [--source-kb 1100] [--share 0.75] [--titles 1000] [--languages 10]
        [--frames 170000] [--shots 2000] [--machines 1 8 64] [--cores 16] [--use 0.9]

RUN is an --out folder of this version. Its results say what each stage costs a frame, its files how many bytes they
hold, its tasks how large they are. Costs go to another picture size by the proportions in dubbing/estimate/costs.py,
bytes by the area. What is an assumption is marked (a); everything else is measured on RUN or follows.
"""

from __future__ import annotations

import argparse
import pickle
import time
import tracemalloc
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from dubbing import estimate, media
from dubbing.config import Config
from dubbing.estimate.costs import MIX, Work
from dubbing.job import Job
from dubbing.manifest import Manifest
from dubbing.store import read_json
from dubbing.task import Outcome, Task

PER_TITLE = ("shots", "faces", "source_audio", "active", "descriptors", "people", "cast", "speakers", "actors",
             "donors")  # fmt: skip
GB, TB = 1e9, 1e12


@dataclass(frozen=True)
class Seen:
    """One run. cost_s: stage -> processor seconds a frame of film, at the run's own share and size;
    bytes_: what -> bytes a frame (patches: a dubbed one); files: per shot and language; task_bytes,
    pickled_bytes, plan_s: per task."""

    frames: int
    share: float
    faces: float
    face_share: float
    megapixels: float
    cost_s: dict[str, float]
    bytes_: dict[str, float]
    files: float
    task_bytes: float
    pickled_bytes: float
    plan_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--megapixels", type=float, help="of the pictures; default: as RUN's")
    parser.add_argument("--source-kb", type=float, help="of the source, a frame; default: as RUN's")
    parser.add_argument("--share", type=float, help="of frames that are dubbed; default: as RUN's")
    parser.add_argument("--titles", type=int, default=1000)
    parser.add_argument("--languages", type=int, default=10)
    parser.add_argument("--frames", type=int, default=170_000)
    parser.add_argument("--shots", type=int, default=2000)
    parser.add_argument("--machines", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--cores", type=int, default=16)
    parser.add_argument("--use", type=float, default=0.9, help="share of the time that a core is busy")
    args = parser.parse_args()
    seen = look(args.run)
    share = args.share if args.share is not None else seen.share
    size = args.megapixels or seen.megapixels
    print(f"measured on {seen.frames} frames of {seen.megapixels:.2f} megapixels, {seen.share:.3f} of them dubbed")
    print(f"worked out for {size:.2f} megapixels, {share:.3f} dubbed, {args.frames} frames, {args.shots} shots\n")
    cost = priced(seen, size, share)
    costs(seen, cost, args)
    traffic_tb = storage(seen, size, share, args)
    clusters(seen, cost, traffic_tb, args)


def look(run: Path) -> Seen:
    """Read all that is needed from a finished run."""
    told = read_json(run / "run.json")
    job = Job(Manifest.model_validate(told["manifest"]), run, Config.model_validate(told["config"]))
    job.tasks()  # the first time reads the results, as a run does once
    began = time.process_time()
    tasks = job.tasks()
    plan_s = (time.process_time() - began) / len(tasks)
    measured = estimate.measure(job, told["engine"])
    title, found = job.manifest.titles[0], measured.titles[0]
    if len(measured.titles) > 1 or "master" not in found or not found["lipsync"].work.frames:
        raise SystemExit("RUN must be a finished run of one title, made by this version, with a dubbed shot.")
    languages, frames = len(title.dubs), found["shots"].frames
    width, height = media.probe(title.video).upright_size
    dubbed = found["lipsync"].work.frames / languages
    cost_s = {s: c.cpu_s / frames / (1 if s in PER_TITLE else languages) for s, c in found.items()}
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
    lips = found["lipsync"].work
    return Seen(
        frames, dubbed / frames, found["faces"].work.faces / frames, lips.face_area / lips.area, width * height / 1e6,
        cost_s, bytes_, files / languages / found["faces"].tasks, held(tasks),
        sum(len(pickle.dumps(t)) + len(pickle.dumps(Outcome(t.id, 1.0))) for t in tasks) / len(tasks), plan_s,
    )  # fmt: skip


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
            work = Work(1.0, megapixels, part if stage == "master" else seen.faces)
        return work.reference_s(stage)

    return {
        s: v * reference(s, size, share) / reference(s, seen.megapixels, seen.share) for s, v in seen.cost_s.items()
    }


def costs(seen: Seen, cost: dict[str, float], args: argparse.Namespace) -> None:
    """Core-hours of one title and of the catalogue."""
    print("| stage | measured, ms a frame of film | worked out, ms | times per title | core-hours per title |")
    print("|---|---|---|---|---|")
    for stage in MIX:
        if stage in cost:
            times = repeats(stage, args)
            hours = cost[stage] * args.frames * times / 3600
            print(f"| {stage} | {1000 * seen.cost_s[stage]:.2f} | {1000 * cost[stage]:.2f} | {times} | {hours:.1f} |")
    print(f"| together | | | | {title_hours(cost, args):.1f} |\n")


def repeats(stage: str, args: argparse.Namespace) -> int:
    """How often a stage goes over a title."""
    return 1 if stage in PER_TITLE else args.languages


def title_hours(cost: dict[str, float], args: argparse.Namespace) -> float:
    """Core-hours of one title in all languages."""
    return sum(v * args.frames * repeats(s, args) for s, v in cost.items()) / 3600


def storage(seen: Seen, size: float, share: float, args: argparse.Namespace) -> float:
    """Bytes that lie there and that travel; returns what travels, TB for the whole catalogue."""
    grows, n = size / seen.megapixels, args.languages
    source = args.source_kb * 1000 if args.source_kb else seen.bytes_["source"] * grows
    patches, masters = seen.bytes_["patches"] * grows * share, seen.bytes_["masters"] * grows
    scores, analysis = seen.bytes_["scores and tables"], seen.bytes_["analysis"]
    rows = [  # what, bytes a frame of film, written per title, read per title
        ("source", source, 0.0, 2 + n * (1 + 3 * share)),
        ("analysis", analysis, 1.0, 2 * n),
        ("patches", patches, n, 2 * n),
        ("scores, sheets, tables, sound", scores, n, n),
        ("masters", masters, n, 0.0),
    ]
    print("| what | KB a frame of film | GB written per title | GB read per title |")
    print("|---|---|---|---|")
    for what, bytes_, written, read in rows:
        gb = bytes_ * args.frames / GB
        print(f"| {what} | {bytes_ / 1000:.1f} | {gb * written:.1f} | {gb * read:.1f} |")
    total = sum(b * (w + r) for _, b, w, r in rows) * args.frames / GB
    kept = sum(b * w for _, b, w, _ in rows) * args.frames / GB
    files = seen.files * args.shots * n
    print(f"| together | | {kept:.0f} | {total - kept:.0f} |\n")
    print(f"catalogue: {kept * args.titles / 1000:,.0f} TB kept, {total * args.titles / 1000:,.0f} TB moved, "
          f"{files * args.titles / 1e6:,.0f} million files ({seen.files:.1f} for a shot in a language)\n")  # fmt: skip
    return total * args.titles / 1000


def clusters(seen: Seen, cost: dict[str, float], traffic_tb: float, args: argparse.Namespace) -> None:
    """One row per size of cluster."""
    tasks = args.shots * (1 + 2 * args.languages) + args.languages * 2 + 4
    core_s = title_hours(cost, args) * 3600
    chain_s = sum(cost[s] * args.frames for s in ("shots", "source_audio", "speakers", "actors", "master") if s in cost)
    print(f"{tasks:,} tasks a title, {core_s / tasks:.2f} s each on average")
    print(
        f"one title alone takes {chain_s / 3600:.1f} h or more (shots, sound, speakers, actors, master: one task each)"
    )
    print()
    heads = ("machines", "cores", "days for the catalogue", "titles a day", "tasks a second", "storage, GB/s",
             "references, MB/s", "titles at once", "plan of these, GB", "plan of all, GB")  # fmt: skip
    print("| " + " | ".join(heads) + " |")
    print("|---" * 10 + "|")
    for machines in args.machines:
        cores = machines * args.cores
        seconds = args.titles * core_s / (cores * args.use) + chain_s
        rate = tasks * args.titles / seconds
        at_once = max(1.0, cores * chain_s / core_s)
        memory = seen.task_bytes * tasks
        print(f"| {machines} | {cores} | {seconds / 86400:,.1f} | {args.titles * 86400 / seconds:.1f} | {rate:.1f} "
              f"| {traffic_tb * 1000 / seconds:.2f} | {rate * seen.pickled_bytes / 1e6:.3f} "
              f"| {at_once:.0f} | {memory * at_once / GB:.1f} | {memory * args.titles / GB:.0f} |")  # fmt: skip
    print(f"\none task: {seen.task_bytes / 1000:.1f} KB of the driver's memory, {seen.pickled_bytes / 1000:.1f} KB "
          "on its way to a worker and back")  # fmt: skip
    print(f"planning it again: {1e6 * seen.plan_s:.0f} us, a title {seen.plan_s * tasks:.1f} s")


if __name__ == "__main__":
    main()

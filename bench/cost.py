"""What a film costs by stage and by function, beside decoding and encoding it once, on one core.

    python -m bench.cost FILM --dub fr=FR.flac [--dub de=DE.flac] [--frames 300] [--flame docs/flame.svg] [--top 12]
        [--json COSTS.json]

Everything runs in this process, held on one core, one language after the other, and before and after each the same film
is decoded and encoded once with the master's own settings, whose mean is its measure: ratios hold on any machine. For
each language and stage: processor seconds, milliseconds a frame of film and a re-rendered frame, the ratio, and
megabytes that were read and written by calls (a picture in memory that is handed on counts for nothing). Then
the functions of this package in which the time went, by themselves with the libraries that they call. --frames takes
the first frames of the film alone. --untouched copy: masters take over the source's own packets where they can.
--cores 2 on an idle machine: the time by the clock is what two cores need. --flame writes a flame graph of all of it,
--json what the tables say (`bench.scale` and `bench.schedule` read it).

Functions are found by looking, every few milliseconds of processor time, at what is being called; a look weighs as much
as the processor time since the one before it, so that a long call into a library counts whole. It costs some percent
where an encoder's threads take turns on one core, so the measure is looked at as well.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from types import FrameType

import numpy as np
import yaml

import dubbing
from bench.flame import draw
from dubbing import media
from dubbing.media.master import write_masters
from dubbing.shot_table import read_rows

EVERY_S = 0.004
ROOT = Path(dubbing.__file__).parent


@dataclass
class Spent:
    """Of one stage of one language: processor seconds, bytes, and where the time went."""

    seconds: float = 0.0
    read: int = 0
    written: int = 0
    stacks: Counter[tuple[str, ...]] = field(default_factory=Counter)


class Watch:
    """Adds up what is spent while a stage runs. on_event: for `dubbing.run`."""

    def __init__(self) -> None:
        self.stages: dict[str, Spent] = defaultdict(Spent)
        self.wall_s = 0.0
        self._stage = "between"
        self._mark()
        self._looked = time.process_time()
        signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)

    def _mark(self) -> None:
        self._began, self._bytes = time.process_time(), _bytes()

    def _enter(self, stage: str) -> None:
        now, spent = _bytes(), self.stages[self._stage]
        spent.seconds += time.process_time() - self._began
        spent.read += now[0] - self._bytes[0]
        spent.written += now[1] - self._bytes[1]
        self._stage = stage
        self._mark()

    def on_event(self, event: dubbing.Event) -> None:
        """A stage begins or ends."""
        if event.kind == "started":
            self._enter(event.stage)
        elif event.kind in ("finished", "failed"):
            self._enter("between")

    def _look(self, number: int, frame: FrameType | None) -> None:
        now = time.process_time()
        stack: list[str] = []
        while frame is not None:
            code = frame.f_code
            stack.append(f"{_short(code.co_filename)}:{code.co_qualname}")
            frame = frame.f_back
        self.stages[self._stage].stacks[tuple(reversed(stack))] += round(1e6 * (now - self._looked))
        self._looked = now

    def close(self) -> None:
        """The last stage is over."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        self._enter("between")


def _short(name: str) -> str:
    """A file's name within this package, or the name of the package that it is of."""
    path = Path(name)
    if path.is_relative_to(ROOT):
        return str(path.relative_to(ROOT).with_suffix(""))
    _, _, rest = name.rpartition("site-packages/")
    return rest.partition("/")[0] if rest != name else path.stem


def _bytes() -> tuple[int, int]:
    """Bytes that this process has read and written by calls; 0 where the system does not say."""
    try:
        rows = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return int(rows["rchar"]), int(rows["wchar"])
    except OSError:
        return 0, 0


def once(source: Path, sound: Path, folder: Path) -> float:
    """Processor seconds of decoding a film and encoding every picture of it as a master of it is."""
    line, plan = media.timeline(source), media.delivery(media.probe(source), media.probe(sound))
    whole = replace(plan, picture=replace(plan.picture, notice="all of it is encoded"))
    watch, before = Watch(), time.process_time()
    write_masters(source, line, [], sound, {folder / f"whole{plan.extension}": whole}, language="fr")
    spent = time.process_time() - before
    watch.close()
    return spent


def shorter(source: Path, target: Path, frames: int) -> Path:
    """The first frames of a film and their sound, encoded as well as a camera's."""
    line, info = media.timeline(source), media.probe(source)
    assert info.video is not None
    wave = media.read_sound(source, rate_hz=48_000, mono=False)[: line.sample(frames, 48_000)]
    with media.ClipWriter(
        target, info.video.width, info.video.height, Fraction(line.rate), options={"crf": "16"},
        sample_rate_hz=48_000, channels=wave.shape[1],
    ) as clip:  # fmt: skip
        for picture in media.read(source, line, 0, frames):
            clip.frame(picture.bgr())
        clip.sound(wave)
    return target


def cut_sound(source: Path, target: Path, samples: int) -> Path:
    """The beginning of a dub, or silence after its end."""
    wave = media.read_sound(source, rate_hz=48_000, mono=False)[:samples]
    with media.ClipWriter(target, sample_rate_hz=48_000, channels=wave.shape[1]) as clip:
        clip.sound(np.pad(wave, ((0, samples - len(wave)), (0, 0))))
    return target


def language(folder: Path, film: Path, dubs: dict[str, Path], more: dict[str, object]) -> Watch:
    """A run in this process. more: of the manifest."""
    rows = [{"language": name, "audio": str(path)} for name, path in dubs.items()]
    title = {"id": "film", "video": str(film), "dubs": rows}
    manifest = folder / "manifest.yaml"
    manifest.write_text(yaml.safe_dump({"version": 1, "titles": [title], **more}))
    watch = Watch()
    began = time.monotonic()
    report = dubbing.run(manifest, folder / "out", engine="local", on_event=watch.on_event)
    watch.wall_s = time.monotonic() - began
    watch.close()
    if report.exit_code not in (0, 3):
        raise SystemExit(f"The run ended with exit code {report.exit_code}, so that nothing was measured.")
    return watch


def table(name: str, watch: Watch, measure: float, frames: int, rendered: int) -> None:
    """Print what one language cost."""
    print(f"\n{name}: {frames} frames, {rendered} re-rendered; decoding and encoding once: {measure:.1f} s")
    print("stage            seconds  ms/frame  ms/rendered   ratio  MB read  written")
    total = Spent()
    for stage, s in sorted(watch.stages.items(), key=lambda item: -item[1].seconds):
        total.seconds += s.seconds
        total.read += s.read
        total.written += s.written
        _row(stage, s, measure, frames, rendered)
    _row("all", total, measure, frames, rendered)


def _row(stage: str, s: Spent, measure: float, frames: int, rendered: int) -> None:
    print(
        f"{stage:16} {s.seconds:7.2f} {1000 * s.seconds / frames:9.2f} {1000 * s.seconds / max(rendered, 1):12.2f} "
        f"{s.seconds / measure:7.2f} {s.read / 1e6:8.0f} {s.written / 1e6:8.0f}"
    )


def functions(watch: Watch, most: int) -> None:
    """Print in which functions of this package the time of each dear stage went."""
    for stage, s in sorted(watch.stages.items(), key=lambda item: -item[1].seconds)[:8]:
        own: Counter[str] = Counter()
        for stack, count in s.stacks.items():
            ours = [one for one in stack if "/" in one.partition(":")[0] or one.startswith(("mesh:", "face:"))]
            own[ours[-1] if ours else stack[-1]] += count
        print(f"{stage}: " + ", ".join(f"{f} {n / 1e6:.2f} s" for f, n in own.most_common(most)))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("film", type=Path)
    parser.add_argument("--dub", action="append", required=True, metavar="LANGUAGE=SOUND")
    parser.add_argument("--frames", type=int, default=0, help="of the film's beginning; 0 for all")
    parser.add_argument("--generator", type=yaml.safe_load, default="rewrite", metavar="YAML")
    parser.add_argument("--untouched", choices=("encode", "copy"), default="encode", help="pictures without a patch")
    parser.add_argument("--flame", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--top", type=int, default=12, help="functions of each stage")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--out", type=Path, help="where the run is kept; an empty folder")
    args = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    with tempfile.TemporaryDirectory() as name:
        folder = args.out or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        film = args.film.resolve()
        dubs = {k: Path(v).resolve() for k, v in (one.split("=", 1) for one in args.dub)}
        if args.frames:
            film = shorter(film, folder / "film.mp4", args.frames)
            samples = media.timeline(film).sample(args.frames, 48_000)
            dubs = {k: cut_sound(v, folder / f"{k}.flac", samples) for k, v in dubs.items()}
        line = media.timeline(film)
        length_s = len(line) / float(line.rate)
        more = {"generator": args.generator, "master": {"untouched": args.untouched}}
        measures = [once(film, next(iter(dubs.values())), folder)]
        watches: dict[str, Watch] = {}
        for n, one in enumerate(dubs):
            watches[one] = language(folder, film, dict(list(dubs.items())[: n + 1]), more)
            measures.append(once(film, next(iter(dubs.values())), folder))
        print("decoding and encoding once: " + ", ".join(f"{m:.1f} s" for m in measures))
        told: dict[str, object] = {
            "film": film.name,
            "frames": len(line),
            "once_s": sum(measures) / len(measures),
            "languages": {},
        }
        for n, (one, watch) in enumerate(watches.items()):
            rows = read_rows(folder / "out" / "film" / one / "faces.parquet")
            rendered = sum(row["rendered_frames"] for row in rows)
            measure = (measures[n] + measures[n + 1]) / 2
            table(f"{'first' if n == 0 else 'further'} language {one}", watch, measure, len(line), rendered)
            print(f"{watch.wall_s:.1f} s by the clock, {watch.wall_s / length_s:.2f} of the film's length")
            functions(watch, args.top)
            stages = {
                stage: {"s": s.seconds, "read": s.read, "written": s.written} for stage, s in watch.stages.items()
            }
            told["languages"] |= {one: {"rendered": rendered, "stages": stages}}  # type: ignore[operator]
        if args.json:
            from bench.scale import look  # what it loads is a part of what is measured

            told["run"] = look(folder / "out")
            args.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        if args.flame:
            stacks: Counter[tuple[str, ...]] = Counter()
            for one, watch in watches.items():
                for stage, spent in watch.stages.items():
                    for stack, count in spent.stacks.items():
                        ours = next((i for i, f in enumerate(stack) if f.startswith("stages/")), None)
                        stacks[(one, stage, *(stack[ours:] if ours is not None else stack[-3:]))] += count
            args.flame.write_text(draw(stacks, f"Processor time of {film.name}"), encoding="utf-8")


if __name__ == "__main__":
    main()

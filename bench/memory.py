"""How much memory a worker of each stage takes, beside what it is declared to hold, and how long a frame takes.

    python -m bench.memory CLIP SPEECH [--box X Y W H] [--frames 500] [--only 2160p10] [--out DIR]

CLIP: one face that speaks, with sound; SPEECH: any voice. The film is the clip's box, enlarged: one long close-up, made
as each of KINDS and dubbed stage by stage, each stage in a process of its own, which sees its own greatest resident
memory (Linux). Milliseconds are of processor time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from dubbing import media
from dubbing.api.jobs import manifest_of, settings_of
from dubbing.engine.worker import Worker
from dubbing.job import Job

KINDS = {
    "1080p8": (1920, 1080, "yuv420p", None),
    "2160p8": (3840, 2160, "yuv420p", None),
    "2160p10": (3840, 2160, "yuv422p10le", None),
    "2160p10pq": (3840, 2160, "yuv422p10le", 16),
}
"""Width, height, format and transfer of each film."""
RATE = Fraction(25)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--box", type=int, nargs=4, metavar=("X", "Y", "W", "H"), help="the part that is shown")
    parser.add_argument("--frames", type=int, default=480)
    parser.add_argument("--only", action="append", choices=[*KINDS])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--codec", default="libx264", help="FFmpeg's encoder of the films, libx264 or prores_ks")
    parser.add_argument("--config", help="settings, as of `dub run`")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.stage:
        print(json.dumps(done(args.stage, args.clip, args.out, args.config)))
        return
    box = tuple(args.box) if args.box else None
    out = args.out or Path(tempfile.mkdtemp(prefix="dub-memory-"))
    for kind in args.only or KINDS:
        folder = out / kind
        folder.mkdir(parents=True, exist_ok=True)
        manifest = made(kind, args, box, folder)
        shutil.rmtree(folder / "out", ignore_errors=True)
        print(
            f"\n{kind}, {args.frames} frames, {args.codec}\n\n| stage | MB | declared | ms a frame |\n|---|---|---|---|"
        )
        for stage in Job(manifest_of(manifest), folder / "out", settings_of(args.config)).stages:
            command = [sys.executable, "-m", "bench.memory", str(manifest), "-", "--out", str(folder / "out")]
            command += ["--stage", stage.name, *(["--config", args.config] if args.config else [])]
            said = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
            each = 1000 * said["seconds"] / args.frames
            print(f"| {stage.name} | {said['mb']:.0f} | {said['declared']} | {each:.1f} |", flush=True)


def made(kind: str, args: argparse.Namespace, box: tuple[int, int, int, int] | None, folder: Path) -> Path:
    """The film of a kind with its dub, and their manifest."""
    width, height, pix_fmt, transfer = KINDS[kind]
    film, dub, manifest = folder / "film.mov", folder / "dub.wav", folder / "job.yaml"
    seconds = args.frames / float(RATE)
    if not film.exists():
        own, foreign = (media.read_sound(path, rate_hz=48_000) for path in (args.clip, args.speech))
        line = media.timeline(args.clip)
        options = {"profile": "hq", "vendor": "apl0"} if args.codec == "prores_ks" else {"preset": "ultrafast"}
        with media.ClipWriter(
            film, width, height, RATE, args.codec, 48_000, 1, 12 if args.codec == "libx264" else None,
            pix_fmt=pix_fmt, sound_codec="pcm_s16le", options=options, transfer=transfer, matrix=9 if transfer else 1,
        ) as writer:  # fmt: skip
            writer.sound(np.resize(own, round(seconds * 48_000)))
            for picture in media.read(args.clip, line, 0, args.frames):
                large = cv2.resize(picture.bgr(box), (width, height), interpolation=cv2.INTER_CUBIC)
                if pix_fmt != "yuv420p":  # steps of the clip's 8 bits become slopes
                    large = cv2.GaussianBlur(large.astype(np.uint16) * 257, (0, 0), 2)
                writer.frame(large)
        with media.ClipWriter(dub, sample_rate_hz=48_000, channels=1) as writer:
            writer.sound(np.resize(foreign, round(seconds * 48_000)))
    title = {"id": "film", "video": film.name, "dubs": [{"language": "de", "audio": dub.name}]}
    manifest.write_text(json.dumps({"version": 1, "titles": [title]}))
    return manifest


def done(stage: str, manifest: Path, out: Path, config: str | None) -> dict[str, float]:
    """Do the tasks of one stage here; what it took."""
    job = Job(manifest_of(manifest), out, settings_of(config))
    worker = Worker(job.store)
    before = time.process_time()
    declared = 0
    for task in job.tasks():
        declared = job.resources(task.kind).memory_mb if task.stage == stage else declared
        if task.stage == stage and not job.done(task):
            outcome = worker.run(task, lambda frames: None)
            if outcome.error:
                raise SystemExit(f"{task.id}: {outcome.trace or outcome.error}")
    worker.close()
    seconds = time.process_time() - before
    held = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {"mb": int(held.split()[1]) / 1024, "declared": declared, "seconds": seconds}


if __name__ == "__main__":
    main()

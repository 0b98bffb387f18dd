"""`dub run` on a real film: time, memory, and what the masters keep.

    python -m bench.reel FILM --dub fr=FR.flac --dub ja=JA.flac [--out DIR] [--engine ray|local] [--loops 10]
        [--generator "{name: wav2lip, model: /models/wav2lip.pth}"]

Prints: wall time of the first language and of each further one over the film's length, where the
time went, peak memory of the whole process tree; per master what `dub verify` finds, and the PSNR outside the
mattes; per dubbed shot where its mattes lie and its scores.
--loops N also runs the film repeated N times with the first dub, and prints both peaks.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import yaml

import dubbing
from bench.watch import Cost, watch
from dubbing import media
from dubbing.artifacts.takes import Take
from dubbing.artifacts.tracks import load_tracks
from dubbing.face import OUTER_LIPS
from dubbing.shot_table import read_rows
from dubbing.store import read_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("film", type=Path)
    parser.add_argument("--dub", action="append", required=True, metavar="LANGUAGE=SOUND")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--engine", default="ray")
    parser.add_argument("--loops", type=int, default=0)
    parser.add_argument("--generator", type=yaml.safe_load, default="rewrite", metavar="YAML")
    args = parser.parse_args()
    dubs = dict(one.split("=", 1) for one in args.dub)
    out = args.out or Path(tempfile.mkdtemp(prefix="dub-bench-"))
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    length_s = float(media.timeline(args.film).duration)
    so_far: dict[str, str] = {}
    for n, (language, sound) in enumerate(dubs.items()):
        so_far[language] = sound
        cost = run(out, args.film, so_far, args.engine, args.generator)
        what = "first language" if n == 0 else f"further language {language}"
        print(f"{what}: {cost.seconds:.1f} s = {cost.seconds / length_s:.2f} x the film, peak {cost.peak_mb:.0f} MB, "
              f"exit {cost.code}")  # fmt: skip
        stages = read_json(out / "out" / "run.json")["seconds_by_stage"]
        print("   worker seconds: " + ", ".join(f"{k} {v:.1f}" for k, v in stages.items()))
        if n == 0:
            first = cost
    again = run(out, args.film, so_far, args.engine, args.generator)
    print(f"finished run again: {again.seconds:.1f} s, {read_json(out / 'out' / 'run.json')['done_now']} tasks done")
    for language, sound in dubs.items():
        check(out / "out" / "film" / language, args.film, Path(sound))
    if args.loops:
        loop(out, args.film, next(iter(dubs)), Path(next(iter(dubs.values()))), args, first)


def run(folder: Path, film: Path, dubs: dict[str, str], engine: str, generator: str | dict) -> Cost:
    """`dub run` of one title named `film` with these dubs."""
    title = {"id": "film", "video": str(film.resolve()),
             "dubs": [{"language": k, "audio": str(Path(v).resolve())} for k, v in dubs.items()]}  # fmt: skip
    manifest = folder / "manifest.yaml"
    manifest.write_text(yaml.safe_dump({"version": 1, "titles": [title], "generator": generator}))
    return watch([sys.executable, "-m", "dubbing", "run", str(manifest), "--out", str(folder / "out"),
                  "--engine", engine, "--json"])  # fmt: skip


def check(folder: Path, film: Path, sound: Path) -> None:
    """What one master kept."""
    summary = [d for d in read_json(folder.parents[1] / "run.json")["dubs"] if d["language"] == folder.name][0]
    found = dubbing.verify(summary["master"], film, dub=sound)
    print(f"{folder.name}: {found.master.name}, {found.pictures.pairs} frames, "
          f"PSNR outside mattes {found.pictures.psnr_db:.2f} dB")  # fmt: skip
    for one in found.checks:
        print(f"   {one.what}: {one}")
    rows = read_rows(folder / "shots.parquet")
    for row in rows:
        if row["status"] != "dubbed":
            print(f"   {row['shot']} {row['start_frame']}-{row['end_frame']} {row['status']}: {row['reason']}")
            continue
        numbers = ", ".join(
            f"{k} {row[k]:.2f}" if row[k] is not None else f"{k} -"
            for k in ("lse_d", "lse_c", "lse_offset_frames", "source_lse_d", "source_lse_c",
                      "source_lse_offset_frames", "lse_at_zero", "source_lse_at_zero", "foreign_lse_at_zero",
                      "following", "sharpness", "silence_motion", "rest_opening", "seconds")
        )  # fmt: skip
        print(f"   {row['shot']} {row['start_frame']}-{row['end_frame']} dubbed: {numbers}")
        print(f"      {placed(folder, row)}")


def placed(folder: Path, row: dict) -> str:
    """Whether a take's patches come on every frame of its lines, over the mouth and under the eyes."""
    take = folder / "takes" / row["shot"] / row["take"] / "patch"
    whole, frames, above = 0, 0, -np.inf
    told = True
    for face in Take.read(take).faces:
        (faces,) = (folder.parent / "analysis" / "faces").glob(f"{row['shot']}-*")
        track = next(t for t in load_tracks(faces) if t.id == face.track)
        came = []
        for p in media.read_patches(take / face.folder):
            came.append(p.frame)
            mesh = track.mesh_NP3[p.frame - track.start_frame, :, :2]
            eyes, height = mesh[[33, 263], 1].mean(), np.ptp(mesh[:, 1])
            seen = np.flatnonzero((p.matte_HW > 0).any(1))
            above = max(above, (eyes - p.y - seen[0]) / height) if len(seen) else above
            lips = np.rint(mesh[list(OUTER_LIPS)] - (p.x, p.y)).astype(int)
            whole += bool((p.matte_HW[lips[:, 1], lips[:, 0]] > 200).all())
        told &= came == [f for a, b in face.lines for f in range(a, b)]
        frames += len(came)
    return (f"{frames} patches, every frame of every line {told}; lips wholly inside the matte in {whole}; "
            f"the matte begins {-above:.2f} face heights under the eyes or lower")  # fmt: skip


def loop(out: Path, film: Path, language: str, sound: Path, args: argparse.Namespace, once: Cost) -> None:
    """The same film `args.loops` times over, and its peak beside the single film's."""
    folder = out / "long"
    folder.mkdir()
    repeat(film, folder / f"film{film.suffix}", args.loops)
    line = media.timeline(folder / f"film{film.suffix}")
    wave = media.read_sound(sound, rate_hz=48000, mono=False)
    samples = line.sample(len(line), 48000)
    with media.ClipWriter(folder / "dub.flac", sample_rate_hz=48000, channels=2) as writer:
        writer.sound(np.resize(wave, (samples, 2)))
    cost = run(folder, folder / f"film{film.suffix}", {language: str(folder / "dub.flac")}, args.engine, args.generator)
    report = read_json(folder / "out" / "run.json")
    print(f"looped {args.loops} times: {len(line)} frames, {cost.seconds:.1f} s, peak {cost.peak_mb:.0f} MB = "
          f"{cost.peak_mb / once.peak_mb:.2f} of the single film's, "
          f"exit {cost.code}, {report.get('counts')}")  # fmt: skip


def repeat(film: Path, target: Path, loops: int) -> None:
    """Picture and sound packets of a film, copied `loops` times one after the other."""
    with av.open(str(film)) as first, av.open(str(target), "w") as made:
        kept = [first.streams.video[0], *first.streams.audio[:1]]
        streams = {s.index: made.add_stream_from_template(s) for s in kept}
        length = max((p.pts + (p.duration or 0)) * p.time_base for p in first.demux(kept[0]) if p.pts is not None)
        for n in range(loops):
            with av.open(str(film)) as source:
                for packet in source.demux([source.streams[i] for i in streams]):
                    sound = packet.stream.type == "audio"
                    if packet.dts is None or packet.pts is None:
                        continue
                    if sound and not 0 <= packet.dts * packet.time_base < length - Fraction(1, 20):
                        continue
                    shift = round(length * n / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = streams[packet.stream.index]
                    made.mux(packet)


if __name__ == "__main__":
    main()

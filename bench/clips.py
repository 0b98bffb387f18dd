"""`dub run` on a folder of clips at once: nothing crashes, and every shot's row says what was done.

    python -m bench.clips FOLDER --speech SPEECH.wav [--out DIR] [--engine ray|local]

Each clip is dubbed with the speech, cut or repeated to the clip's length, with 0.3 s of silence at
both ends. Clips that cannot be delivered are listed with the sentence that `dub check` gives.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from dubbing import media
from dubbing.errors import InputError
from dubbing.shot_table import read_rows

KINDS = {".mp4", ".mov", ".mkv", ".avi", ".mpg", ".webm"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--engine", default="ray")
    parser.add_argument("--skip", default="reel", help="file names that begin with this are left out")
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="dub-clips-"))
    out.mkdir(parents=True, exist_ok=True)
    speech = media.read_sound(args.speech, rate_hz=48000)
    titles: list[dict[str, Any]] = []
    refused = []
    for path in sorted(p for p in args.folder.rglob("*") if p.suffix in KINDS and not p.name.startswith(args.skip)):
        try:
            line = media.timeline(path)
            sound = dub_for(speech, line.sample(len(line), 48000), out / f"{path.stem}.flac")
            media.delivery(media.probe(path), media.probe(sound))
        except InputError as e:
            refused.append(f"{path.name}: {e}")
            continue
        name = re.sub(r"[^a-z0-9_-]", "-", path.stem.lower())
        titles.append({"id": name, "video": str(path.resolve()), "dubs": [{"language": "fr", "audio": str(sound)}]})
    manifest = out / "clips.yaml"
    manifest.write_text(yaml.safe_dump({"version": 1, "titles": titles}))
    command = [sys.executable, "-m", "dubbing", "run", str(manifest), "--out", str(out / "out")]
    code = subprocess.run([*command, "--engine", args.engine], check=False).returncode
    for title in titles:
        rows = read_rows(out / "out" / title["id"] / "fr" / "shots.parquet")
        kinds = Counter(f"{r['status']} {r['reason'] or ''}".strip() for r in rows)
        print(f"{title['id']}: {len(rows)} shots, " + ", ".join(f"{n} {k}" for k, n in kinds.items()))
        for row in rows:
            if row["status"] == "dubbed":
                numbers = ", ".join(f"{k} {row[k]:.2f}" for k in ("lse_d", "lse_c", "lse_offset_frames", "source_lse_d",
                                    "source_lse_c", "following", "sharpness") if row[k] is not None)  # fmt: skip
                print(f"   {row['shot']}: {numbers}")
            if row["error"]:
                print(f"   {row['shot']}: {row['error']}")
    for sentence in refused:
        print(f"refused: {sentence}")
    print(f"exit {code}")


def dub_for(speech: np.ndarray, samples: int, path: Path) -> Path:
    """Speech of exactly `samples` at 48 kHz, stereo, quiet for 0.3 s at both ends."""
    quiet = min(14400, samples // 4)
    wave = np.zeros(samples, np.float32)
    wave[quiet : samples - quiet] = np.resize(speech, samples - 2 * quiet)
    with media.ClipWriter(path, sample_rate_hz=48000, channels=2) as writer:
        writer.sound(np.stack([wave, wave], 1))
    return path


if __name__ == "__main__":
    main()

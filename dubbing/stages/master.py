"""The master stage: all selected takes of one language into one film. Knows paths only; `media` does the work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from dubbing.media import encode_master, load_timeline
from dubbing.stage import Resources, Stage

__all__ = ["Master"]


class Master(Stage):
    """Decode the source once, paste the patches, encode once.

    args: source, path; timeline, folder of `timeline.npz`; patches, folders of takes, each holding face_<n>/ folders of
    patches or none; sound, path
    of the dub; target_name, the master's file name; language, BCP 47 tag; frames, how many of the film
    to deliver, absent for all; crf, preset and threads of
    the encoder, None or absent for the defaults. The result: file, its name in the folder; frames,
    how many it holds; notices, sentences about what differs from the source.
    """

    name: ClassVar[str] = "master"
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(cpus=1.0, memory_mb=1500)

    def process(self, args: Mapping[str, Any], out: Path, progress: Callable[[int], None]) -> dict[str, Any]:
        """Write the master into `out`. Raises UnsupportedMedia, DamagedMedia, OutputError (all InputError)."""
        crf = args.get("crf")
        done = encode_master(
            args["source"],
            load_timeline(args["timeline"]),
            [face for take in args["patches"] for face in sorted(Path(take).glob("face_*"))],
            args["sound"],
            out / args["target_name"],
            language=args.get("language"),
            crf=None if crf is None else float(crf),
            preset=args.get("preset"),
            threads=int(args.get("threads") or 0),
            frames=args.get("frames"),
            progress=progress,
        )
        return {"file": args["target_name"], "frames": done.frames, "notices": list(done.notices)}

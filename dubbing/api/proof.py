"""Prove from Python that a master is its source with other mouths and the dub's sound: what `dub verify` does.

Files are compared as they are: nothing that a run remembers of them is believed. Of a run, its takes say where pictures
may differ, and its manifest which sound was delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dubbing import languages, media, sequences
from dubbing.api.results import DubResults, open_results
from dubbing.errors import DubError, InputError, MediaError, OutputError
from dubbing.manifest import Dub
from dubbing.master_choice import MasterChoice
from dubbing.media import Check, Likeness, Proof
from dubbing.provenance import claims, credentials
from dubbing.remote import Uri
from dubbing.run_file import FILE, read_run
from dubbing.store import open_store

__all__ = ["Check", "Verified", "frames_of", "verify"]

_ANOTHER_FILM_DB = 16.0


@dataclass(frozen=True)
class Verified:
    """What was found of one master.

    master, source: the files; dub: the file with which its sound was compared, None where none was known; takes: the
    output folder whose takes say which pixels may differ, None where none was known; proof: what was compared.
    """

    master: Path
    source: Path
    dub: Path | None
    takes: str | None
    proof: Proof

    @property
    def checks(self) -> tuple[Check, ...]:
        """One for each thing that was compared, or that was not, with the reason."""
        return self.proof.checks

    @property
    def pictures(self) -> Likeness:
        """PSNR, and frames by number."""
        assert self.proof.pictures is not None
        return self.proof.pictures

    @property
    def differing(self) -> tuple[Check, ...]:
        """The checks that found a difference; none of a good master."""
        return self.proof.differing

    @property
    def exit_code(self) -> int:
        """What `dub verify` ends with: 0, or 1 where something differs."""
        return DubError.exit_code if self.differing else 0

    def to_dict(self) -> dict[str, Any]:
        """What `dub verify --json` prints."""
        return {
            "schema": "dub.verify.1", "master": str(self.master), "source": str(self.source),
            "dub": None if self.dub is None else str(self.dub), "takes": self.takes, "exit_code": self.exit_code,
            "checks": [asdict(c) for c in self.checks], "pictures": self.proof.plain_pictures(),
        }  # fmt: skip


def verify(
    master: Path | str, source: Path | str, *, dub: Path | str | None = None, takes: Path | str | None = None,
    least_db: float | None = None, on_frames: Callable[[int], None] | None = None,
) -> Verified:  # fmt: skip
    """Compare a master with the film that it was made of, frame by frame and sample by sample.

    dub: the file whose sound is delivered, None for the one that the run's manifest names; takes: the output folder or
    URI of the run, None to look for it where the master lies (OUT/<title>/<language>/); outside the mattes of its takes
    every picture must be the source's, and without takes the whole picture. least_db: PSNR, dB, under which a frame
    differs (None: 34), and 6 dB less a block of 16x16 pixels (10 in chroma). on_frames(n): n more frames are compared.

    Raises MediaError: no such file, no film, another film (other size, or no frame in common), a draft, a damaged
    source or dub, a sequence of pictures of which nobody says the rate; InputError: the run has no such master;
    OutputError: no run has written to `takes`, or a take is damaged.
    """
    film, made = Path(source), Path(master)
    media.check_sequence(film)  # of which somebody has to say the rate
    was, now = media.probe(film), media.probe(made)
    _same_kind(film, was, made, now)
    found_as = sequences.find(made)
    whole = made if found_as is None else found_as.folder  # under which name a master of many files is known
    run = _run_of(whole, takes)
    asked, choices, signs = (_asked(run) if run is not None else None) or (None, [], False)
    sound, why = _sound(dub, run, asked)
    if sound is not None and not media.probe(sound).audio:
        raise MediaError(f"{sound} has no sound stream; give the file of the dub.")
    finished = run if run is not None and run.finished else None
    (found,) = media.prove(
        film, {made: _choice(whole, choices, run)}, sound, no_sound=why, least_db=least_db, progress=on_frames,
        patch_folders=finished.patch_folders() if finished else None,
        tracks=asked.deliver_tracks if asked else None, language=asked.language if asked else _language(whole),
    )  # fmt: skip
    seen = found.pictures
    if seen is not None and not seen.damage and (seen.best_db is None or seen.best_db < _ANOTHER_FILM_DB):
        raise MediaError(f"No frame of {made} is like one of {film}: it was made of another film; give its own source.")
    found = replace(found, checks=(*found.checks, *_provenance(whole, signs)))
    return Verified(made, film, sound, finished.out if finished else None, found)


def _language(master: Path) -> str | None:
    """The language in a master's name: of `reel.fr.mov` and `reel.fr.proxy.mov`."""
    stem = master.stem.removesuffix(media.DRAFT)
    return languages.at_the_end_of(stem) or languages.at_the_end_of(stem.rpartition(".")[0])


def frames_of(film: Path | str) -> int:
    """How many frames a film's header promises, 0 where it does not say. Raises MediaError."""
    info = media.probe(film)
    return info.video.frames_hint if info.video is not None else 0


def _same_kind(film: Path, was: media.MediaInfo, made: Path, now: media.MediaInfo) -> None:
    """Raises MediaError where two files cannot be a film and its master."""
    for path, info in ((film, was), (made, now)):
        if info.video is None:
            raise MediaError(f"{path} has no picture; give a film.")
        if media.is_photograph(path):
            raise MediaError(f"{path} is a photograph; give a film: what was made of it lies in OUT/<title>/analysis/.")
    assert was.video is not None and now.video is not None
    one, two = ((v.width, v.height) for v in (was.video, now.video))
    if one != two:
        sizes = f"{made} is {two[0]}x{two[1]} and {film} is {one[0]}x{one[1]}"
        if f"{media.DRAFT}." in made.name:
            raise MediaError(f"{sizes}: it is a draft, which is not for delivery; verify the master of a full run.")
        raise MediaError(f"{sizes}: it was made of another film; give its own source.")


def _run_of(master: Path, takes: Path | str | None) -> DubResults | None:
    """The dub whose master this is: in a given output folder by the file's name, else where the file lies."""
    if takes is not None:
        dubs = open_results(takes).dubs
        named = [d for d in dubs if master.name.startswith(f"{d.title}.{d.language}.")]
        if not named:
            there = ", ".join(f"{d.title}.{d.language}" for d in dubs)
            raise InputError(f"The run in {str(takes)!r} made no {master.name}; it made: {there or 'nothing yet'}.")
        return max(named, key=lambda d: len(d.title) + len(d.language))
    folder = master.absolute().parent
    home = folder.parent if folder.name.startswith("master-") else folder
    out = home.parent.parent
    if not (out / FILE).is_file():
        return None
    try:
        return next((d for d in open_results(out).dubs if (d.title, d.language) == (home.parent.name, home.name)), None)
    except OutputError:
        return None  # a run.json of something else


def _asked(run: DubResults) -> tuple[Dub, Sequence[MasterChoice], bool] | None:
    """What the manifest says of a dub, how its masters were asked for, and whether they were to be signed."""
    parts = read_run(open_store(run.out)).parts
    return next(
        ((d, p.manifest.masters(t, d) or p.config.master, bool(p.manifest.provenance or p.config.provenance))
         for p in parts for t, d in p.dubs()
         if (t.id, d.language) == (run.title, run.language)),
        None,
    )  # fmt: skip


def _provenance(master: Path, asked: bool) -> list[Check]:
    """Whether a master is signed, and by whom. asked: whether its run was to sign it; else nothing is said where that
    cannot be told."""
    if not credentials.installed():
        why = "it was to be signed, and c2pa-python is not installed: pip install 'dubbing[provenance]'"
        return [Check("provenance", "not looked at", why)] if asked else []
    found = claims.read(master)
    if found is None:
        return [Check("provenance", "differs", "no signature, and one was asked for") if asked else
                Check("provenance", "equal", "no signature")]  # fmt: skip
    return [Check("provenance", "differs" if found.problems else "equal", str(found))]


def _choice(master: Path, choices: Sequence[MasterChoice], run: DubResults | None) -> MasterChoice | None:
    """How a master was asked for, by its name; None where nobody knows."""
    if run is None:
        return None
    suffix = master.stem.removeprefix(f"{run.title}.{run.language}").removeprefix(media.DRAFT).lstrip(".")
    return next((c for c in choices if (c.suffix or "") == suffix), None)


def _sound(given: Path | str | None, run: DubResults | None, asked: Dub | None) -> tuple[Path | None, str]:
    """The dub's file; or None, and why."""
    if given is not None:
        return Path(given), ""
    if asked is None or run is None:
        return None, "no file of the dub is known; give it with --dub"
    if isinstance(asked.audio, Uri):
        return open_store(run.out).local(asked.audio), ""
    if not asked.audio.exists():
        return None, f"{asked.audio} is no longer there; give the dub's file with --dub"
    return asked.audio, ""

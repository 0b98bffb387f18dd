"""Sign: say by C2PA that a dub's masters are altered content, whose, how, and of what. Knows paths and names only.

A signature is no part of the master's own key: another certificate signs again, and masters nothing again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from dubbing import __version__, media
from dubbing.artifact import File, Ref
from dubbing.artifacts.people import Cast
from dubbing.artifacts.shots import ShotList
from dubbing.artifacts.takes import Master, Signed, StillFilm, Take
from dubbing.artifacts.turns import TurnList
from dubbing.clock import Timeline, joined
from dubbing.provenance import Signing
from dubbing.provenance.claims import Change, Claim, Ingredient, embeds, sign
from dubbing.provenance.credentials import load
from dubbing.stage import NotKnown, Place, Resources, Scope, Stage
from dubbing.task import Inputs, awaited, uncounted

__all__ = ["Sign", "SignInputs"]

_COVERED = "the master's key holds them"
_SOMEBODY = "a person without a name"


@dataclass(frozen=True)
class SignInputs(Inputs):
    """The inputs of the stage `sign`."""

    master: Ref[Master]
    """What is signed."""
    certificate: File
    """Whose signature it is, PEM."""
    algorithm: str | None
    """The one that is asked for; None for that of the key."""
    timestamp_url: str | None
    """A time-stamp authority; None for none."""
    language: str
    """BCP 47 tag of the dub."""
    turns: Ref[TurnList]
    """Who says what in the dub."""
    cast: Ref[Cast] | None = None
    """Who plays whom, where it is known."""
    expressions: tuple[str, ...] | None = None
    """What is done to faces besides their mouths, in words."""
    takes: tuple[Ref[Take], ...] = awaited(why=_COVERED, default=())
    """The takes that the master holds."""
    film: File = uncounted(_COVERED, default=None)
    """The film."""
    sound: File = uncounted(_COVERED, default=None)
    """The dub's sound."""
    timeline: Ref[ShotList] = uncounted(_COVERED, default=None)
    """The film's frames in time."""
    key_file: str = uncounted("whose certificate it is counts", default="")
    """Where the certificate's private key lies; it is read while a master is signed, and never kept."""


class Sign(Stage[SignInputs, Signed]):
    """The signatures of a dub's masters, where they are asked for."""

    name: ClassVar[str] = "sign"
    of_the_files = True
    scope = Scope.DUB
    folder = "signed"
    resources = Resources(cpus=1.0, memory_mb=700)

    @classmethod
    def inputs(cls, at: Place) -> SignInputs | None:
        asked = at.signing
        if asked is None:
            return None
        if not asked.certificate.is_file():  # `preflight` says so; whoever only looks at results goes on
            raise NotKnown(str(asked.certificate))
        return SignInputs(
            at.ref(Master), at.file(asked.certificate), asked.algorithm, asked.timestamp_url, at.dub.language,
            at.ref(TurnList), at.ref(Cast) if at.has(Cast) else None, _expressions(at) or None,
            at.takes()[0], at.film, at.file(at.dub.audio),
            at.ref(ShotList), str(asked.key),
        )  # fmt: skip

    def process(self, inputs: SignInputs, out: Path, progress: Callable[[int], None]) -> Signed:
        """Write signed copies, or what lies beside a master, into `out`. Raises ManifestError: certificate or key
        cannot be used (any more); StageError: a master cannot be signed."""
        signing = Signing(
            certificate=inputs.certificate.path, key=Path(inputs.key_file), algorithm=inputs.algorithm,  # type: ignore[arg-type]
            timestamp_url=inputs.timestamp_url,
        )  # fmt: skip
        credentials = load(signing, trial=False)
        takes = [ref.read() for ref in inputs.takes]
        names = {f.track: f.character for s in inputs.turns.read().shots for f in s.faces if f.character}
        names |= dict(inputs.cast.read().characters) if inputs.cast else {}
        claim = Claim(
            __version__, inputs.language,
            sorted({name for take in takes for name in take.generators}),
            _ingredient(inputs.film), _ingredient(inputs.sound),
            _changes(takes, names, media.load_timeline(inputs.timeline.folder)), inputs.expressions or (),
        )  # fmt: skip
        master = inputs.master.read()
        made = [sign(inputs.master.folder / file, out, claim, credentials, signing.timestamp_url)
                for file in master.files]  # fmt: skip
        inside = tuple(file for file in master.files if embeds(file))
        return Signed(credentials.by, inside, tuple(one.where for one in made if one.where not in inside),
                      tuple(map(str, made)))  # fmt: skip


def _expressions(at: Place) -> tuple[str, ...]:
    """How faces of the title look otherwise than they did."""
    still = at.made_of.settings.expression if at.made_of else None
    if still is not None and at.result(StillFilm).left is None:
        return (still.words,)
    return tuple(one.words for one in at.title.expression or ())


def _ingredient(file: File) -> Ingredient:
    return Ingredient(file.path, file.content if file.stamp is not None else None)


def _changes(takes: Sequence[Take], names: dict[str, str], line: Timeline) -> list[Change]:
    """Whose mouths are other ones, and when, by name."""
    frames: dict[str, list[tuple[int, int]]] = {}
    for take in takes:
        for face in take.rendered:
            frames.setdefault(names.get(face.track, _SOMEBODY), []).extend(face.lines)
    start = line.time(0)
    ends = [*(float(line.time(n) - start) for n in range(len(line))), float(line.duration)]
    return [
        Change(who, [(ends[a], ends[b]) for a, b in joined(sorted(ranges))]) for who, ranges in sorted(frames.items())
    ]

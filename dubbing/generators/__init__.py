"""What renders mouths: the protocol that every generator keeps, and how one is found by its name.

A generator gets one shot's work and yields patches (architecture: a take is a patch): never a whole picture,
never a frame it was not asked for. It decides nothing about who speaks or when. Another package adds
one by an entry point of the group `dubbing.generators`; `examples/dim_mouth` is a whole one, and
`dubbing.testing.GeneratorContract` are the tests that each has to pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from dubbing import device as devices
from dubbing import media, plugins
from dubbing.analysis.overlays import KeepOut
from dubbing.clock import Timeline
from dubbing.errors import ManifestError, PluginError
from dubbing.models import Model
from dubbing.phones import Phone
from dubbing.records import Line, Patch, Track

__all__ = ["WANTS", "Generator", "Rendered", "RenderRequest", "Settings", "create", "default_device", "find",
           "names", "profits", "schemas", "settings"]  # fmt: skip

WANTS = frozenset({"actors", "donors"})
"""What a generator may want of a title's analysis. actors: models fitted on the title's own dialogue; donors: stores of
the mouths of each actor's shots."""
_CLASS = ("version", "Settings", "published", "wants", "profits_from_gpu", "size_bytes", "check", "render")


@dataclass(frozen=True, eq=False)
class RenderRequest:
    """One track of one shot to render.

    source: the film; picture_wh: its upright size in pixels; lines: where the mouth is to be
    re-rendered, frames of the title; wave: float32 mono 16 kHz dub sound, sample 0 at the start of
    frame 0 of the track; speech_N: bool, per frame of the track, whether this face speaks in the dub;
    actor: file of the actor fitted by the title's analysis, or None; donors: file of the store of that person's mouths
    in all shots of the title, or None; window: only patches of frames [a, b) are
    to be yielded, the same as without it, or None for all; still: whether the film is made of a photograph; draft:
    whether speed counts more than detail, because the picture is delivered at half its size: a generator may do less;
    scratch: a folder on disk for what is too large to be held (None: the system's own), left empty; overlays: what lies
    over the picture: patches get no weight there afterwards, and a generator that moves pixels of the film takes them
    from pictures without it (`KeepOut.cleaned`); None where nothing does; phones: which sounds of the language are said
    when, in seconds from sample 0 of `wave`, where whoever spoke them told it; none where the wave alone is known;
    acts: of a photograph, what a generator that `performs` is to move beside the mouth, of `motion` and `blinks`;
    others: (x, y, width, height) in pixels of the other faces of that photograph, which must not move with it; watch:
    who else looks at the pictures that `pictures` gives.
    """

    source: Path
    timeline: Timeline
    picture_wh: tuple[int, int]
    track: Track
    lines: tuple[Line, ...]
    wave: np.ndarray
    speech_N: np.ndarray
    actor: Path | None
    window: tuple[int, int] | None = None
    still: bool = False
    draft: bool = False
    scratch: Path | None = None
    donors: Path | None = None
    overlays: KeepOut | None = None
    phones: tuple[Phone, ...] = ()
    acts: tuple[str, ...] = ()
    others: tuple[tuple[float, float, float, float], ...] = ()
    watch: Callable[[media.Picture], None] | None = None

    def pictures(self, first: int, last: int) -> Iterator[media.Picture]:
        """Frames [first, last) of the film, in order, decoded for all who look at them: a frame of the track that is
        read otherwise is decoded again for whoever looks at the take. Raises what `media.read` raises."""
        for picture in media.read(self.source, self.timeline, first, last, threads=1):
            if self.watch is not None:
                self.watch(picture)
            yield picture

    @property
    def times_s(self) -> np.ndarray:
        """The middles of the track's frames, seconds from the first sample of `wave`, float64 (N,)."""
        first = self.track.start_frame
        times_s = self.timeline.times_s(first, self.track.end_frame, centre=True)
        return np.asarray(times_s - float(self.timeline.time(first)))

    def wants(self, frame: int) -> bool:
        """Whether a frame's patch is to be yielded."""
        return self.window is None or self.window[0] <= frame < self.window[1]

    @property
    def spans(self) -> list[tuple[Line, int, int]]:
        """The frames [a, b) of the title whose patches are to be yielded, line by line: `lines` within `window`."""
        found = []
        for line in self.lines:
            a, b = self.window or (line.start_frame, line.end_frame)
            a, b = max(a, line.start_frame), min(b, line.end_frame)
            if a < b:
                found.append((line, a, b))
        return found

    def fade(self, ramp_frames: int) -> np.ndarray:
        """How much of each frame of the track is to be new, float64 (N,), 0..1: more than 0 exactly on lines.

        It rises and falls over `ramp_frames` frames where a line does not begin and end with the track.
        """
        first, count = self.track.start_frame, len(self.track.frames_N)
        fade_N = np.zeros(count)
        for line in self.lines:
            a, b = line.start_frame - first, line.end_frame - first
            up = np.arange(1, b - a + 1) / (ramp_frames + 1)
            weight = np.ones(b - a)
            if a > 0:
                weight = np.minimum(weight, up)
            if b < count:
                weight = np.minimum(weight, up[::-1])
            fade_N[a:b] = np.maximum(fade_N[a:b], weight)
        return fade_N


@dataclass(frozen=True)
class Rendered:
    """One frame's patch, how far the mouth was meant to open (inter-ocular distances; nan: not known), and whether the
    mouth is new in it: in some of a photograph that performs only head and lids are."""

    patch: Patch
    wanted_opening: float
    mouth: bool = True


class Settings(BaseModel):
    """What a manifest may say under `generator: {name: ..., ...}`: a generator's own inherit from it.

    Each field needs a description; `dub schema` and the review page show them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


class Generator(Protocol):
    """What a generator's class says, and what one of them does.

    name: as in a manifest, and of its entry point; version: raised when the same settings give other patches;
    Settings: its settings; published: the published models that it may need, which `dub models` then knows;
    wants: of WANTS; a title's analysis makes it only for those who want it; profits_from_gpu: whether a worker should
    be lent a GPU for it; hash: 12 hex digits that name version, weights and settings; size_bytes: of its weights.
    One may say `gpu_share = 0.5`: the share of a GPU that a worker with it holds, where that is not a quarter. One
    whose class does not say that it profits may have a setting `gpu`, which if true asks for a GPU all the same.
    One may say `performs = True`: of a photograph it moves head and lids itself, and then gets all of it as one line.
    For all others that is done afterwards (`dubbing.performance`).
    """

    name: ClassVar[str]
    version: ClassVar[int]
    Settings: ClassVar[type[BaseModel]]
    published: ClassVar[tuple[Model, ...]]
    wants: ClassVar[frozenset[str]]
    profits_from_gpu: ClassVar[bool]
    hash: str

    def __init__(self, settings: Any, models_folder: str | None = None, *, device: str = "cpu") -> None:
        """settings: of its `Settings`; models_folder: where published models lie, as the configuration says; device:
        of torch. Large weights are loaded when it first renders. Raises ManifestError, ModelError."""
        ...

    @property
    def size_bytes(self) -> int: ...

    def check(self) -> None:
        """Whether its weights can be used, before any work. Raises ModelError."""
        ...

    def render(self, work: RenderRequest) -> Iterator[Rendered]:
        """Patches of every frame of `work.spans`, in order, all of one size.

        Memory does not grow with length, and windows change no patch.
        """
        ...


def names() -> tuple[str, ...]:
    """The generators there are, our own first; none is imported."""
    return plugins.names(plugins.GENERATORS)


def find(name: str) -> type[Generator]:
    """The class of that name. Raises PluginError: none, two packages with it, or one that cannot be used."""
    kind: type[Generator] = plugins.require(plugins.GENERATORS, name, _CLASS)
    if unknown := sorted(frozenset(kind.wants) - WANTS):
        raise PluginError(
            f"The {plugins.find(plugins.GENERATORS, name)} cannot be used: it wants {', '.join(unknown)}; a title's "
            f"analysis makes: {', '.join(sorted(WANTS))}."
        )
    return kind


def create(
    name: str, settings: Mapping[str, Any], models_folder: str | None = None, *, device: str | None = None
) -> Generator:
    """A generator; large weights are loaded when it first renders.

    models_folder: where published models lie, as the configuration says; device: of torch, None for
    `default_device`. Raises PluginError: unknown name; ManifestError: unknown setting; ModelError: no such model
    (with the next step), or not the published file.
    """
    kind = find(name)
    checked = _settings(kind, settings)
    return kind(checked, models_folder, device=device or default_device(kind, settings))


def default_device(kind: type[Generator], settings: Mapping[str, Any], *, draft: bool = False) -> str:
    """Where a generator with these settings runs if nobody says: a GPU where there is one and it `profits`. Raises
    ManifestError for a setting that it does not know."""
    return devices.default(profits(kind, _settings(kind, settings), draft=draft))


def profits(of: Generator | type[Generator], settings: object, *, draft: bool = False) -> bool:
    """Whether a GPU is to be held for a generator: its class says that it profits, or its setting `gpu` asks for it,
    which counts for no draft. settings: as its `Settings` has read them."""
    return of.profits_from_gpu or (not draft and getattr(settings, "gpu", False) is True)


def _settings(kind: type[Generator], given: Mapping[str, Any]) -> BaseModel:
    """Settings as a manifest gives them, in the generator's own model. Raises ManifestError."""
    known = kind.Settings.model_fields
    said = f"generator {kind.name}"
    try:
        made = kind.Settings(**given)
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ManifestError(
            f"{said}: {where}: {first['msg'].lower()}; it knows {', '.join(known)}.", at=first["loc"]
        ) from e
    if unknown := sorted(given.keys() - known.keys()):  # a model that does not forbid them would drop them
        raise ManifestError(
            f"{said}: {unknown[0]}: extra inputs are not permitted; it knows {', '.join(known) or 'none'}.",
            at=(unknown[0],),
        )
    return made


def settings(name: str) -> dict[str, Any]:
    """What may be said of a generator in a manifest: JSON Schema of each setting, by name. Raises PluginError."""
    properties: dict[str, Any] = find(name).Settings.model_json_schema().get("properties", {})
    return properties


def schemas() -> tuple[dict[str, dict[str, Any]], list[PluginError]]:
    """The JSON Schema of every generator's settings by its name, and why others are left out.

    References point to `#/$defs/<generator>.<model>`.
    """
    found, problems = {}, []
    for name in names():
        try:
            found[name] = find(name).Settings.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
        except PluginError as e:
            problems.append(e)
    return found, problems

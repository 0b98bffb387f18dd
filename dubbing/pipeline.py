"""THE list of stages: what happens to a title.

    title:  shots -> faces (each shot) -> people -> speakers -> actors          once, shared by all dubs
            donors (after speakers): only where a generator wants them, and somebody is seen in more than one shot
            still (before shots): only where the title's picture is a photograph, of which it makes a film
            overlays (each shot) -> overlay_list: letters, logos and timecode over faces
            source_audio: the original sound
            cast (after people): only where somebody has named people, or the manifest has pictures of them
            descriptors (each shot, before people): only where the extra `identity` is installed
            active (each shot): only where the model of an active-speaker detector is present
    dub:    audio (what drives the lips) -> turns (who says what)
            lipsync (each shot) -> sync (each shot) -> master -> proof, shots.parquet
            select (before master): only where several generators render the same shots, and the best is delivered
            sign (after master): only where masters are to be signed

Each stage asks a place for its inputs (`Stage.inputs`), by the kind of result that it needs; so the list below is all
the wiring there is. How it becomes tasks is `dubbing.job`; where the work runs is the engine's business.
"""

from __future__ import annotations

from typing import Any

from dubbing.stage import Stage
from dubbing.stages.active import Active
from dubbing.stages.actors import Actors
from dubbing.stages.audio import DubAudio, SourceAudio
from dubbing.stages.cast import FindCast
from dubbing.stages.descriptors import Describe
from dubbing.stages.donors import CollectDonors
from dubbing.stages.faces import Faces
from dubbing.stages.lipsync import Lipsync
from dubbing.stages.master import MakeMaster
from dubbing.stages.overlays import FindOverlays, ListOverlays
from dubbing.stages.people import FindPeople
from dubbing.stages.proof import ProveMasters
from dubbing.stages.select import Select
from dubbing.stages.shots import Shots
from dubbing.stages.sign import Sign
from dubbing.stages.speakers import Speakers
from dubbing.stages.still import MakeFilm
from dubbing.stages.sync import Sync
from dubbing.stages.turns import Turns

__all__ = ["PIPELINE"]

PIPELINE: tuple[type[Stage[Any, Any]], ...] = (
    MakeFilm,
    Shots,
    Faces,
    SourceAudio,
    DubAudio,
    Active,
    Describe,
    FindOverlays,
    ListOverlays,
    FindPeople,
    FindCast,
    Speakers,
    Actors,
    CollectDonors,
    Turns,
    Lipsync,
    Sync,
    Select,
    MakeMaster,
    ProveMasters,
    Sign,
)

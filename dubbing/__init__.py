"""Re-render the actors' mouths of a locked picture to fit its dubbed sound, shot by shot.

    report = dubbing.run("reel.yaml", "out", engine="local")
    for dub in dubbing.open_results("out").dubs:
        print(dub.title, dub.language, dub.counts, dub.master)

    check, plan, run           what a run will need; how long it will take; do it
    open_results               what a run has left: shots as tables, takes, patches as arrays, masters
    rerun, export              new takes of some shots; deliver what reviewers decided
    score                      how well the lips of any film fit its sound
    listen                     the language and the words of every dub
    talk, voices               a photograph that says a text; who can speak it
    verify                     whether a master keeps all of its source, and its dub's sound
    Manifest, Title, Dub, ...  a job built in Python; Config: settings

Names are imported when they are first used, so that `import dubbing` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dubbing.api.jobs import Plan, check, plan, run
    from dubbing.api.listening import listen
    from dubbing.api.proof import Check, Verified, verify
    from dubbing.api.results import DubResults, Results, Take, TitleResults, open_results
    from dubbing.api.reviewed import Rerun, export, rerun
    from dubbing.api.scores import Scores, score
    from dubbing.api.talking import Talked, talk
    from dubbing.api.voices import Voices, voices
    from dubbing.config import Config
    from dubbing.engine import Event, Report
    from dubbing.errors import DubError, InputError, ManifestError, MediaError, ModelError, OutputError
    from dubbing.estimate import Estimate
    from dubbing.listening import Listened
    from dubbing.manifest import Dub, GeneratorChoice, Manifest, Parts, Still, Title
    from dubbing.preflight import Findings
    from dubbing.records import Patch
    from dubbing.review.export import Exported
    from dubbing.speaking import Voice

__version__ = "0.1.0"
__all__ = [
    "Check", "Config", "Dub", "DubError", "DubResults", "Estimate", "Event", "Exported", "Findings",
    "GeneratorChoice", "InputError", "Listened", "Manifest", "ManifestError", "MediaError", "ModelError",
    "OutputError", "Parts", "Patch", "Plan", "Report", "Rerun", "Results", "Scores", "Still", "Take", "Talked",
    "Title", "TitleResults", "Verified", "Voice", "Voices", "check", "export", "listen", "open_results", "plan",
    "rerun", "run", "score", "talk", "verify", "voices",
]  # fmt: skip

_HOMES = {
    "dubbing.api.jobs": ("Plan", "check", "plan", "run"),
    "dubbing.api.listening": ("listen",),
    "dubbing.api.proof": ("Check", "Verified", "verify"),
    "dubbing.api.results": ("DubResults", "Results", "Take", "TitleResults", "open_results"),
    "dubbing.api.reviewed": ("Rerun", "export", "rerun"),
    "dubbing.api.scores": ("Scores", "score"),
    "dubbing.api.talking": ("Talked", "talk"),
    "dubbing.api.voices": ("Voices", "voices"),
    "dubbing.config": ("Config",),
    "dubbing.engine": ("Event", "Report"),
    "dubbing.errors": ("DubError", "InputError", "ManifestError", "MediaError", "ModelError", "OutputError"),
    "dubbing.estimate": ("Estimate",),
    "dubbing.listening": ("Listened",),
    "dubbing.manifest": ("Dub", "GeneratorChoice", "Manifest", "Parts", "Still", "Title"),
    "dubbing.preflight": ("Findings",),
    "dubbing.records": ("Patch",),
    "dubbing.speaking": ("Voice",),
    "dubbing.review.export": ("Exported",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'dubbing' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

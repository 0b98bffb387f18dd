"""Generators, sync experts, metrics and synthesisers by name: this package's own, and those that others add.

    names(GENERATORS)           the names there are; nothing of them is imported
    load(EXPERTS, "lips")       the class of that name, imported now

Another package adds one by an entry point in the group of its kind (`dubbing.generators`, `dubbing.experts`,
`dubbing.metrics`, `dubbing.synthesisers`). Ours are registered under the same groups in `pyproject.toml`, and are found
by the table below: a checkout that is run without being installed may have no metadata, or those of an older version.
It knows no contract of a kind and no network.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from dubbing.errors import PluginError

__all__ = ["BUILT_IN", "EXPERTS", "GENERATORS", "METRICS", "OWN", "SYNTHESISERS", "Plugin", "find", "load", "loaded",
           "names", "others", "require"]  # fmt: skip

GENERATORS, EXPERTS, METRICS = "dubbing.generators", "dubbing.experts", "dubbing.metrics"
SYNTHESISERS = "dubbing.synthesisers"
OWN = "dubbing"  # our own distribution
BUILT_IN: dict[str, dict[str, str]] = {
    GENERATORS: {
        "rewrite": "dubbing.generators.rewrite.generator:Rewrite",
        "wav2lip": "dubbing.generators.wav2lip:Wav2Lip",
        "spt_wav2lip": "dubbing.generators.wav2lip:SptWav2Lip",
        "lipgan": "dubbing.generators.lipgan:LipGAN",
        "speech_gan": "dubbing.generators.speech_gan:SpeechGAN",
        "musetalk": "dubbing.generators.musetalk:MuseTalk",
        "sadtalker": "dubbing.generators.sadtalker.generator:SadTalkerGenerator",
        "latentsync": "dubbing.generators.latentsync.generator:LatentSyncGenerator",
    },
    EXPERTS: {
        "lips": "dubbing.experts.lips:Lips",
        "syncnet_v2": "dubbing.experts.syncnet:SyncNet",
        "wav2lip_color": "dubbing.experts.wav2lip_color:Wav2LipColor",
        "stable_syncnet": "dubbing.experts.stable_syncnet:StableSyncNetExpert",
    },
    METRICS: {
        "following": "dubbing.metrics.mouth:Following",
        "rest_opening": "dubbing.metrics.mouth:RestOpening",
        "silence_motion": "dubbing.metrics.mouth:SilenceMotion",
        "lip_leak": "dubbing.metrics.mouth:LipLeak",
        "sharpness": "dubbing.metrics.mouth:Sharpness",
    },
    SYNTHESISERS: {  # the best first
        "piper": "dubbing.speaking.piper:Piper",
        "kokoro": "dubbing.speaking.kokoro:Kokoro",
        "espeak": "dubbing.speaking.espeak_ng:EspeakNG",
    },
}
_KIND = {GENERATORS: "generator", EXPERTS: "sync expert", METRICS: "metric", SYNTHESISERS: "synthesiser"}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


@dataclass(frozen=True)
class Plugin:
    """One entry of a group. value: `module:attribute`; package: the distribution that adds it, with its version."""

    group: str
    name: str
    value: str
    package: str

    def __str__(self) -> str:
        return f"{_KIND[self.group]} {self.name!r} of the package {self.package}"


def names(group: str) -> tuple[str, ...]:
    """The names of a group: our own in their order, then the others' by the alphabet."""
    return tuple(dict.fromkeys(p.name for p in _plugins(group)))


def others(group: str) -> tuple[str, ...]:
    """The names that other packages add, without those that are our own names too."""
    return tuple(name for name in names(group) if name not in BUILT_IN[group])


def find(group: str, name: str) -> Plugin:
    """The plugin of that name. Raises PluginError: there is none, or two packages add it."""
    found = [p for p in _plugins(group) if p.name == name]
    if len(found) == 1:
        if not _NAME.fullmatch(name):
            raise PluginError(
                f"The {found[0]} cannot be used: a name has small letters, digits and _, and begins with a letter."
            )
        return found[0]
    kind, known = _KIND[group], names(group)
    if found:
        packages = " and ".join(p.package for p in found)
        raise PluginError(f"There is more than one {kind} {name!r}, of the packages {packages}; uninstall all but one.")
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    raise PluginError(f"There is no {kind} {name!r}{hint} There is: {', '.join(known)}.")


def load(group: str, name: str) -> Any:
    """The class of that name, imported. Raises PluginError: as `find`; or its package cannot be imported."""
    plugin = find(group, name)
    module, _, attribute = plugin.value.partition(":")
    try:
        kind = import_module(module)
        for part in attribute.split("."):
            kind = getattr(kind, part)
    except Exception as e:  # whatever the import of somebody else's code does
        said = " ".join(f"{type(e).__name__}: {e}".split())
        raise PluginError(f"The {plugin} cannot be loaded ({said}); repair or uninstall that package.") from e
    if getattr(kind, "name", None) != name:
        raise PluginError(
            f"The {plugin} cannot be used: {plugin.value} calls itself {getattr(kind, 'name', None)!r}, which must be "
            "the name of its entry point."
        )
    return kind


def require(group: str, name: str, attributes: Sequence[str]) -> Any:
    """`load`, and whether the class has every attribute of its kind's protocol. Raises PluginError."""
    kind = load(group, name)
    missing = [a for a in attributes if not hasattr(kind, a)]
    if missing:
        raise PluginError(
            f"The {find(group, name)} cannot be used: {kind.__name__} has no {', '.join(missing)}; the tests of "
            "`dubbing.testing` say what is needed."
        )
    return kind


def loaded(group: str, among: Sequence[str] | None = None) -> tuple[dict[str, Any], list[PluginError]]:
    """The classes of a group by name, and why others cannot be loaded. among: only these names."""
    found: dict[str, Any] = {}
    problems: list[PluginError] = []
    for name in names(group) if among is None else among:
        try:
            found[name] = load(group, name)
        except PluginError as e:
            problems.append(e)
    return found, problems


def _plugins(group: str) -> tuple[Plugin, ...]:
    own = tuple(Plugin(group, name, value, OWN) for name, value in BUILT_IN[group].items())
    return (*own, *_of_others(group, tuple(sys.path)))


@lru_cache(maxsize=16)
def _of_others(group: str, places: tuple[str, ...]) -> tuple[Plugin, ...]:
    """The plugins that other packages register, read once for each `sys.path`."""
    found = set()
    for entry in entry_points(group=group):
        package = entry.dist.name if entry.dist else "unknown"
        if package == OWN:
            continue  # the table knows what this code has; the metadata may be of another version
        plugin = Plugin(group, entry.name, entry.value, f"{package} {entry.dist.version}" if entry.dist else package)
        found.add(plugin)
    return tuple(sorted(found, key=lambda p: (p.name, p.package)))

"""The recipes of `dub train`, one file each, which is imported only when its name is asked for."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from dubbing.errors import InputError
from dubbing.train.recipe import Recipe, Settings

__all__ = ["RECIPES", "find", "settings_of"]

# name -> module and class
RECIPES: dict[str, tuple[str, str]] = {
    "wav2lip_expert": ("dubbing.train.recipes.wav2lip_expert", "Wav2LipExpert"),
    "wav2lip": ("dubbing.train.recipes.wav2lip", "Wav2Lip"),
    "spt_wav2lip": ("dubbing.train.recipes.spt_wav2lip", "SptWav2Lip"),
    "speech_gan": ("dubbing.train.recipes.speech_gan", "SpeechGAN"),
    "sadtalker_exp": ("dubbing.train.recipes.sadtalker_exp", "SadTalkerExp"),
    "sadtalker_pose": ("dubbing.train.recipes.sadtalker_pose", "SadTalkerPose"),
    "musetalk": ("dubbing.train.recipes.musetalk", "MuseTalk"),
    "lipgan": ("dubbing.train.recipes.lipgan", "LipGAN"),
}


def find(name: str) -> Recipe:
    """The recipe of that name. Raises InputError for an unknown one."""
    if name not in RECIPES:
        close = difflib.get_close_matches(name, RECIPES, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise InputError(f"There is no model {name!r} to train{hint} There is: {', '.join(RECIPES)}.")
    module, kind = RECIPES[name]
    made: Recipe = getattr(importlib.import_module(module), kind)()
    return made


def settings_of(recipe: Recipe, given: Mapping[str, Any]) -> Any:
    """A recipe's settings with those that were given. Raises InputError naming the first wrong one."""
    try:
        made: Settings = recipe.Settings(**given)
    except ValidationError as e:
        first = e.errors()[0]
        raise InputError(
            f"train {recipe.name}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}; it knows "
            f"{', '.join(recipe.Settings.model_fields)}."
        ) from e
    return made

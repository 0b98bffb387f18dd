"""`piper`: voices of Piper (VITS, ONNX), which sound like people; it knows every phone's time.

A voice is two files, `NAME.onnx` and `NAME.onnx.json`: in `voices` in the models folder, or in an installed package
whose name holds `piper`. The phones of a text are asked of espeak-ng, as these voices were trained; nothing of Piper's
own program is needed.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dubbing.errors import InputError, ModelError
from dubbing.speaking import Break, Passage, Speech, Voice, Words, espeak_ng, graphs
from dubbing.speaking.joined import joined
from dubbing.speaking.places import own_folder

__all__ = ["Piper", "packed_voices"]

_START, _END, _FILL = "^", "$", "_"
_EARLY_S = 0.045  # where stops are quietest and vowels loudest, against the sums of the lengths (LOG)
_MARKS = re.compile(r"([.,;:!?…।。、！？]+)")
_PLAIN = str.maketrans("…।。、！？", "...,!?")


class Piper:
    """See `dubbing.speaking.Synthesiser`."""

    name: ClassVar[str] = "piper"
    emphasis: ClassVar[bool] = False

    def __init__(self, folder: str | None = None) -> None:
        self._folder = own_folder(folder)

    def absent(self) -> str | None:
        return graphs.absent("piper voices") or espeak_ng.absent()

    def voices(self) -> Sequence[Voice]:
        found = []
        for name, path in sorted(self._files().items()):
            about = _about(path)
            if about is not None:
                kind = about.get("audio", {}).get("quality", "")
                found.append(Voice(f"piper/{name}", _languages(name, about), f"Piper, {kind}" if kind else "Piper"))
        return found

    def version(self, voice: str) -> str:
        path = self._file(voice)
        return f"{_digest(path, path.stat().st_size)} {espeak_ng.package_version('espeakng-loader')}"

    def speak(self, passages: Sequence[Passage], voice: str, rates: Sequence[float]) -> list[Speech]:
        path = self._file(voice)
        about = _about(path) or {}
        texts = [one.text for passage in passages for one in passage if isinstance(one, Words)]
        letters = iter(_letters(texts, str(about["espeak"]["voice"])))
        net, rate_hz = graphs.Speaking(path), int(about["audio"]["sample_rate"])
        said = []
        for passage, rate in zip(passages, rates, strict=True):
            parts: list[Speech | Break] = []
            for one in passage:
                parts.append(one if isinstance(one, Break) else _say(net, next(letters), about, rate, rate_hz))
            said.append(joined(parts, rate_hz))
        return said

    def _files(self) -> dict[str, Path]:
        """Graphs by name; those of the folder come before a package's."""
        own = {p.stem: p for p in sorted(self._folder.glob("*.onnx"))} if self._folder.is_dir() else {}
        return {**packed_voices("piper"), **own}

    def _file(self, voice: str) -> Path:
        path = self._files().get(voice)
        if path is None or _about(path) is None:
            raise InputError(f"there is no voice piper/{voice}; `dub voices` lists those that there are.")
        return path


@lru_cache(maxsize=4)
def packed_voices(kind: str) -> Mapping[str, Path]:
    """Graphs with their settings beside them in installed packages whose names hold `kind`, by name."""
    found = {}
    for package in distributions():
        if kind in (package.metadata["Name"] or "").lower():
            for file in package.files or ():
                if file.name.endswith(".onnx.json"):
                    path = Path(str(package.locate_file(file)))
                    found[file.name.removesuffix(".onnx.json")] = path.with_name(path.name.removesuffix(".json"))
    return {name: path for name, path in found.items() if path.exists()}


def _about(path: Path) -> dict[str, Any] | None:
    """A voice's settings; None where they are not those of a voice that speaks espeak-ng's phones."""
    try:
        found = json.loads(path.with_name(path.name + ".json").read_text("utf-8"))
        ids = found["phoneme_id_map"]
        good = all(mark in ids for mark in (_START, _END, _FILL)) and found["audio"]["sample_rate"] > 0
        return found if good and found["espeak"]["voice"] and found.get("phoneme_type", "espeak") == "espeak" else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _languages(name: str, about: Mapping[str, Any]) -> tuple[str, ...]:
    code = about.get("language", {}).get("code") or name.partition("-")[0]
    return (str(code).replace("_", "-"),)


@lru_cache(maxsize=16)
def _digest(path: Path, size: int) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _letters(texts: Sequence[str], voice: str) -> list[list[str]]:
    """Each text as the letters that the graph knows: of IPA, and the marks between clauses."""
    lines = espeak_ng.spelt(texts, voice, _MARKS, _PLAIN)
    return [list(unicodedata.normalize("NFD", line)) for line in lines]


def _say(
    net: graphs.Speaking, letters: Sequence[str], about: Mapping[str, Any], rate: float, rate_hz: int
) -> Speech:  # fmt: skip
    ids, symbols = [], []
    known: Mapping[str, Sequence[int]] = about["phoneme_id_map"]
    for letter in (_START, *letters, _END):
        if letter in known:
            ids += [*known[letter], *(known[_FILL] if letter != _END else ())]
            shown = "" if letter in (_START, _END) else letter
            symbols += [shown, *[""] * (len(known[letter]) - 1 + (letter != _END) * len(known[_FILL]))]
    how = about.get("inference", {})
    scales = how.get("noise_scale", 0.667), how.get("length_scale", 1.0) / rate, how.get("noise_w", 0.8)
    given: dict[str, Any] = {
        "input": np.array([ids], np.int64), "input_lengths": np.array([len(ids)], np.int64),
        "scales": np.array(scales, np.float32),
    }  # fmt: skip
    if "sid" in net.inputs:
        given["sid"] = np.zeros(1, np.int64)
    wave, lengths = net.say(given)
    if len(lengths) != len(symbols):
        raise ModelError(f"a voice of piper gave {len(lengths)} lengths for {len(symbols)} symbols; take another.")
    return Speech(wave, rate_hz, graphs.phones_of(symbols, lengths, rate_hz, _EARLY_S))

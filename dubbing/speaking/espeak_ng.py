"""`espeak`: voices of espeak-ng, over 100 languages by rules; it sounds like a machine, and knows every phone's time.

It runs as a program of its own (`espeak`), a child process: it is GPL, and only a new process says the same thing
twice. `ask` is also how the other synthesisers come by the phones of a text.
"""

from __future__ import annotations

import importlib.util
import io
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar
from xml.sax.saxutils import escape

import numpy as np

from dubbing.errors import InputError
from dubbing.phones import Phone
from dubbing.speaking import Break, Passage, Speech, Voice, Words

__all__ = ["EspeakNG", "absent", "ask", "package_version", "phonemes", "spelt"]

_USUAL_WPM = 175
_WPM = (80, 450)  # what it accepts
_EARLY_S = 0.0375  # where stops are quietest, vowels loudest, against its events (LOG): it tells of a stop at its burst
_FULL = 32768.0
_SLOWEST_START = 120.0  # seconds that one call may take, and each passage adds one


class EspeakNG:
    """See `dubbing.speaking.Synthesiser`."""

    name: ClassVar[str] = "espeak"
    emphasis: ClassVar[bool] = True

    def __init__(self, folder: str | None = None) -> None:
        pass

    def absent(self) -> str | None:
        return absent()

    def voices(self) -> Sequence[Voice]:
        return _voices()

    def version(self, voice: str) -> str:
        return package_version("espeakng-loader")

    def speak(self, passages: Sequence[Passage], voice: str, rates: Sequence[float]) -> list[Speech]:
        asked = [
            {
                "text": _marked(passage), "voice": voice, "ssml": True,
                "rate_wpm": int(np.clip(round(_USUAL_WPM * rate), *_WPM)),
            }
            for passage, rate in zip(passages, rates, strict=True)
        ]  # fmt: skip
        found = ask({"do": "say", "ipa": True, "utterances": asked})
        rate_hz = int(found["rate_hz"])
        return [
            _speech(found[f"wave_{n}"], found[f"at_{n}"], found[f"name_{n}"], rate_hz) for n in range(len(passages))
        ]


def absent() -> str | None:
    """Why espeak-ng cannot be asked, with what to do; None where it can."""
    if importlib.util.find_spec("espeakng_loader") is None:
        return "espeak-ng is not installed: pip install 'dubbing[espeak]'."
    return None


def ask(wanted: dict[str, Any]) -> dict[str, np.ndarray]:
    """What the program `espeak` answers. Raises InputError where it is not installed, or fails."""
    if reason := absent():
        raise InputError(reason)
    program = str(Path(__file__).with_name("espeak.py"))
    limit_s = _SLOWEST_START + len(wanted.get("utterances", wanted.get("texts", ())))
    try:
        child = subprocess.run(
            [sys.executable, "-P", program], input=json.dumps(wanted).encode(), capture_output=True, check=False,
            timeout=limit_s,
        )  # fmt: skip
    except subprocess.TimeoutExpired as e:
        raise InputError(f"espeak-ng took longer than {limit_s:.0f} s to speak, and was stopped.") from e
    if child.returncode != 0:
        reason = (child.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise InputError(f"espeak-ng could not speak: {reason.removeprefix('RuntimeError: ')}.")
    with np.load(io.BytesIO(child.stdout), allow_pickle=False) as answer:
        return {name: answer[name] for name in answer.files}


def phonemes(texts: Sequence[str], voice: str) -> list[str]:
    """Texts in IPA, with a space between words. voice: of espeak-ng. Raises InputError as `ask`."""
    return [str(one) for one in ask({"do": "phonemes", "voice": voice, "texts": list(texts)})["ipa"]]


def spelt(texts: Sequence[str], voice: str, marks: re.Pattern[str], plain: Mapping[int, Any]) -> list[str]:
    """Texts in IPA with the marks between their clauses. voice: of espeak-ng; marks: of one or more, in a group; plain:
    how a mark is written, for `str.translate`. Raises InputError as `ask`."""
    pieces = [[p for p in marks.split(text) if p.strip()] for text in texts]
    said = iter(phonemes([p for of in pieces for p in of if not marks.fullmatch(p)], voice))
    found = []
    for of in pieces:
        line = ""
        for piece in of:
            if marks.fullmatch(piece):
                line = line.rstrip() + piece.translate(plain)[0] + " "
            else:
                line += re.sub(r"\([a-z-]+\)", "", next(said)) + " "  # (en): where it changes its language
        found.append(line.strip())
    return found


def package_version(name: str) -> str:
    """`espeakng-loader 0.2.4`."""
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return name


@lru_cache(maxsize=1)
def _voices() -> tuple[Voice, ...]:
    found = ask({"do": "voices"})
    listed = []
    for tag, about, sex in zip(found["language"], found["name"], found["sex"], strict=True):
        said = {"m": "a man", "f": "a woman"}.get(str(sex), "")
        listed.append(Voice(f"espeak/{tag}", _tags(str(tag)), ", ".join(filter(None, (str(about).strip(), said)))))
    usual = {"en": "en-us"}  # of several regions, where the tag alone is none of them
    return tuple(sorted(listed, key=lambda v: (v.own_name.split("-")[0], v.own_name != usual.get(v.own_name[:2]))))


def _tags(name: str) -> tuple[str, ...]:
    """BCP 47 of how espeak-ng spells a language: `en-us`, `en-gb-x-rp`, `cmn-latn-pinyin`."""
    import langcodes

    try:
        found = langcodes.Language.get(name)
        tag = str(langcodes.Language.make(language=found.language, territory=found.territory))
        return (tag,) if tag.lower() == name.lower() else (tag, name)
    except ValueError:
        return (name,)


def _marked(passage: Passage) -> str:
    """A passage as the SSML that espeak-ng takes."""
    parts = []
    for one in passage:
        if isinstance(one, Break):
            parts.append(f'<break time="{round(1000 * one.seconds)}ms"/>')
        elif one.emphasis:
            parts.append(f'<emphasis level="{one.emphasis}">{escape(one.text)}</emphasis>')
        else:
            parts.append(escape(one.text))
    return f"<speak>{' '.join(parts)}</speak>" if any(isinstance(p, Words) for p in passage) else ""


def _speech(wave: np.ndarray, at_n: np.ndarray, name_n: np.ndarray, rate_hz: int) -> Speech:
    ends = np.append(at_n[1:], len(wave) + round(_EARLY_S * rate_hz))
    early_n, early_ends = (np.maximum(v / rate_hz - _EARLY_S, 0.0) for v in (at_n, ends))
    phones = tuple(
        Phone(str(name), float(a), float(b))
        for a, b, name in zip(early_n, early_ends, name_n, strict=True)
        if b > a and str(name).strip("_:|; ")
    )
    return Speech((wave / _FULL).astype(np.float32), rate_hz, phones)

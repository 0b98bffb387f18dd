"""ONNX graphs of speech synthesisers, run so that they tell how long each of their symbols is said.

A VITS (Kim et al. 2021) or StyleTTS 2 (Li et al. 2023) model rounds the length of each symbol to whole steps before it
draws the wave. That tensor is no output of the published graphs, but it has a name: it is made one by a few bytes at
the end of the file, because two parts of one message are one message in protocol buffers. Knows no language.
"""

from __future__ import annotations

import importlib.util
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dubbing.errors import ModelError
from dubbing.phones import Phone

__all__ = ["Speaking", "absent", "phones_of"]

_GRAPH, _NODE, _OUTPUT_OF_NODE, _OP, _OUTPUT_OF_GRAPH = 7, 1, 2, 4, 12  # numbers of fields in onnx.proto
_ROUNDS = ("Ceil", "Round")
_STRESS = "ˈˌ'"
_WITH_THE_LAST = "ːˑʰʱʲʷˠˤ˞ⁿˡ̩"  # and whatever combines
_SHORT_PAUSE_S = 0.08  # of a space between words that is no pause, but part of the sounds beside it


def absent(whose: str) -> str | None:
    """Why ONNX Runtime cannot be used, with what to do; None where it can."""
    if importlib.util.find_spec("onnxruntime") is None:
        return f"{whose} need ONNX Runtime, which is not installed: pip install 'dubbing[{whose.split()[0]}]'."
    return None


class Speaking:
    """One graph, ready to speak. It uses chance of its own, which begins anew here. Raises ModelError: it is no graph,
    or none that rounds lengths."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        try:
            data = path.read_bytes()
            self._lengths = _rounded(memoryview(data))
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1  # so that it sums in one order
            options.log_severity_level = 3
            onnxruntime.set_seed(0)
            self._session = onnxruntime.InferenceSession(
                data + _field(_GRAPH, _field(_OUTPUT_OF_GRAPH, _field(1, self._lengths.encode()))), options,
                providers=["CPUExecutionProvider"],
            )  # fmt: skip
        except Exception as e:  # its own errors share no parent
            raise ModelError(f"{path} is no voice that can be used ({' '.join(str(e).split())[:200]}).") from e
        self.inputs = tuple(one.name for one in self._session.get_inputs())

    def say(self, given: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """The wave, float32 (T,), and how many samples of it belong to each symbol, float64 (S,)."""
        wave, lengths = self._session.run([self._session.get_outputs()[0].name, self._lengths], dict(given))
        wave = np.asarray(wave, np.float32).reshape(-1)
        lengths = np.asarray(lengths, np.float64).reshape(-1)
        return wave, lengths * (len(wave) / max(float(lengths.sum()), 1.0))


def phones_of(symbols: Sequence[str], lengths_S: np.ndarray, rate_hz: int, early_s: float) -> tuple[Phone, ...]:
    """The phones of one utterance. symbols: letters of IPA, punctuation, spaces, and "" for what only fills; lengths_S:
    samples of each; early_s: by how much the model says each earlier than these add up to. What fills belongs to the
    letter before it, stress to the one after it."""
    ends = np.maximum(np.cumsum(lengths_S) / rate_hz - early_s, 0.0)
    found: list[Phone] = []
    stress, start, open_ = "", 0.0, False  # open_: whether the last phone goes on
    for symbol, end in zip(symbols, ends.tolist(), strict=True):
        if not symbol or (open_ and _goes_on(symbol)):
            if open_ and found:
                found[-1] = Phone(found[-1].symbol + symbol, found[-1].start_s, end)
                start = end
        elif symbol in _STRESS:
            stress += symbol
        elif symbol.isalpha():
            found.append(Phone(stress + symbol, start, end))
            stress, start, open_ = "", end, True
        else:  # a space, or a mark
            if open_ and end - start < _SHORT_PAUSE_S:
                found[-1] = Phone(found[-1].symbol, found[-1].start_s, end)
            else:
                open_ = False
            start = end
    return tuple(p for p in found if p.end_s > p.start_s)


def _goes_on(symbol: str) -> bool:
    return symbol in _WITH_THE_LAST or bool(unicodedata.combining(symbol[0]))


def _rounded(data: memoryview) -> str:
    """The name of the tensor in which lengths are rounded: the output of the graph's only Ceil or Round."""
    found = []
    for number, graph in _fields(data):
        if number != _GRAPH:
            continue
        for kind, node in _fields(graph):
            if kind != _NODE:
                continue
            parts = {k: bytes(v).decode() for k, v in _fields(node) if k in (_OUTPUT_OF_NODE, _OP)}
            if parts.get(_OP) in _ROUNDS:
                found.append(parts[_OUTPUT_OF_NODE])
    if len(found) != 1:
        raise ModelError(f"it rounds lengths in {len(found)} places, and not in one")
    return found[0]


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields of a message that hold bytes: number and content."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 2:
            size, at = _varint(data, at)
            yield tag >> 3, data[at : at + size]
            at += size
        elif kind == 0:
            _, at = _varint(data, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ModelError("it is no ONNX file")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _field(number: int, content: bytes) -> bytes:
    size, digits = len(content), b""
    while size > 127:
        digits += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + digits + bytes([size]) + content

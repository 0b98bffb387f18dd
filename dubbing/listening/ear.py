"""Whisper as an ear: which language a few seconds of speech are, and which words, each with its time.

The network and its tokens are the package openai-whisper's; it is given no chance to load anything from anywhere. The
features and the resampling are torchaudio's. It knows no film: windows of sound come in, words on the window's own
clock come out.

    A. Radford and others, "Robust Speech Recognition via Large-Scale Weak Supervision", 2022, arXiv:2212.04356
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dubbing import device, models
from dubbing.errors import InputError, ModelError
from dubbing.listening.timing import aligned
from dubbing.sound import RATE_HZ

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LONGEST_S", "Ear", "Said", "Spoken", "features", "require_packages", "resampled"]

LONGEST_S = 30.0  # what the network hears at once
_HEAD, _FRAME_S = 64, 0.02  # width of an attention head; what one step of the encoder stands for
_LATER_S = 0.06  # a word is looked for before it is heard: by 0.07 s in the mean of 31 words of two languages
_MULTILINGUAL = 51_865  # tokens of the smallest vocabulary that has languages
_LOOP = 2.4  # text that packs better than this says the same again and again (as the package's own `transcribe`)
_NO_SPEECH, _UNSURE = 0.6, -1.0  # both beyond these: nothing was said (the same)


def require_packages() -> None:
    """Raises InputError where the optional packages are not installed."""
    if any(importlib.util.find_spec(name) is None for name in ("whisper", "torchaudio")):
        raise InputError("Listening needs openai-whisper and torchaudio; pip install 'dubbing[whisper]'.")


@dataclass(frozen=True, eq=False)
class Spoken:
    """A window that was heard. chances: of each language, by Whisper's code, all together 1; heard: what its encoder
    made of it."""

    chances: dict[str, float]
    heard: Tensor
    length_s: float


@dataclass(frozen=True)
class Said:
    """One word of a window. text: as Whisper writes it, with the space before it where there is one; start_s, end_s: on
    the window's clock; probability: 0..1, the mean over its tokens."""

    text: str
    start_s: float
    end_s: float
    probability: float


class Ear:
    """One checkpoint, ready to listen. where: of torch's devices; None: a GPU where there is one.

    Raises ModelError: no Whisper checkpoint, or one that knows English only; InputError: a package is not installed.
    """

    def __init__(self, path: Path, where: str | None = None) -> None:
        require_packages()
        import torch
        from whisper.model import ModelDimensions, Whisper

        self._torch: Any = torch
        state = models.load_state(path)
        dims = _dimensions(state, str(path))
        if dims["n_vocab"] < _MULTILINGUAL:
            raise ModelError(f"{str(path)!r} knows English only; use one that knows languages, such as whisper_base.")
        network = models.fit(Whisper(ModelDimensions(**dims)), state, str(path))
        if heads := _alignment_heads(dims):
            network.set_alignment_heads(heads)
        self._network: Any = network.eval().to(where or device.default())
        self._mels = dims["n_mels"]

    @property
    def languages(self) -> tuple[str, ...]:
        """Whisper's codes of the languages that it knows."""
        return tuple(self._tokenizer(None).all_language_codes)

    def hear(self, wave: np.ndarray) -> Spoken:
        """Listen to a window, float32 (T,) at 16 kHz in -1..1, of up to 30 s."""
        torch = self._torch
        length_s = min(LONGEST_S, len(wave) / RATE_HZ)
        mel = features(wave, self._mels).to(self._network.device)
        with torch.no_grad(), device.exact(self._network.device):
            heard = self._network.encoder(mel[None])[0]
            _, chances = self._network.detect_language(heard, self._tokenizer(None))
        return Spoken(chances, heard, length_s)

    def words(self, spoken: Spoken, language: str, *, at_any_rate: bool = False) -> list[Said] | None:
        """The words of a window in a language (Whisper's code), in order; none where nothing is said. None where its
        text does not end, or goes round in circles: a shorter window may be heard better. at_any_rate: never None.

        The most probable text, without chance in it.
        """
        from whisper.decoding import DecodingOptions, decode

        torch, network = self._torch, self._network
        room = network.dims.n_text_ctx - 8
        options = DecodingOptions(
            language=language, without_timestamps=True, fp16=False, temperature=0.0, sample_len=room
        )
        with torch.no_grad(), device.exact(network.device):
            found = decode(network, spoken.heard, options)
            if found.no_speech_prob > _NO_SPEECH and found.avg_logprob < _UNSURE:
                return []
            if not at_any_rate and (len(found.tokens) >= room or found.compression_ratio > _LOOP):
                return None
            tokenizer = self._tokenizer(language)
            tokens = [t for t in found.tokens if t < tokenizer.eot]
            if not tokens:
                return []
            frames = max(1, min(network.dims.n_audio_ctx, round(spoken.length_s / _FRAME_S)))
            attention, chances = self._attention(spoken, tokens, tokenizer, frames)
        begins_s = np.minimum(aligned(attention) * _FRAME_S + _LATER_S, frames * _FRAME_S)
        return _words(tokenizer, tokens, begins_s, chances)

    def _attention(
        self, spoken: Spoken, tokens: list[int], tokenizer: Any, frames: int
    ) -> tuple[np.ndarray, list[float]]:
        """(how much each token, and then the end, looks at each step of the sound, float64 (N + 1, frames), by the
        heads that follow the sound; the probability of each token)."""
        from whisper.model import disable_sdpa

        torch, network = self._torch, self._network
        begin = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        fed = torch.tensor([[*begin, *tokens]], device=network.device)
        seen: dict[int, Tensor] = {}

        def keep(layer: int) -> Any:
            return lambda module, given, made: seen.__setitem__(layer, made[-1][0])

        hooks = [b.cross_attn.register_forward_hook(keep(n)) for n, b in enumerate(network.decoder.blocks)]
        try:
            with disable_sdpa():  # the fused one does not tell its weights
                logits = network.decoder(fed, spoken.heard[None])[0]
        finally:
            for hook in hooks:
                hook.remove()
        sure = logits[len(begin) - 1 : -1, : tokenizer.eot].softmax(dim=-1)
        chances = sure[torch.arange(len(tokens)), torch.tensor(tokens, device=sure.device)].tolist()
        layers, heads = network.alignment_heads.indices()
        weights = torch.stack([seen[int(layer)][int(h)] for layer, h in zip(layers, heads, strict=True)])
        weights = weights[:, len(begin) - 1 :, :frames].softmax(dim=-1).double().cpu()
        return _smooth(weights.numpy()), chances

    def _tokenizer(self, language: str | None) -> Any:
        from whisper.tokenizer import get_tokenizer

        return get_tokenizer(True, num_languages=self._network.num_languages, language=language, task="transcribe")


def features(wave: np.ndarray, mels: int) -> Tensor:
    """Whisper's log-mel picture of a window, float32 (mels, 3000): 25 ms every 10 ms, Slaney's scale, 8 decades deep.

    wave: float32 (T,) at 16 kHz; what is missing of 30 s is silence, what is over is left out.
    """
    import torch
    from torchaudio.transforms import MelSpectrogram

    whole = int(LONGEST_S * RATE_HZ)
    padded = torch.zeros(whole)
    padded[: min(whole, len(wave))] = torch.from_numpy(np.ascontiguousarray(wave[:whole], np.float32))
    power = MelSpectrogram(
        sample_rate=RATE_HZ, n_fft=400, hop_length=160, n_mels=mels, norm="slaney", mel_scale="slaney"
    )(padded)[:, :-1]
    decades = power.clamp(min=1e-10).log10()
    return (decades.maximum(decades.max() - 8.0) + 4.0) / 4.0


def resampled(blocks: Iterator[np.ndarray], source_hz: int) -> Iterator[np.ndarray]:
    """The same sound at 16 kHz, by torchaudio's band-limited interpolation. blocks: float32 (T,) one after another.

    A block is worked on with a piece of its neighbours, so that nothing is heard of where it was cut.
    """
    import torch
    from torchaudio.functional import resample

    if source_hz == RATE_HZ:
        yield from blocks
        return
    common = math.gcd(source_hz, RATE_HZ)
    step, made = source_hz // common, RATE_HZ // common  # so many samples become so many
    around = -(-source_hz // 50 // step) * step  # 20 ms: more than the filter reaches
    held, begin = np.zeros(around, np.float32), around  # silence before the sound

    def turned(part: np.ndarray, first: int, last: int) -> np.ndarray:
        wave = resample(torch.from_numpy(part), source_hz, RATE_HZ).numpy()
        return np.asarray(wave[first // step * made : last // step * made], np.float32)

    for block in blocks:
        held = np.concatenate([held, block])
        ready = (len(held) - begin - around) // step * step
        if ready > 0:
            yield turned(held[: begin + ready + around], begin, begin + ready)
            held = held[begin + ready - around :]
            begin = around
    rest = len(held) - begin
    if rest > 0:
        padded = np.concatenate([held, np.zeros(around + step, np.float32)])
        yield turned(padded, begin, begin + -(-rest // step) * step)[: -(-rest * made // step)]


def _dimensions(state: dict[str, Tensor], name: str) -> dict[str, int]:
    """The sizes of a Whisper network, by the shapes of its tensors. Raises ModelError."""
    try:
        mels, width = state["encoder.conv1.weight"].shape[1], state["encoder.conv1.weight"].shape[0]
        vocabulary, text = state["decoder.token_embedding.weight"].shape
        sizes = {"n_audio_ctx": len(state["encoder.positional_embedding"]),
                 "n_text_ctx": len(state["decoder.positional_embedding"])}  # fmt: skip
    except (KeyError, IndexError, ValueError) as e:
        raise ModelError(f"{name!r} is no Whisper checkpoint; `dub models list` names those that are.") from e
    layers = {
        f"n_{what}_layer": len({k.split(".")[2] for k in state if k.startswith(f"{part}.blocks.")})
        for what, part in (("audio", "encoder"), ("text", "decoder"))
    }
    return {
        **sizes, **layers, "n_mels": int(mels), "n_vocab": int(vocabulary), "n_audio_state": int(width),
        "n_audio_head": int(width) // _HEAD, "n_text_state": int(text), "n_text_head": int(text) // _HEAD,
    }  # fmt: skip


def _alignment_heads(dims: dict[str, int]) -> bytes | None:
    """The heads whose attention follows the sound, as the package keeps them for each published size; None of others,
    where all heads of the upper half are taken."""
    from whisper import _ALIGNMENT_HEADS

    sizes = {(4, 384): "tiny", (6, 512): "base", (12, 768): "small", (24, 1024): "medium", (4, 1280): "turbo"}
    name = sizes.get((dims["n_text_layer"], dims["n_text_state"]))
    if (dims["n_text_layer"], dims["n_text_state"]) == (32, 1280):
        name = "large-v3" if dims["n_mels"] == 128 else "large-v2"
    return _ALIGNMENT_HEADS[name] if name else None


def _smooth(weights: np.ndarray) -> np.ndarray:
    """The mean of heads (H, N, frames), freed of spikes."""
    from scipy.ndimage import median_filter

    return np.asarray(median_filter(weights, (1, 1, 7), mode="reflect").mean(0))


def _words(tokenizer: Any, tokens: list[int], begins_s: np.ndarray, chances: list[float]) -> list[Said]:
    """Tokens as words: parts of one letter together, and punctuation with the word that it belongs to."""
    texts, groups = tokenizer.split_to_word_tokens([*tokens, tokenizer.eot])
    found: list[Said] = []
    opening, at = "", 0
    for text, group in zip(texts[:-1], groups[:-1], strict=True):
        first, at = at, at + len(group)
        bare = text.strip()
        if not any(c.isalnum() for c in bare):
            if bare and bare in "\"'“¿¡([{-«„" and (text.startswith(" ") or not found):
                opening = text
            elif found:
                found[-1] = Said(found[-1].text + text, *_rest(found[-1]))
            continue
        sure = float(np.mean(chances[first:at]))
        found.append(Said(opening + (bare if opening else text), float(begins_s[first]), float(begins_s[at]), sure))
        opening = ""
    return found


def _rest(word: Said) -> tuple[float, float, float]:
    return word.start_s, word.end_s, word.probability

"""What whisper's encoder says at every one of its depths, and the windows of it that frames of a film hear.

The encoder is openai-whisper's own (the extras `musetalk`, `latentsync`), with weights from OpenAI's files or from
Hugging Face's. It hears pieces of 30 s and says 50 rows a second; a row holds the input of its first block and what
every block made of it: five states of 384 numbers for `tiny`. A frame hears ten rows, from 80 ms before it to 120 ms
after, whatever the film's rate: the networks that listen were trained at 25 pictures a second, where that is rows
2 i - 4 to 2 i + 5.
"""

from __future__ import annotations

import importlib.util
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import numpy as np

from dubbing.device import exact
from dubbing.networks import whisper_mel
from dubbing.sound import RATE_HZ

if TYPE_CHECKING:
    from torch import Tensor
    from whisper.model import AudioEncoder

__all__ = ["BEFORE", "PER_S", "ROWS", "EncoderStates", "Hearing", "encoder_of", "encoder_state", "first_rows",
           "installed", "states_of"]  # fmt: skip

PER_S = 50  # rows
ROWS, BEFORE = 10, 4  # of a window; of them before the frame
PIECE_ROWS = whisper_mel.COLUMNS // 2
_HEAD = 64  # numbers of a head, in every whisper
_KEPT = 2  # pieces held at once
_OPENAI = (  # names as Hugging Face has them -> as OpenAI does
    (r"^layers\.", "blocks."), (r"\.self_attn_layer_norm\.", ".attn_ln."), (r"\.final_layer_norm\.", ".mlp_ln."),
    (r"\.self_attn\.q_proj\.", ".attn.query."), (r"\.self_attn\.k_proj\.", ".attn.key."),
    (r"\.self_attn\.v_proj\.", ".attn.value."), (r"\.self_attn\.out_proj\.", ".attn.out."),
    (r"\.fc1\.", ".mlp.0."), (r"\.fc2\.", ".mlp.2."), (r"^layer_norm\.", "ln_post."),
    (r"^embed_positions\.weight$", "positional_embedding"),
)  # fmt: skip


def installed() -> bool:
    """Whether openai-whisper is."""
    return importlib.util.find_spec("whisper") is not None


def encoder_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's tensors of a whisper by OpenAI's names, float32, without the decoder's.

    state: of OpenAI's file, of Hugging Face's, or of an encoder alone. Empty where it holds no encoder.
    """
    own = {re.sub(r"^(model\.)?encoder\.", "", k): v for k, v in state.items() if re.match(r"(model\.)?encoder\.", k)}
    found = {}
    for key, value in (own or state).items():
        for theirs, ours in _OPENAI:
            key = re.sub(theirs, ours, key)
        found[key] = value.float() if value.is_floating_point() else value
    return found if "conv1.weight" in found else {}


def encoder_of(state: Mapping[str, Tensor]) -> AudioEncoder:
    """A network of the sizes that `encoder_state` found, not yet filled. Raises ValueError: there are none."""
    from whisper.model import AudioEncoder

    shapes = {key: tuple(value.shape) for key, value in state.items()}
    width, bands, _ = shapes.get("conv1.weight", (0, 0, 0))
    rows = shapes.get("positional_embedding", (0,))[0]
    layers = len({key.split(".")[1] for key in shapes if key.startswith("blocks.")})
    if bands != whisper_mel.BANDS or rows != PIECE_ROWS or not layers or not width or width % _HEAD:
        raise ValueError(f"no encoder of whisper that hears {whisper_mel.BANDS} bands in {PIECE_ROWS} rows")
    return AudioEncoder(bands, rows, width, width // _HEAD, layers)


class EncoderStates:
    """An encoder ready to run, float32.

    last_norm: whether the last state is taken behind the encoder's last norm, as Hugging Face says it, or before, as
    OpenAI's blocks do.
    """

    def __init__(self, encoder: AudioEncoder, device: str = "cpu", *, last_norm: bool) -> None:
        import torch

        self._device = torch.device(device)
        self._net, self._last_norm = encoder.eval().float().to(self._device), last_norm
        self.depth, self.width = len(encoder.blocks) + 1, encoder.conv1.out_channels
        """States of a row, and numbers of a state."""

    def __call__(self, mel_NM: np.ndarray) -> np.ndarray:
        """The states of a piece, float32 (1500, depth, width). mel_NM: log-mel (3000, 80)."""
        import torch

        from dubbing.networks.folding import in_lanes

        mel = torch.from_numpy(np.ascontiguousarray(mel_NM.T))[None]
        with torch.inference_mode(), exact(self._device):
            if self._device.type != "cpu":
                return np.asarray(self._run(mel.to(self._device)).cpu().numpy())
            return np.asarray(in_lanes(self._run, [mel])[0].numpy())  # one thread: the same sums everywhere

    def _run(self, mel_1MN: Tensor) -> Tensor:
        return states_of(self._net, mel_1MN, last_norm=self._last_norm)[0]


def states_of(net: AudioEncoder, mel_BMN: Tensor, *, last_norm: bool) -> Tensor:
    """The states of several pieces at once, (B, 1500, depth, width), for who learns. mel_BMN: (B, 80, 3000)."""
    import torch

    gelu = torch.nn.functional.gelu
    x = gelu(net.conv2(gelu(net.conv1(mel_BMN)))).permute(0, 2, 1) + net.positional_embedding
    states = [x]
    for block in net.blocks:
        x = block(x)
        states.append(x)
    if last_norm:
        states[-1] = net.ln_post(x)
    return torch.stack(states, 2)


def first_rows(times: Sequence[Fraction]) -> np.ndarray:
    """The first row of the window of frames at `times`, exact seconds from the sound's first sample, int64 (N,)."""
    return np.array([t * PER_S // 1 - BEFORE for t in times], np.int64)


class Hearing:
    """The states of a whole sound, of which a few pieces are held at once.

    floor: of the log-mel: `piece` as Hugging Face's extractor, `whole` as OpenAI's; outside: what rows before the
    sound's first and after its last hold: `zeros`, or `edge`, the nearest row again.
    """

    def __init__(
        self, states: EncoderStates, wave: np.ndarray, *, floor: Literal["piece", "whole"],
        outside: Literal["zeros", "edge"],
    ) -> None:  # fmt: skip
        self.states, self._wave, self._outside = states, np.asarray(wave, np.float32), outside
        self._whole = whisper_mel.Whole(wave) if floor == "whole" else None
        self.rows = len(wave) * PER_S // RATE_HZ
        """How many the sound has."""
        if self._whole:
            whole, rest = divmod(self._whole.columns, whisper_mel.COLUMNS)
            self.rows = whole * PIECE_ROWS + rest // 2
        self._held: OrderedDict[int, np.ndarray] = OrderedDict()

    def windows(self, first_rows_N: np.ndarray, rows: int = ROWS) -> np.ndarray:
        """Windows of rows from the given ones on, row by row and state by state, float32 (N, rows * depth, width)."""
        return self.at(np.asarray(first_rows_N)[:, None] + np.arange(rows))

    def at(self, rows_NR: np.ndarray) -> np.ndarray:
        """As `windows`, of any rows."""
        depth, width = self.states.depth, self.states.width
        out = np.zeros((*rows_NR.shape, depth, width), np.float32)
        inside = (rows_NR >= 0) & (rows_NR < self.rows)
        if self._outside == "edge" and self.rows:
            rows_NR, inside = np.clip(rows_NR, 0, self.rows - 1), np.ones(rows_NR.shape, bool)
        for k in np.unique(rows_NR[inside] // PIECE_ROWS):
            here = inside & (rows_NR // PIECE_ROWS == k)
            out[here] = self._piece(int(k))[rows_NR[here] - k * PIECE_ROWS]
        return out.reshape(len(rows_NR), -1, width)

    def _piece(self, k: int) -> np.ndarray:
        if k in self._held:
            self._held.move_to_end(k)
            return self._held[k]
        at = k * whisper_mel.PIECE
        wave = self._wave[at : at + whisper_mel.PIECE]
        self._held[k] = self.states(self._whole.piece(k) if self._whole else whisper_mel.of_piece(wave))
        while len(self._held) > _KEPT:
            self._held.popitem(last=False)
        return self._held[k]

"""Whisper: speech to words, and the hearing of generators."""

from __future__ import annotations

from dubbing.models.entries.record import Licence, Model

__all__ = ["ENTRIES"]

_WHISPER = (  # name, millions of numbers, bytes, sha256: as the package openai-whisper names them, in its addresses
    ("tiny", 39, 75_572_083, "65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9"),
    ("base", 74, 145_262_807, "ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e"),
    ("small", 244, 483_617_219, "9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794"),
    ("medium", 769, 1_528_008_539, "345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1"),
    ("large-v3-turbo", 809, 1_617_941_637, "aff26ae408abcba5fbf8813c21e62b0941638c5f6eebfb145be0c9839262a19a"),
    ("large-v3", 1550, 3_087_371_615, "e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb"),
)


def _whisper(name: str, millions: int, size: int, sha256: str) -> Model:
    ours = f"whisper_{name.removeprefix('large-v3-').removesuffix('-v3')}"
    return Model(
        name=ours,
        file=f"{ours}.pt",
        what=f"Whisper {name}, languages and words of speech, {millions} million numbers",
        licence=Licence(
            "MIT",
            "MIT licence, of code and weights: any use, also commercial, as long as the copyright notice stays with "
            "copies of the file.",
            "any",
        ),
        source="https://github.com/openai/whisper",
        layout="{'dims': ..., 'model_state_dict': ...}, half precision; log-mel 80x3000 (large and turbo: 128x3000)",
        size=size,
        sha256=sha256,
        urls=(f"https://openaipublic.azureedge.net/main/whisper/models/{sha256}/{name}.pt",),
    )


ENTRIES: tuple[Model, ...] = (*(_whisper(*one) for one in _WHISPER),)

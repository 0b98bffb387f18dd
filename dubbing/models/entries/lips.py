"""Generators of the literature that draw a mouth from sound, and the expert that one of them learns from."""

from __future__ import annotations

from dubbing.models.entries.record import Licence, Model

__all__ = ["ENTRIES"]

_WAV2LIP = Licence(
    "non-commercial",
    "Wav2Lip's weights were trained on the LRS2 dataset: their authors allow personal, academic and research use "
    "of the weights and of everything made with them, and prohibit any commercial use.",
    "non-commercial research",
    limited=True,
)

_LIPGAN = Licence(
    "non-commercial",
    "LipGAN's code is under the MIT licence; its weights were trained on the LRS2 dataset, which may be used for "
    "non-commercial research only, and their authors state no terms for the weights themselves.",
    "non-commercial research",
    limited=True,
)

ENTRIES: tuple[Model, ...] = (
    Model(
        name="wav2lip",
        file="wav2lip.pth",
        what="Wav2Lip, generator, 96x96",
        licence=_WAV2LIP,
        source="https://github.com/Rudrabha/Wav2Lip",
        layout="{'state_dict': ...} with 'module.' before each of 352 keys; face 6x96x96, mel 1x80x16",
        size=435_807_851,
        sha256="b78b681b68ad9fe6c6fb1debc6ff43ad05834a8af8a62ffc4167b7b34ef63c37",
        # Its authors withdrew the file in 2025; SadTalker's publish the same one.
        urls=("https://github.com/OpenTalker/SadTalker/releases/download/v0.0.2/wav2lip.pth",),
    ),
    Model(
        name="wav2lip_gan",
        file="wav2lip_gan.pth",
        what="Wav2Lip, generator trained against a picture discriminator, 96x96",
        licence=_WAV2LIP,
        source="https://github.com/Rudrabha/Wav2Lip",
        layout="as wav2lip",
        size=435_801_865,
        sha256="ca9ab7b7b812c0e80a6e70a5977c545a1e8a365a6c49d5e533023c034d7ac3d8",
        # Withdrawn likewise; a fork's release holds the same file.
        urls=("https://github.com/justinjohn0306/Wav2Lip/releases/download/models/wav2lip_gan.pth",),
    ),
    Model(
        name="wav2lip_color",
        file="lipsync_expert.pth",
        what="Wav2Lip, its colour sync expert",
        licence=_WAV2LIP,
        source="https://github.com/Rudrabha/Wav2Lip",
        layout="{'state_dict': ...}, 217 keys; faces 15x48x96, mel 1x80x16, embeddings 512",
        size=197_357_631,
        sha256="9b9936c721696446eeed353032cab242a8cf0eed8c46cde540366f6ae5493be5",
        by_hand="its authors offer it no longer",
    ),
    Model(
        name="lipgan",
        file="lipgan.h5",
        what="LipGAN, generator (basic or residual, read off the file), 96x96",
        licence=_LIPGAN,
        source="https://github.com/Rudrabha/LipGAN",
        layout="Keras .h5, layers conv2d*, conv2d_transpose*, batch_normalization*; face 6x96x96, MFCC 1x12x35",
        by_hand="its authors keep it on Google Drive, which has no stable address",
    ),
    Model(
        name="speech_gan",
        file="speech_gan.pth",
        what="speech-driven temporal GAN, generator, 128x96, as `dub train speech_gan` makes it",
        licence=Licence(
            "your own",
            "Nobody published these weights: what they may be used for is what the data they were trained on allows.",
            "whatever its training data allows",
        ),
        source="https://arxiv.org/abs/1805.09313",
        layout="{'state_dict': ..., 'model': 'speech_gan', 'settings': ...}, keys audio, identity, noise, decoder",
        by_hand="its authors published no weights; `dub train speech_gan` makes them",
    ),
)

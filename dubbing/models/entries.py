"""The published models that this project can use, one entry each.

Sizes and hashes are those of the files as their authors first published them; where nobody could
confirm a hash it is None, and the first file added is then the one that counts. It knows no folder
and no network.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from dubbing.errors import ModelError

__all__ = ["MAX_BYTES", "MODELS", "Licence", "Model", "find"]

MAX_BYTES = 2_000_000_000  # no larger file is taken for a model whose size is not known


@dataclass(frozen=True)
class Licence:
    """The terms under which a model may be used.

    word: for a table; text: one or two full sentences; use: what it may be used for, in a few words;
    limited: whether a person has to accept `text` before the file is pulled or added.
    """

    word: str
    text: str
    use: str
    limited: bool = False


@dataclass(frozen=True)
class Model:
    """One file of published weights.

    name: as in settings and on the command line; file: its name in the model store and under a mirror's base;
    what: it is; source: the page of its authors; layout: how its tensors are kept; size: bytes, and
    sha256: hex, None where nobody could confirm them; urls: where the file itself can be loaded from,
    tried in this order; by_hand: why there is none.
    """

    name: str
    file: str
    what: str
    licence: Licence
    source: str
    layout: str
    size: int | None = None
    sha256: str | None = None
    urls: tuple[str, ...] = ()
    by_hand: str = "its authors offer no stable download"

    @property
    def limit_bytes(self) -> int:
        """The most bytes that are loaded for it."""
        return MAX_BYTES if self.size is None else self.size


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

_SADTALKER = Licence(
    "non-commercial",
    "SadTalker is under the Apache licence 2.0, and its authors state no other terms for its weights. Parts of them "
    "come from others: the encoder of sound from Wav2Lip's weights (the LRS2 dataset: research alone), and the network "
    "of coefficients from the Basel Face Model of 2009, which is for non-commercial use.",
    "non-commercial research",
    limited=True,
)

_BASEL = Licence(
    "non-commercial",
    "These numbers derive from the mean face of the Basel Face Model of 2009, whose licence allows non-commercial use "
    "alone; SadTalker's repository, under the Apache licence 2.0, publishes them.",
    "non-commercial",
    limited=True,
)

_SADTALKER_CODE = Licence(
    "Apache-2.0",
    "SadTalker is under the Apache licence 2.0, and its authors state no other terms for its weights.",
    "any; for the weights unstated",
)

_SADTALKER_FILES = (  # name, file as published, release, licence, what, layout, bytes, sha256
    ("256", "SadTalker_V0.0.2_256.safetensors", "v0.0.2-rc", _SADTALKER, "all networks but mapping, 256x256",
     "flat, prefixes kp_extractor, generator, audio2exp, audio2pose, face_3drecon",
     725_066_984, "c211f5d6de003516bf1bbda9f47049a4c9c99133b1ab565c6961e5af16477bff"),
    ("512", "SadTalker_V0.0.2_512.safetensors", "v0.0.2-rc", _SADTALKER, "all networks but mapping, 512x512",
     "as sadtalker_256",
     725_066_984, "0e063f7ff5258240bdb0f7690783a7b1374e6a4a81ce8fa33456f4cd49694340"),
    ("mapping_full", "mapping_00109-model.pth.tar", "v0.0.2-rc", _SADTALKER_CODE, "MappingNet, 73 numbers (full)",
     "{'mapping': ...}, 18 keys",
     155_779_231, "84a8642468a3fcfdd9ab6be955267043116c2bec2284686a5262f1eaf017f64c"),
    ("mapping_crop", "mapping_00229-model.pth.tar", "v0.0.2-rc", _SADTALKER_CODE, "MappingNet, 70 numbers (crop)",
     "{'mapping': ...}, 18 keys",
     155_521_183, "62a1e06006cc963220f6477438518ed86e9788226c62ae382ddc42fbcefb83f1"),
    ("renderer", "facevid2vid_00189-model.pth.tar", "v0.0.2", _SADTALKER_CODE, "renderer and keypoints, older file",
     "{'generator': ..., 'kp_detector': ..., ...}",
     2_112_619_148, "fbad01d46f0510276dc4521322dde6824a873a4222cd0740c85762e7067ea71d"),
    ("exp", "auido2exp_00300-model.pth", "v0.0.2", _SADTALKER, "ExpNet, older file",
     "{'model': ...}, 93 keys",
     34_278_319, "b7608f0e6b477e50e03ca569ac5b04a841b9217f89d502862fc78fda4e46dec4"),
    ("pose", "auido2pose_00140-model.pth", "v0.0.2", _SADTALKER, "PoseVAE, older file",
     "{'model': ...}, 419 keys",
     95_916_155, "4fba6701852dc57efbed25b1e4276e4ff752941860d69fc4429f08a02326ebce"),
    ("3dmm", "epoch_20.pth", "v0.0.2", _SADTALKER, "network of 3D coefficients, older file",
     "{'net_recon': ...}, 332 keys",
     288_860_037, "6d17a6b23457b521801baae583cb6a58f7238fe6721fc3d65d76407460e9149b"),
)  # fmt: skip


def _sadtalker(
    name: str, file: str, release: str, licence: Licence, what: str, layout: str, size: int, sha256: str
) -> Model:
    return Model(
        name=f"sadtalker_{name}",
        file=f"sadtalker_{name}{'.safetensors' if file.endswith('.safetensors') else '.pth'}",
        what=f"SadTalker, {what}",
        licence=licence,
        source="https://github.com/OpenTalker/SadTalker",
        layout=layout,
        size=size,
        sha256=sha256,
        urls=(f"https://github.com/OpenTalker/SadTalker/releases/download/{release}/{file}",),
    )


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


MODELS: tuple[Model, ...] = (
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
        name="syncnet_v2",
        file="syncnet_v2.model",
        what="SyncNet v2, the expert that published LSE is measured with",
        licence=Licence(
            "MIT (code)",
            "The authors' repository, which points to the file, is under the MIT licence; the page where the file "
            "lies states no terms for the weights themselves.",
            "any; for the weights unstated",
        ),
        source="https://github.com/joonson/syncnet_python",
        layout="flat, 102 keys netcnnaud, netfcaud, netcnnlip, netfclip; embeddings 1024",
        size=54_573_114,
        sha256="961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442",
        urls=("https://www.robots.ox.ac.uk/~vgg/software/lipsync/data/syncnet_v2.model",),
    ),
    Model(
        name="light_asd_ava",
        file="light_asd_ava.model",
        what="Light-ASD, which of the visible faces speaks; trained on AVA",
        licence=Licence(
            "MIT",
            "MIT licence: any use, also commercial, as long as the copyright notice stays with copies of the file.",
            "any",
        ),
        source="https://github.com/Junhua-Liao/Light-ASD",
        layout="flat, 192 keys model, lossAV.FC, lossV.FC; faces 112x112 grey, 13 MFCCs",
        size=4_175_289,
        sha256="d44bc3ea7baa8e0946fa3921311714a630ed8b90a1928fab0dbe30d918909317",
        urls=(
            "https://raw.githubusercontent.com/Junhua-Liao/Light-ASD/"
            "ed38c232de5efe0261dbd68627c0ade7cdfe14eb/weight/pretrain_AVA_CVPR.model",
        ),
    ),
    Model(
        name="yunet_n_640",
        file="yunet_n_640.onnx",
        what="YuNet, a small face detector",
        licence=Licence(
            "Apache-2.0",
            "Apache licence 2.0: any use, also commercial, as long as its notices stay with copies of the file.",
            "any",
        ),
        source="https://github.com/ShiqiYu/libfacedetection.train",
        layout="ONNX graph for OpenCV's FaceDetectorYN; BGR 0..255, any size",
        size=317_466,
        sha256="25a606a145a5b6d7271ae138fbd00eba91dad8b83222ae3f2c7ecd0f4a7b0e31",
        urls=(
            "https://raw.githubusercontent.com/ShiqiYu/libfacedetection.train/"
            "0047ac24afb1a50a0c6105001c89d1b5b805dbf1/onnx/yunet_n_640_640.onnx",
        ),
    ),
    Model(
        name="inception_fid",
        file="inception_fid.pth",
        what="Inception v3 of 2015-12-05 for torch, the network that published FID is measured with",
        licence=Licence(
            "Apache-2.0 (code)",
            "The repository that publishes the file, pytorch-fid, is under the Apache licence 2.0; its page states no "
            "terms for the weights themselves, which Google trained on ImageNet.",
            "any; for the weights unstated",
        ),
        source="https://github.com/mseitzer/pytorch-fid",
        layout="flat, 566 keys Conv2d_1a_3x3, ..., Mixed_7c, fc (1008 classes); RGB 3x299x299, features 2048",
        size=95_628_359,
        sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        urls=(
            "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        ),
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
    *(_sadtalker(*one) for one in _SADTALKER_FILES),
    Model(
        name="sadtalker_mean_face",
        file="sadtalker_mean_face.mat",
        what="SadTalker, the standard face that faces are aligned to, 68 points",
        licence=_BASEL,
        source="https://github.com/OpenTalker/SadTalker",
        layout="MATLAB file, {'lm': 68x3}",
        size=994,
        sha256="53b83ce6e35c50ddc3e97603650cef4970320c157e75c241c844f29c1dcba65a",
        urls=(
            "https://raw.githubusercontent.com/OpenTalker/SadTalker/"
            "cd4c0465ae0b54a6f85af57f5c65fec9fe23e7f8/src/config/similarity_Lm3D_all.mat",
        ),
    ),
    *(_whisper(*one) for one in _WHISPER),
)


def find(name: str, models: Sequence[Model] = MODELS) -> Model:
    """The entry of that name: the only way from a name to a file. Raises ModelError for an unknown one."""
    for model in models:
        if model.name == name:
            return model
    names = [m.name for m in models]
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    raise ModelError(f"There is no model {name!r}{hint} There is: {', '.join(names)}.")

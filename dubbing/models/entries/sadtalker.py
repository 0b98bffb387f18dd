"""SadTalker: the published safetensors file with its mappings, and the files of the older release."""

from __future__ import annotations

from dubbing.models.entries.record import Licence, Model

__all__ = ["ENTRIES"]

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


ENTRIES: tuple[Model, ...] = (
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
)

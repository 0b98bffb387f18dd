"""Networks that find faces, tell who speaks, and measure results."""

from __future__ import annotations

from dubbing.models.entries.record import Licence, Model

__all__ = ["ENTRIES"]


ENTRIES: tuple[Model, ...] = (
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
)

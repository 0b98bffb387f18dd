"""LatentSync 1.5 and 1.6, and the sync expert that they were trained with.

Sizes and hashes are those that the hub gives for its large files; at least two public repositories
quote each of them alike.
"""

from __future__ import annotations

from dubbing.models.entries.record import HUB, Licence, Model

__all__ = ["ENTRIES"]

_LATENTSYNC = Licence(
    "Apache-2.0 (code)",
    "LatentSync's code is under the Apache licence 2.0; its README states no licence for the weights, and the card "
    "beside the file is said by others to name OpenRAIL++, which allows commercial use and forbids harmful uses: read "
    "that card before you use them.",
    "for the weights unstated: see the card",
)
_UNET = "{'global_step': ..., 'state_dict': ...}, 1246 keys; latents 13x16x32x32 (1.6: 13x16x64x64), sound 50x384"

ENTRIES: tuple[Model, ...] = (
    Model(
        name="latentsync_15_unet",
        file="latentsync_15_unet.pt",
        what="LatentSync 1.5, the diffusion network, 256x256",
        licence=_LATENTSYNC,
        source=f"{HUB}/ByteDance/LatentSync-1.5",
        layout=_UNET,
        size=5_072_348_184,
        sha256="6440b49a7ccceff56cdc001f5f17605216337f5bbd66fa360139768926e23f51",
        urls=(f"{HUB}/ByteDance/LatentSync-1.5/resolve/main/latentsync_unet.pt",),
    ),
    Model(
        name="latentsync_16_unet",
        file="latentsync_16_unet.pt",
        what="LatentSync 1.6, the same network trained at 512x512",
        licence=_LATENTSYNC,
        source=f"{HUB}/ByteDance/LatentSync-1.6",
        layout=_UNET,
        size=5_072_222_488,
        sha256="0a478e89eb660f82da4c35dbdde8a5adfb27f99d1b4e50edd03729e1e98316d3",
        urls=(f"{HUB}/ByteDance/LatentSync-1.6/resolve/main/latentsync_unet.pt",),
    ),
    Model(
        name="stable_syncnet",
        file="stable_syncnet.pt",
        what="StableSyncNet, LatentSync's sync expert, as published with 1.6",
        licence=_LATENTSYNC,
        source=f"{HUB}/ByteDance/LatentSync-1.6",
        layout="{'state_dict': ..., ...}, 266 keys; faces 48x128x256, mel 1x80x52, embeddings 2048",
        size=1_605_328_746,
        sha256="77678d13861a02d6e83d0b169962175b6266be773f1f6f85fda2b0182e225118",
        urls=(f"{HUB}/ByteDance/LatentSync-1.6/resolve/main/stable_syncnet.pt",),
    ),
)

"""MuseTalk 1.5 and 1.0, and what they and LatentSync share: Stable Diffusion's VAE, and Whisper tiny.

Sizes and hashes are those that the hub gives for its large files, as several public repositories quote them alike; no
such quotation was found for the hash of 1.0's.
"""

from __future__ import annotations

from dubbing.models.entries.record import HUB, Licence, Model

__all__ = ["ENTRIES"]

_MUSETALK = Licence(
    "MIT (code)",
    "MuseTalk's code is under the MIT licence, and its README says that the trained models may be used for any "
    "purpose, even commercially; the card beside the file is said by others to name CreativeML OpenRAIL-M, which "
    "forbids harmful uses.",
    "any, by its README",
)
_UNET = "bare state dict, 686 keys as diffusers' UNet2DConditionModel has them; latents 8x32x32, sound 50x384"

ENTRIES: tuple[Model, ...] = (
    Model(
        name="musetalk_v15_unet",
        file="musetalk_v15_unet.pth",
        what="MuseTalk 1.5, the network that draws mouths in latents, 256x256",
        licence=_MUSETALK,
        source=f"{HUB}/TMElyralab/MuseTalk",
        layout=_UNET,
        size=3_400_074_924,
        sha256="7ebf6c98c181e20838e4c0054e96e944ac60d5d692cc01db42839fe11b787007",
        urls=(f"{HUB}/TMElyralab/MuseTalk/resolve/main/musetalkV15/unet.pth",),
    ),
    Model(
        name="musetalk_v10_unet",
        file="musetalk_v10_unet.pth",
        what="MuseTalk 1.0, the same network of the first release",
        licence=_MUSETALK,
        source=f"{HUB}/TMElyralab/MuseTalk",
        layout=_UNET,
        size=3_400_076_549,
        urls=(f"{HUB}/TMElyralab/MuseTalk/resolve/main/musetalk/pytorch_model.bin",),
    ),
    Model(
        name="sd_vae_ft_mse",
        file="sd_vae_ft_mse.safetensors",
        what="Stable Diffusion's autoencoder, fine-tuned for a small squared error",
        licence=Licence(
            "MIT",
            "MIT licence, as the card beside the file says: any use, also commercial, as long as the copyright notice "
            "stays with copies of the file.",
            "any",
        ),
        source=f"{HUB}/stabilityai/sd-vae-ft-mse",
        layout="flat, 248 keys of diffusers' AutoencoderKL, older names of attention; RGB 3x256x256, latents 4x32x32",
        size=334_643_276,
        sha256="a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815",
        urls=(f"{HUB}/stabilityai/sd-vae-ft-mse/resolve/main/diffusion_pytorch_model.safetensors",),
    ),
    Model(
        name="whisper_tiny_hf",
        file="whisper_tiny_hf.safetensors",
        what="Whisper tiny with Hugging Face's names of tensors, the hearing of MuseTalk",
        licence=Licence(
            "MIT",
            "Whisper's code and weights are under the MIT licence, as OpenAI's repository says (the card beside this "
            "copy is said to name the Apache licence 2.0): any use, also commercial, as long as the notices stay with "
            "copies of the file.",
            "any",
        ),
        source=f"{HUB}/openai/whisper-tiny",
        layout="flat, model.encoder.* and model.decoder.*, float32; log-mel 80x3000",
        size=151_061_672,
        sha256="7ebd0e69e78190ffe1438491fa05cc1f5c1aa3a4c4db3bc1723adbb551ea2395",
        urls=(f"{HUB}/openai/whisper-tiny/resolve/main/model.safetensors",),
    ),
)

"""MuseTalk: the mouth of a face in latents, in one step from the sound. Zhang et al. 2024, "MuseTalk: Real-Time High
Quality Lip Synchronization with Latent Space Inpainting".

`box`: what of a picture the network sees; `masks`: what of it goes back; `run`: the networks, ready to run.
"""

__all__: list[str] = []

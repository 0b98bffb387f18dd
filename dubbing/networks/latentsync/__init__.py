"""LatentSync 1.5 and 1.6 (Li et al., 2024): what is its own. The autoencoder and Whisper are those of others.

`unet`, the network over chunks of frames, and its `blocks`; `schedule`, the way from noise to latents; `alignment` of a
face to the template; `mask`, what of it is drawn; `run`, all of that as one; `syncnet`, StableSyncNet, which judges.
"""

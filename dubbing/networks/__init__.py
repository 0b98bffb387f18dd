"""Networks that others trained, as torch modules under their published names, and what they share.

`wav2lip` and its `mel`; `spt`, a spatial transformer around it; `lipgan` and its `lipgan_mfcc`; `speech_gan`, trained
here; `mfcc`: what the last and several experts hear; `boxes`: the face boxes they were trained on, from a mesh;
`folding`: finished networks made ready to run. Nothing here knows a film, or where weights come from.
"""

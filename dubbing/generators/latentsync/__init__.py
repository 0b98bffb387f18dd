"""`latentsync`: LatentSync 1.5 and 1.6, a diffusion network that draws 16 frames of a lower face at once.

`generator` is the way of a line; `chunks`, how a line is cut into chunks and joined again; `settings`, what a manifest
may say; `plan`, where faces lie and how they are laid back.
"""

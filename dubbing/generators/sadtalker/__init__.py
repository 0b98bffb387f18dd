"""`sadtalker`: a photograph that speaks and moves its head, or a film whose own heads say the dub.

`generator` is the way of a line; `settings`, what a manifest may say; `weights`, which file each network comes from;
`look`, what the networks see of a picture; `performance`, what a head does 25 times a second; `head`, where patches lie
and how they are laid back.
"""

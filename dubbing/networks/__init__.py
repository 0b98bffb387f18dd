"""Networks that others trained, as torch modules under their published names, and what runs them quickly.

`wav2lip` (with its `mel`), and `convs`: convolutions with everything folded in. Nothing here knows a
face, a film or where weights come from.
"""

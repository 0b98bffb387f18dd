"""Scripts that make the weights shipped in `dubbing`. Never imported by it."""

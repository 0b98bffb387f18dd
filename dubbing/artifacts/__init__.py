"""The results of stages, one file per subject. Whoever reads a result uses these classes (see `dubbing.artifact`)."""

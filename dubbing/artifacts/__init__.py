"""What stages leave, one subject a file: read back by everybody through the same classes (see `dubbing.artifact`)."""

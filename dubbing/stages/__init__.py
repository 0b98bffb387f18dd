"""The stages, one per file: what each makes of its inputs, and in which folder it leaves the result."""

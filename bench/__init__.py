"""Programs that measure: each made numbers of LOG.md, and says how in its head."""

"""The built-in generator: the actor's own footage, re-used (design section 4)."""

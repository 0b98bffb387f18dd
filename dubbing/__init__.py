"""Re-render the actors' mouths of a locked picture to fit its dubbed sound, shot by shot."""

__version__ = "0.1.0"

"""Listens to every sound of a job: its language against its tag, its words with their times, these against its lines.

    listen(manifest, out)   what was heard of the original, of each dub and of each character's stem

Optional: it needs the extra `whisper` and a published model (`dub models pull whisper_base`). It changes no take and no
master.
"""

from dubbing.listening.sounds import Heard, Listened, listen

__all__ = ["Heard", "Listened", "listen"]

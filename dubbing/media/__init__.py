"""The one door to media: everything that opens, decodes, encodes or writes a picture or sound file.

Every module here may import av; none outside may. Frames stream: nothing holds a film.
"""

from dubbing.media.patches import PatchWriter, patch_frames, read_patches
from dubbing.media.probe import AudioInfo, MediaInfo, VideoInfo, probe
from dubbing.media.read import Picture, Scan, read, scan, timeline
from dubbing.media.sound import audio_length, read_sound, sound_blocks
from dubbing.media.times import load_timeline, save_timeline
from dubbing.media.write import ClipWriter

__all__ = [
    "AudioInfo",
    "ClipWriter",
    "MediaInfo",
    "PatchWriter",
    "Picture",
    "Scan",
    "VideoInfo",
    "audio_length",
    "load_timeline",
    "patch_frames",
    "probe",
    "read",
    "read_patches",
    "read_sound",
    "save_timeline",
    "scan",
    "sound_blocks",
    "timeline",
]

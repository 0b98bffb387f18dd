"""Everything that opens, decodes, encodes or writes a picture or sound file (architecture: one door to media).

Every module here may import av; none outside may. Frames stream: nothing holds a film.
"""

from dubbing.media.colour import HDR, fractions, picture_bytes, undisplayed
from dubbing.media.compare import Check, check_picture, check_sound
from dubbing.media.delivery import DRAFT, Delivery, TrackDelivery, delivery
from dubbing.media.excerpt import excerpt, sound_excerpt
from dubbing.media.fields import Carriage, carriage
from dubbing.media.film import seekable
from dubbing.media.groups import why_encoded
from dubbing.media.known import Known, known_formats
from dubbing.media.layers import LAYERS, LayerMovie, layer_bytes
from dubbing.media.likeness import LEAST_DB, compare_pictures
from dubbing.media.looked import Looked
from dubbing.media.master import Mastered, encode_master, encode_masters, refuse_for_mxf
from dubbing.media.master_parts import make_part
from dubbing.media.numbered import CONTAINER as SEQUENCE
from dubbing.media.numbered import check_sequence
from dubbing.media.packed import PackedWriter
from dubbing.media.paste import PatchQueue, laid_over, own_pixels, pasted_frames
from dubbing.media.patches import (
    MOUTH,
    PatchWriter,
    composite,
    join_patches,
    mouth_frames,
    patch_frames,
    patch_of,
    read_patches,
)
from dubbing.media.photo import BT709, Photograph, film_of, is_photograph, read_photograph
from dubbing.media.planes import Planes, planar_colour
from dubbing.media.probe import ENDINGS, AudioInfo, MediaInfo, VideoInfo, probe
from dubbing.media.proof import Proof, prove, prove_part
from dubbing.media.read import Picture, Scan, changes, chosen, read, scan, timeline, uneven, variable_rate
from dubbing.media.seen import Likeness, Sums
from dubbing.media.sound import audio_length, read_sound, sound_between, sound_blocks
from dubbing.media.spans import FilmSpan, SpanScan, key_frames
from dubbing.media.times import load_timeline, save_timeline
from dubbing.media.write import ClipWriter

__all__ = [
    "BT709", "DRAFT", "ENDINGS", "HDR", "LAYERS", "LEAST_DB", "MOUTH", "SEQUENCE", "AudioInfo", "Carriage", "Check",
    "ClipWriter", "Delivery", "FilmSpan", "Known", "LayerMovie", "Likeness", "Looked", "Mastered", "MediaInfo",
    "PackedWriter", "PatchQueue", "PatchWriter", "Photograph", "Picture", "Planes", "Proof", "Scan", "SpanScan", "Sums",
    "TrackDelivery", "VideoInfo", "audio_length", "carriage", "changes", "check_picture", "check_sequence",
    "check_sound", "chosen", "compare_pictures", "composite", "delivery", "encode_master", "encode_masters", "excerpt",
    "film_of", "fractions", "is_photograph", "join_patches", "key_frames", "known_formats", "laid_over",
    "layer_bytes", "load_timeline", "make_part", "mouth_frames", "own_pixels", "pasted_frames", "patch_frames",
    "patch_of", "picture_bytes", "planar_colour", "probe", "prove", "prove_part", "read", "read_patches",
    "read_photograph", "read_sound", "refuse_for_mxf", "save_timeline", "scan", "seekable", "sound_between",
    "sound_blocks", "sound_excerpt", "timeline", "undisplayed", "uneven", "variable_rate", "why_encoded",
]  # fmt: skip

"""What the demo film shows and says: five shots, three languages. Data only; `film.py` shoots it.

Every sentence says that it is synthetic: the woman in the photograph never spoke these words.
Cameras are in pixels of each photograph. All photographs ship inside scikit-image's wheel: `astronaut`
and `hubble_deep_field` are NASA's (public domain), `rocket` is SpaceX's (CC0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dubbing.demo.portrait import Camera

__all__ = ["LANGUAGES", "SCENES", "SHORT", "Grade", "Scene"]

LANGUAGES = ("en", "hi", "ta")  # the original first


@dataclass(frozen=True)
class Grade:
    """Colour: gain of blue, green and red; gamma (over 1 is brighter); contrast about mid-grey."""

    gain_BGR: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    contrast: float = 1.0


@dataclass(frozen=True)
class Scene:
    """One shot. frames: its length; says: language -> sentence (empty: silence); voice: espeak variant.

    The camera moves from `start` to `end`. The portrait ("astronaut.png") speaks `says` on screen; over
    any other photograph the same is a narrator.
    """

    frames: int
    photograph: str
    start: Camera
    end: Camera
    grade: Grade = Grade()
    says: Mapping[str, str] = field(default_factory=dict)
    voice: str = "f3"

    @property
    def has_face(self) -> bool:
        return self.photograph == "astronaut.png"


_ROCKET = Scene(48, "rocket.jpg", Camera(322, 238, 610), Camera(322, 246, 560))
_MEDIUM = Scene(
    132,
    "astronaut.png",
    Camera(238, 127, 436),
    Camera(232, 123, 404),
    says={
        "en": "Hello. Every move of my mouth in this film was made by a machine.",
        "hi": "नमस्ते। इस फ़िल्म में मेरे होंठों की हर हरकत एक मशीन ने बनाई है।",
        "ta": "வணக்கம். இந்தப் படத்தில் என் உதடுகளின் ஒவ்வொரு அசைவையும் ஒரு இயந்திரம் உருவாக்கியது.",
    },
)
_CLOSE = Scene(
    132,
    "astronaut.png",
    Camera(222, 119, 338, mirror=True),
    Camera(225, 120, 326, mirror=True),
    Grade((1.1, 0.98, 0.88), 0.9, 1.08),
    says={
        "en": "Now I will speak other languages. Watch my lips: do they fit the new voice?",
        "hi": "अब मैं दूसरी भाषाएँ बोलूँगी। देखिए, क्या मेरे होंठ नई आवाज़ से मेल खाते हैं?",
        "ta": "இப்போது நான் வேறு மொழிகளில் பேசுவேன். என் உதடுகள் புதிய குரலுக்குப் பொருந்துகின்றனவா?",
    },
)
_GALAXIES = Scene(
    90,
    "hubble_deep_field.jpg",
    Camera(470, 400, 860),
    Camera(540, 430, 760, roll_deg=2),
    says={
        "en": "Far away, ten thousand galaxies keep perfectly silent.",
        "hi": "बहुत दूर, दस हज़ार आकाशगंगाएँ बिल्कुल ख़ामोश हैं।",
        "ta": "வெகு தொலைவில், பத்தாயிரம் விண்மீன் மண்டலங்கள் அமைதியாக இருக்கின்றன.",
    },
    voice="m3",
)
_SILENT = Scene(60, "astronaut.png", Camera(256, 146, 508), Camera(250, 140, 480), Grade((0.94, 1.0, 1.05), 1.04, 0.96))

SCENES = (_ROCKET, _MEDIUM, _CLOSE, _GALAXIES, _SILENT)

_HELLO = {"en": "Hello. My mouth is made by a machine.", "hi": "नमस्ते। मैं एक मशीन हूँ।", "ta": "வணக்கம். நான் ஒரு இயந்திரம்."}
SHORT = (
    Scene(12, "rocket.jpg", _ROCKET.start, _ROCKET.end),
    Scene(72, "astronaut.png", _MEDIUM.start, _MEDIUM.end, says=_HELLO),
)

"""The embedded example: a film that the project makes itself, offline, with everything about it known.

`make_demo` makes the film, its dubs, manifest and truth; `talking_face` gives tests a face of known
mouth opening. Needs the optional extra `demo`. It is a source of input like any other: nothing in
the pipeline knows it.
"""

from dubbing.demo.film import make_demo
from dubbing.demo.portrait import talking_face
from dubbing.demo.scenes import SCENES, SHORT, Scene

__all__ = ["SCENES", "SHORT", "Scene", "make_demo", "talking_face"]

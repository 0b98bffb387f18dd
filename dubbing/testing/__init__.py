"""Tests that every generator, sync expert and metric has to pass, for the tests of the packages that add them.

    from dubbing.testing import GeneratorContract

    class TestMirror(GeneratorContract):
        name = "mirror"

pytest runs what a class inherits. Each contract says in its docstring what a subclass gives. They need pytest, and
the package installed, so that its entry point is found; they bring film, face and sound of their own. They know no
implementation; ours pass the same ones.
"""

import pytest

pytest.register_assert_rewrite(*(f"dubbing.testing.{name}" for name in ("expert", "generator", "metric")))

from dubbing.testing.expert import ExpertContract  # noqa: E402
from dubbing.testing.generator import GeneratorContract  # noqa: E402
from dubbing.testing.metric import MetricContract  # noqa: E402

__all__ = ["ExpertContract", "GeneratorContract", "MetricContract"]

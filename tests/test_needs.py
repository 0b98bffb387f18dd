"""What a generator's networks need of a machine."""

import pytest

from dubbing.errors import PluginError
from dubbing.generators import needs


def need(batch, size):
    return 4_000_000_000 + batch * size * size * 2000


def test_too_little_memory_is_said_with_what_fits():
    assert needs.shortage("musetalk", need, 10**10, 8, 256) is None
    said = needs.shortage("musetalk", need, 4_600_000_000, 8, 256)
    assert said == (
        "generator musetalk needs 5.0 GB of the GPU's memory for 8 frames of 256 pixels at once, and 4.6 GB are free: "
        "`batch: 4` fits."
    )
    assert needs.shortage("latentsync", need, 4_200_000_000, 1, 512, (256, 512)).endswith(": `size: 256` fits.")
    both = needs.shortage("latentsync", need, 4_300_000_000, 8, 512, (256, 512))
    assert both.endswith(": `batch: 2` with `size: 256` fits.")
    assert "not even one frame fits; use a GPU with 4.1 GB" in needs.shortage("musetalk", need, 10**9, 8, 256)
    assert needs.free_bytes("cpu") is None
    needs.require_memory("musetalk", need, "cpu", 8, 256)


def test_workers_side_by_side_fit_on_a_usual_gpu():
    assert [needs.share(n * 10**9) for n in (1, 6, 7, 9, 13, 40)] == [0.25, 0.25, 0.375, 0.375, 0.625, 1.0]


def test_a_missing_extra_is_said_with_the_command():
    needs.packages("musetalk", "musetalk", {"torch": "torch"})
    with pytest.raises(PluginError, match=r"needs a-b and c, which are not installed: pip install 'dubbing\[musetalk"):
        needs.packages("musetalk", "musetalk", {"a_b": "a-b", "torch": "torch", "c_d": "c"})

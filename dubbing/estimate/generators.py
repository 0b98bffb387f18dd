"""What rendering will cost where a manifest names several generators: which of them renders what, and at which price.

Before the faces are known, a shot is rendered by the entry that names its part of the film, else by parts as a trial or
an earlier run measured them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dubbing.analysis.asked import Ranges
from dubbing.estimate.costs import Rates, Work, rendering
from dubbing.job import Job
from dubbing.manifest.generator import when_of
from dubbing.stage import Resources

__all__ = ["Parts", "Prices", "expected_by", "unshared"]

Parts = tuple[tuple[str, float], ...]
"""Generators, and how much of a piece of work each does; the sum is more than 1 where takes are compared."""
_LIPSYNC = "lipsync"


class Prices:
    """What pieces of work cost, by the generator where several render. several: names of these, none where there is
    one.

    asks: what a worker of each stage holds; gpus: how many there are, 0 where that was not said.
    """

    def __init__(self, job: Job, rates: Rates, asks: Mapping[str, Resources], gpus: float) -> None:
        every = tuple(dict.fromkeys(choice.name for choice in job.manifest.generators))
        self.several = every if len(every) > 1 else ()
        self._rates, self._asks, self._any = rates, asks, bool(gpus)
        self._held = {one.name: job.of_generator(one) for one in job.manifest.generators if self.several}

    def of(
        self, stage: str, work: Work, by: Parts = (), others: Rates | None = None
    ) -> tuple[float, float, float] | None:
        """Processor seconds, duration, and seconds of a whole GPU; None where it was never measured. others: rates to
        go by instead."""
        rates = others or self._rates
        whole = [0.0, 0.0, 0.0]
        for name, part in by or ((rates.generator, 1.0),):
            called = rendering(name, rates.generator) if stage == _LIPSYNC else stage
            price = (rates if called in rates.stages else self._rates).of(called, work * part)
            if price is None:
                return None
            for n, value in enumerate((*price, price[1] * self._share(stage, name))):
                whole[n] += value
        return whole[0], whole[1], whole[2]

    def gpus(self, stage: str, by: Parts = ()) -> float:
        """The share of a GPU that a worker of it holds, at most."""
        return max(self._share(stage, name) for name, _ in by or (("", 1.0),))

    def _share(self, stage: str, generator: str) -> float:
        held = self._held.get(generator) if stage == _LIPSYNC else None
        if held is None:
            return self._asks[stage].gpus
        return held.gpus or (held.gpus_if_any if self._any else 0.0)


def unshared(job: Job, rates: Rates) -> bool:
    """Whether it was not measured how many faces each of several generators renders."""
    return not rates.shares and _asks_faces(job)


def _asks_faces(job: Job) -> bool:
    """Whether conditions of the manifest's generators are on faces."""
    return any(when is not None and (when.size or when.characters) for when in map(when_of, job.manifest.rules))


def expected_by(job: Job, rates: Rates, ranges: Sequence[Ranges | None], middle: int) -> Parts:
    """What will render a shot whose faces are not known. ranges: of each entry of the manifest, as `Job.rule_ranges`;
    middle: the shot's middle frame. Where conditions are on faces and nothing was measured, the generator that costs
    most."""
    names = tuple(dict.fromkeys(choice.name for choice in job.manifest.generators))
    for rule, frames in zip(job.manifest.rules, ranges, strict=True):
        last = when_of(rule) is None
        if last and _asks_faces(job):
            break
        if last or (frames is not None and any(a <= middle < b for a, b in frames)):
            return tuple((one.name, 1.0) for one in rule.alternatives)
    if rates.shares:
        return tuple((name, rates.shares.get(name, 0.0)) for name in names)
    one = Work(1.0, 2.0, 1.0, 0.3)
    dear = {name: (rates.of(rendering(name, rates.generator), one) or (0.0,))[0] for name in names}
    return ((max(names, key=lambda name: dear[name]), 1.0),)

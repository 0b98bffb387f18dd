"""How long a job will take, worked out from what earlier runs or a short trial cost here.

It knows seconds per frame and the tasks of a job, no engine, and starts nothing but a trial.
"""

from dubbing.estimate.costs import Cost, Measured, Rates, asked_share, measure
from dubbing.estimate.forecast import Estimate, GeneratorEstimate, StageEstimate, estimate
from dubbing.estimate.history import Made, recall, remember
from dubbing.estimate.shares import rules_key
from dubbing.estimate.trial import trial

__all__ = [
    "Cost", "Estimate", "GeneratorEstimate", "Made", "Measured", "Rates", "StageEstimate", "asked_share", "estimate",
    "measure", "recall", "remember", "rules_key", "trial",
]  # fmt: skip

"""Small networks of one actor: from what is heard around a moment to the shape of this very mouth.

They are taught on minutes of the actor's own dialogue and stand beside the ridge regression of `fitting`, with which
they are averaged: each errs where the other does not. Two hidden layers over the main components of what is heard
(dropout: Srivastava et al. 2014; Adam: Kingma and Ba 2015), a few of them with other beginnings, so that chance evens
out. Written out in numpy, on one thread, from a fixed stream of random numbers: the same dialogue gives the same bytes.
Knows arrays only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["Taught", "teach"]

COMPONENTS, HIDDEN, NETS = 200, 128, 3
ROUNDS, BATCH, RATE = 15, 256, 3e-3
_LEAST_STEPS, _MOST_STEPS = 300, 2400  # of training, however little or much dialogue there is
_DROPPED, _NOISE, _DECAY = 0.3, 0.3, 0.1
_DAMPING = 0.3  # of the components' scales, in their mean power
SHARES = (0.3, 0.5, 0.7, 1.0)  # of what is said, that may be the networks'

_Net = tuple[np.ndarray, ...]  # weight and bias of each layer in turn


@dataclass(frozen=True, eq=False)
class Taught:
    """basis_WC: what is heard around a moment to its main components; nets: float32 weights (in, out) and biases of
    each layer in turn; share: 0..1, how much of what is said is theirs."""

    basis_WC: np.ndarray
    nets: tuple[_Net, ...]
    share: float

    @staticmethod
    def of(arrays: Mapping[str, np.ndarray]) -> Taught:
        """From arrays by name, as `arrays` gives them. Raises KeyError where they are not such."""
        count = len({name.split(".")[0] for name in arrays if name.startswith("net")})
        nets = tuple(
            tuple(np.asarray(arrays[f"net{n}.{k}"], np.float32) for k in range(6)) for n in range(count)
        )  # fmt: skip
        return Taught(np.asarray(arrays["basis"], np.float32), nets, float(arrays["share"]))

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it by name."""
        nets = {f"net{n}.{k}": array for n, net in enumerate(self.nets) for k, array in enumerate(net)}
        return {"basis": self.basis_WC, "share": np.array(self.share), **nets}

    def say(self, around_TW: np.ndarray) -> np.ndarray:
        """Z-scored coefficients, float64 (T, K)."""
        x = np.asarray(around_TW, np.float32) @ self.basis_WC
        return np.mean([_forward(net, x) for net in self.nets], axis=0, dtype=np.float64)

    def blended(self, around_TW: np.ndarray, said_TK: np.ndarray) -> np.ndarray:
        """The average of that with what else is said of the same moments, (T, K)."""
        return np.asarray((1 - self.share) * said_TK + self.share * self.say(around_TW))


def teach(
    around_NW: np.ndarray, target_NK: np.ndarray, weight_N: np.ndarray, importance_K: np.ndarray, *,
    held_NK: np.ndarray, test_N: np.ndarray, train_N: np.ndarray,
) -> tuple[Taught | None, np.ndarray]:  # fmt: skip
    """Networks of these frames, and what would be said of test_N with them by who has not seen it, (test, K); None, and
    what is said without them, where they do not better it.

    held_NK: what a fit that has not seen a frame says of it; train_N: the frames that know nothing of test_N.
    """
    basis_WC = _components(around_NW, weight_N)
    x = around_NW @ basis_WC
    without = held_NK[test_N]
    if not test_N.any() or not train_N.any():
        return None, without
    tried = _forward(_trained(x[train_N], target_NK[train_N], weight_N[train_N], importance_K, 0), x[test_N])
    said = {0.0: without} | {share: (1 - share) * without + share * tried for share in SHARES}

    def error(share: float) -> float:
        return float(weight_N[test_N] @ ((said[share] - target_NK[test_N]) ** 2 @ importance_K))

    best = min(said, key=error)
    if best == 0:
        return None, without
    nets = tuple(_trained(x, target_NK, weight_N, importance_K, seed) for seed in range(NETS))
    return Taught(basis_WC, nets, best), said[best]


def _components(around_NW: np.ndarray, weight_N: np.ndarray) -> np.ndarray:
    """Main components, each divided by its own spread and a little more, all together of mean square 1, (W, C)."""
    root = np.sqrt(weight_N / weight_N.sum()).astype(np.float32)[:, None]
    x = around_NW * root
    values, vectors = np.linalg.eigh((x.T @ x).astype(np.float64))
    values, vectors = np.maximum(values[::-1][:COMPONENTS], 0), vectors[:, ::-1][:, :COMPONENTS]
    basis = vectors / np.sqrt(values + _DAMPING * values.mean() + 1e-12)
    power = float(((x @ basis) ** 2).sum() / basis.shape[1])
    return np.asarray(basis / np.sqrt(max(power, 1e-12)), np.float32)


def _forward(net: _Net, x_NC: np.ndarray) -> np.ndarray:
    w0, b0, w1, b1, w2, b2 = net
    return np.asarray(np.maximum(np.maximum(x_NC @ w0 + b0, 0) @ w1 + b1, 0) @ w2 + b2)


def _trained(
    x_NC: np.ndarray, target_NK: np.ndarray, weight_N: np.ndarray, importance_K: np.ndarray, seed: int
) -> _Net:  # fmt: skip
    """One network, by Adam with decoupled decay, its rate rising over a fifth of the way and falling to nothing."""
    chance = np.random.RandomState(seed)  # whose stream is the same in every version of numpy
    sizes = (x_NC.shape[1], HIDDEN, HIDDEN, target_NK.shape[1])
    net: list[np.ndarray] = []
    for before, after in zip(sizes[:-1], sizes[1:], strict=True):
        scale = np.sqrt(2 / before) * (after != sizes[-1])
        net += [(scale * chance.standard_normal((before, after))).astype(np.float32), np.zeros(after, np.float32)]
    first, second = [np.zeros_like(p) for p in net], [np.zeros_like(p) for p in net]
    target = target_NK.astype(np.float32)
    worth = (weight_N / weight_N.mean()).astype(np.float32)[:, None] * importance_K.astype(np.float32)
    count = len(x_NC)
    size = min(BATCH, count)
    steps = int(np.clip(ROUNDS * count // size, _LEAST_STEPS, _MOST_STEPS))
    order = chance.permutation(count)
    at = 0
    for step in range(steps):
        if at + size > count:
            order, at = chance.permutation(count), 0
        batch = order[at : at + size]
        at += size
        part = (step + 1) / steps
        rate = RATE * np.float32(min(part / 0.2, 0.5 + 0.5 * np.cos(np.pi * max(0.0, part - 0.2) / 0.8)))
        grads = _gradients(net, x_NC[batch], target[batch], worth[batch], chance)
        for n, grad in enumerate(grads):
            first[n] += 0.1 * (grad - first[n])
            second[n] += 0.001 * (grad * grad - second[n])
            move = first[n] / (1 - 0.9 ** (step + 1)) / (np.sqrt(second[n] / (1 - 0.999 ** (step + 1))) + 1e-8)
            net[n] -= (rate * (move + (_DECAY * net[n] if n % 2 == 0 else 0))).astype(np.float32)
    return tuple(net)


def _gradients(
    net: list[np.ndarray], x: np.ndarray, target: np.ndarray, worth: np.ndarray, chance: np.random.RandomState
) -> list[np.ndarray]:  # fmt: skip
    """Of the weighted square error of a batch, with noise on what is heard and units dropped."""
    w0, b0, w1, b1, w2, b2 = net
    x = x + np.float32(_NOISE) * chance.standard_normal(x.shape).astype(np.float32)
    keep = [(chance.random_sample((len(x), HIDDEN)) > _DROPPED).astype(np.float32) / (1 - _DROPPED) for _ in range(2)]
    h0 = np.maximum(x @ w0 + b0, 0) * keep[0]
    h1 = np.maximum(h0 @ w1 + b1, 0) * keep[1]
    down = worth * (h1 @ w2 + b2 - target) / np.float32(len(x))
    to1 = (down @ w2.T) * (h1 > 0) * keep[1]
    to0 = (to1 @ w1.T) * (h0 > 0) * keep[0]
    return [x.T @ to0, to0.sum(0), h0.T @ to1, to1.sum(0), h1.T @ down, down.sum(0)]

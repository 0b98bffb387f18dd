"""Wanted mouths stay within what this face shows.

A voice may ask for a mouth that the actor never makes: pursed further than any frame is, or wide and far open at once.
Bending a frame that far swells lips and breaks teeth. So the wanted shape is held within the cloud of the shapes that
were shown, grown a little. Knows arrays only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Cloud"]

_GROWN = 1.15  # times the furthest that was shown
_SHOWN = 0.975  # of the shown shapes, which lie within what counts as shown; meshes err
_SOFT = 0.75  # of the way to the border nothing changes; from there on it is approached and never reached
_ACTOR, _REST = 50.0, 20.0  # frames that the actor's other footage, and the closed mouth, weigh as much as
_LEAST = 1e-4  # of a variance: half a thousandth of the distance between the eyes is nothing


@dataclass(frozen=True, eq=False)
class Cloud:
    """The shapes that an actor showed. opening: the furthest that the lips parted; the other coefficients, given the
    opening, lie around mean_K + slope_K * opening, in inverse_KK's distance from it up to `reach`; all but coefficient
    0 (K = COEFS - 1)."""

    opening: float
    mean_K: np.ndarray
    slope_K: np.ndarray
    inverse_KK: np.ndarray
    reach: float

    @staticmethod
    def of(have_NK: np.ndarray, usable_N: np.ndarray, mean_K: np.ndarray, std_K: np.ndarray, widest: float) -> Cloud:
        """have_NK: coefficients shown in the shot, (N, COEFS), of the frames usable_N; mean_K, std_K: of this actor's
        speech anywhere; widest: the widest opening known of it, from a fit. A shot that hardly opens the mouth is no
        reason never to open it."""
        shown = have_NK[usable_N] if usable_N.any() else have_NK
        total = len(shown) + _ACTOR + _REST
        middle = (shown.sum(0) + _ACTOR * mean_K) / total
        away, actor = shown - middle, mean_K - middle
        spread = (
            away.T @ away + _ACTOR * (np.diag(std_K**2) + np.outer(actor, actor)) + _REST * np.outer(middle, middle)
        )
        spread = spread / total + _LEAST * np.eye(len(middle)) * np.trace(spread) / total / len(middle)
        slope = spread[0, 1:] / spread[0, 0]
        left = spread[1:, 1:] - np.outer(slope, spread[0, 1:])
        cloud = Cloud(0.0, middle[1:] - slope * middle[0], slope, np.linalg.inv(left), 0.0)
        furthest = max(float(np.quantile(shown[:, 0], _SHOWN)), widest)
        reach = max(float(np.quantile(cloud.distance(shown), _SHOWN)), float(np.sqrt(len(slope))))
        return Cloud(_GROWN * furthest, cloud.mean_K, slope, cloud.inverse_KK, _GROWN * reach)

    def distance(self, coef_NK: np.ndarray) -> np.ndarray:
        """How far shapes are from what is usual at their opening, (N,), in standard deviations (Mahalanobis)."""
        away = self._away(coef_NK)
        return np.asarray(np.sqrt(np.maximum(np.einsum("nk,kl,nl->n", away, self.inverse_KK, away), 0)))

    def within(self, coef_NK: np.ndarray) -> np.ndarray:
        """The same shapes, drawn in where they are beyond: (N, COEFS). Shut lips stay shut."""
        out = np.array(coef_NK, np.float64)
        out[:, 0] = _drawn(out[:, 0], self.opening)
        far = self.distance(out)
        share = np.where(far > 0, _drawn(far, self.reach) / np.maximum(far, 1e-12), 1.0)
        away = self._away(out)
        out[:, 1:] -= (1 - share[:, None]) * away
        return out

    def _away(self, coef_NK: np.ndarray) -> np.ndarray:
        return np.asarray(coef_NK[:, 1:] - self.mean_K - coef_NK[:, :1] * self.slope_K)


def _drawn(values: np.ndarray, most: float) -> np.ndarray:
    """Values up to `_SOFT` of the most as they are, further ones below the most."""
    start = _SOFT * most
    room = max(most - start, 1e-9)
    return np.where(values > start, start + room * np.tanh((values - start) / room), values)

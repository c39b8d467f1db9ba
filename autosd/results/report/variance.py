"""How much of the variance of scores a choice explains, with an interval that holds for few trials.

Omega squared estimates that share without the optimism of eta squared, which is above zero
where nothing matters. Its interval comes from the noncentral F distribution: a bootstrap within
groups of one or two trials would lose half of the spread within them and find too much.

Sources: Hays, "Statistics for Psychologists", 1963 (omega squared); Steiger, "Beyond the F test",
Psychological Methods 9(2), 2004 (interval).
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import fdtr, ncfdtr

from autosd.results.statistics import CONFIDENCE

LEAST_FREEDOM = 5
"""Residual degrees of freedom below which an interval would say nothing."""
NO_SPREAD = 1e-12
FARTHEST = 1e9
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Share:
    """A share of variance, as a fraction.

    Attributes:
        value: omega squared, None where there is none.
        low, high: its 95 % interval, None where there is none.
        n: trials it stands on.
        why: why there is no value, empty where there is one.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    why: str = ""

    @property
    def shown(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low is not None and self.low > 0


def share_of_groups(values: Sequence[float], groups: Sequence[Hashable]) -> Share:
    """The share of the variance of `values` that lies between groups.

    Args:
        values: `[n]`.
        groups: `[n]`, the group of each value.
    """
    names = list(dict.fromkeys(groups))
    if len(names) < 2:
        return Share(None, None, None, len(values), "one group only")
    design = np.array([[group == name for name in names] for group in groups], dtype=np.float64)
    return _share(np.asarray(values, dtype=np.float64), design, len(names) - 1, len(names))


def share_of_terms(
    values: Sequence[float], terms: Array, strata: Sequence[Hashable] | None = None
) -> Share:
    """The share that a linear model of `terms` explains of the variance of `values`.

    Args:
        values: `[n]`.
        terms: `[n, p]`, without a constant.
        strata: `[n]`; the share is of the variance within these groups, whose means are taken
            out. One group where None.
    """
    array = np.asarray(values, dtype=np.float64)
    labels = [None] * len(array) if strata is None else list(strata)
    array, centred = _centred(array, labels), _centred(terms, labels)
    rank = int(np.linalg.matrix_rank(centred)) if centred.size else 0
    if rank == 0:
        return Share(None, None, None, len(array), "always the same")
    return _share(array, centred, rank, rank + len(set(labels)))


def _centred(values: Array, labels: Sequence[Hashable]) -> Array:
    centred = np.array(values, dtype=np.float64)
    for label in set(labels):
        rows = [place for place, one in enumerate(labels) if one == label]
        centred[rows] -= centred[rows].mean(axis=0)
    return centred


def _share(values: Array, design: Array, df: int, parameters: int) -> Share:
    """Omega squared of a linear model with `df` degrees of freedom and its interval."""
    n = len(values)
    left = n - parameters
    if left < LEAST_FREEDOM:
        needed = parameters + LEAST_FREEDOM
        return Share(None, None, None, n, f"too few trials: {n}, and {needed} are needed")
    centred = values - values.mean()
    fitted = design @ np.linalg.lstsq(design, values, rcond=None)[0]
    residual = float(((values - fitted) ** 2).sum())
    model = float((centred**2).sum()) - residual
    if model + residual <= NO_SPREAD:
        return Share(None, None, None, n, "all scores are equal")
    if residual <= NO_SPREAD:
        return Share(1.0, None, None, n, "")
    ratio = max(0.0, model / df) / (residual / left)
    value = max(0.0, df * (ratio - 1)) / (max(0.0, df * (ratio - 1)) + n)
    low, high = (centrality / (centrality + n) for centrality in _centralities(ratio, df, left))
    return Share(value, low, high, n)


def _centralities(ratio: float, df: int, left: int) -> tuple[float, float]:
    """The noncentralities for which this F ratio would be as high, or as low, as 2.5 % are."""
    tail = (1 - CONFIDENCE) / 2

    def found(probability: float) -> float:
        def distance(centrality: float) -> float:
            return _below(ratio, df, left, centrality) - probability

        return _root(distance)

    return found(1 - tail), found(tail)


def _below(ratio: float, df: int, left: int, centrality: float) -> float:
    if centrality == 0:
        return float(fdtr(df, left, ratio))
    return float(ncfdtr(df, left, centrality, ratio))


def _root(distance: Callable[[float], float]) -> float:
    """Where a falling function crosses zero; 0 where it begins below."""
    if distance(0.0) <= 0:
        return 0.0
    high = 1.0
    while distance(high) > 0 and high < FARTHEST:
        high *= 2
    if not math.isfinite(high) or high >= FARTHEST:
        return FARTHEST
    return float(brentq(distance, 0.0, high, xtol=1e-6))

"""How sure a difference between two recipes is: paired seeds and Student's t interval.

All values are fractions (0..1) as the trainer gives them; `higher is better` unless said.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import stdtr, stdtrit  # those of scipy.stats take half a second to import

CONFIDENCE = 0.95
NO_SPREAD = 1e-12
Verdict = Literal["better", "worse", "no difference shown"]


@dataclass(frozen=True)
class Summary:
    """Mean and spread of repeated runs; `sd` is None for one run, which has none."""

    mean: float
    sd: float | None
    n: int


@dataclass(frozen=True)
class Difference:
    """A paired difference to a baseline.

    Attributes:
        mean: mean of the differences seed by seed.
        low, high: 95 % interval of that mean, None where the data give none.
        n: pairs.
        smallest: the smallest mean difference that n pairs with this spread could have shown
            (half the interval), None where there is no interval.
        why: why there is no interval, empty where there is one.
        p: two-sided p-value of the paired t test, None where there is no interval.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    smallest: float | None
    why: str = ""
    p: float | None = None


def summary(values: Sequence[float]) -> Summary:
    """Mean and sample standard deviation (n - 1 in the denominator, Bessel's correction)."""
    if not values:
        raise ValueError("a summary needs at least one value")
    array = np.asarray(values, dtype=np.float64)
    sd = float(array.std(ddof=1)) if len(array) > 1 else None
    return Summary(float(array.mean()), sd, len(array))


def paired_difference(
    values: Sequence[float], baseline: Sequence[float], confidence: float = CONFIDENCE
) -> Difference:
    """Mean of `values[i] - baseline[i]` with Student's t interval and its p-value.

    Pairing (run i of both has the same seed, so the same initial weights and order of images)
    takes out what both share. One pair gives no interval; nor do pairs whose differences are all
    equal, which scores counted on few images can be by chance: a width of zero would claim
    certainty.

    Source: Student, "The probable error of a mean", Biometrika 6(1), 1908.

    Args:
        values, baseline: scores `[n]`, paired by position.
        confidence: of the interval.

    Raises:
        ValueError: the two differ in length, or are empty.
    """
    if len(values) != len(baseline) or not values:
        raise ValueError(f"{len(values)} values cannot be paired with {len(baseline)}")
    differences = np.asarray(values, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    mean, n = float(differences.mean()), len(differences)
    if n < 2:
        return Difference(mean, None, None, n, None, "one seed gives no interval")
    sd = float(differences.std(ddof=1))
    if sd <= NO_SPREAD:
        mean = 0.0 if abs(mean) <= NO_SPREAD else mean
        return Difference(mean, None, None, n, None, "all differences are equal: no spread")
    half = half_width(sd, n, confidence)
    p = two_sided_p(mean, sd, n)
    return Difference(mean, mean - half, mean + half, n, half, p=p)


def half_width(sd: float, n: int, confidence: float = CONFIDENCE) -> float:
    """Half of the t interval of a mean of `n` values with sample standard deviation `sd`.

    It is also the smallest mean that would have been told from zero with this spread.
    Source: Student 1908, as in `scipy.stats.ttest_1samp(...).confidence_interval()`.
    """
    quantile = float(stdtrit(n - 1, (1 + confidence) / 2))
    return quantile * sd / math.sqrt(n)


def two_sided_p(mean: float, sd: float, n: int) -> float:
    """Probability of a mean of `n` values at least as far from zero, were the true one zero.

    It is below 0.05 exactly where the 95 % interval leaves zero out.
    Source: Student 1908, as in `scipy.stats.ttest_1samp(...).pvalue`.
    """
    return float(2 * stdtr(n - 1, -abs(mean) / (sd / math.sqrt(n))))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values adjusted for their number: below 0.05 holds for all of them together.

    The chance that any of them claims a difference where there is none stays below 5 %, however
    they depend on each other. A comparison without a p-value counts among them, as if it showed
    nothing, and keeps None.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6(2), 1979.
    """
    known = [1.0 if p is None else p for p in p_values]
    adjusted: list[float | None] = [None] * len(known)
    least = 0.0
    for rank, place in enumerate(sorted(range(len(known)), key=known.__getitem__)):
        least = max(least, min(1.0, (len(known) - rank) * known[place]))
        adjusted[place] = None if p_values[place] is None else least
    return adjusted


def adjusted_verdict(
    difference: Difference, p: float | None, higher_is_better: bool = True
) -> Verdict:
    """The verdict where the adjusted p-value is below 0.05, else `no difference shown`."""
    if p is None or p >= 1 - CONFIDENCE:
        return "no difference shown"
    return verdict(difference, higher_is_better)


def verdict(difference: Difference, higher_is_better: bool = True) -> Verdict:
    """`better` or `worse` where the interval leaves zero out, else `no difference shown`."""
    if difference.low is None or difference.high is None:
        return "no difference shown"
    if difference.low > 0:
        return "better" if higher_is_better else "worse"
    if difference.high < 0:
        return "worse" if higher_is_better else "better"
    return "no difference shown"

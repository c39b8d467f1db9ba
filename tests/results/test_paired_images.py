"""Two predictors on the same images: values worked by hand and against SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from autosd.results.paired_images import accuracy_difference, likelihood_difference
from autosd.results.statistics import verdict


def told(won: int, lost: int, both: int = 0):
    """Right and wrong rows: `won` by the first alone, `lost` by the second alone."""
    first = np.array([True] * won + [False] * lost + [True] * both)
    second = np.array([False] * won + [True] * lost + [True] * both)
    return first, second


def test_five_to_nothing_is_no_proof() -> None:
    """A bootstrap over images would claim it: 2 x 0.5^5 is 0.0625."""
    difference = accuracy_difference(*told(5, 0, 95))
    assert difference.mean == pytest.approx(0.05)
    assert difference.p == pytest.approx(0.0625)
    assert verdict(difference) == "no difference shown"


def test_six_to_nothing_is() -> None:
    difference = accuracy_difference(*told(6, 0, 94))
    assert difference.p == pytest.approx(0.03125)
    assert verdict(difference) == "better"
    low = (2 * 0.025 ** (1 / 6) - 1) * 0.06
    assert difference.low == pytest.approx(low)
    assert difference.high == pytest.approx(0.06)


@given(won=st.integers(0, 40), lost=st.integers(0, 40), both=st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_interval_and_exact_test_agree(won: int, lost: int, both: int) -> None:
    difference = accuracy_difference(*told(won, lost, both))
    count = won + lost + both
    assert difference.n == count
    assert difference.mean == pytest.approx((won - lost) / count)
    if won + lost == 0:
        assert (difference.low, difference.p) == (None, None)
        return
    exact = stats.binomtest(won, won + lost)
    assert difference.p == pytest.approx(exact.pvalue)
    interval = exact.proportion_ci(0.95, "exact")
    assert difference.low == pytest.approx((2 * interval.low - 1) * (won + lost) / count)
    assert (difference.low > 0 or difference.high < 0) == (difference.p < 0.05)


def test_swapping_the_two_changes_the_sign() -> None:
    first, second = told(9, 2, 20)
    ahead, behind = accuracy_difference(first, second), accuracy_difference(second, first)
    assert (ahead.mean, ahead.p) == (-behind.mean, behind.p)
    assert (ahead.low, ahead.high) == pytest.approx((-behind.high, -behind.low))


def test_likelihoods_are_compared_by_a_paired_t_test() -> None:
    draws = np.random.default_rng(0)
    first, second = draws.uniform(0.2, 1, 50), draws.uniform(0.1, 1, 50)
    difference = likelihood_difference(first, second)
    found = stats.ttest_rel(-np.log(first), -np.log(second))
    assert difference.mean == pytest.approx(float(np.mean(np.log(second) - np.log(first))))
    assert difference.p == pytest.approx(found.pvalue)
    assert difference.low == pytest.approx(found.confidence_interval(0.95).low)

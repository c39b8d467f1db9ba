"""Omega squared and its interval: values worked by hand, and how often the interval is right."""

import numpy as np
import pytest

from autosd.results.report.variance import share_of_groups, share_of_terms


def test_omega_squared_as_worked_by_hand():
    # groups 1 2 3 and 3 4 5 and 5 6 7: SSB = 24 with 2, SSW = 6 with 6 degrees; F = 12
    # omega squared = 2 (12 - 1) / (2 (12 - 1) + 9) = 22 / 31
    values = [1, 2, 3, 3, 4, 5, 5, 6, 7]
    share = share_of_groups(values, [0, 0, 0, 1, 1, 1, 2, 2, 2])
    assert share.value == pytest.approx(22 / 31)
    assert (share.n, share.why) == (9, "")


def test_the_interval_is_the_noncentralities_with_2_5_percent_beyond():
    from scipy import stats

    values = [1, 2, 3, 3, 4, 5, 5, 6, 7]
    share = share_of_groups(values, [0, 0, 0, 1, 1, 1, 2, 2, 2])
    low, high = (9 * end / (1 - end) for end in (share.low, share.high))
    assert stats.ncf.sf(12, 2, 6, low) == pytest.approx(0.025, abs=1e-5)
    assert stats.ncf.cdf(12, 2, 6, high) == pytest.approx(0.025, abs=1e-5)


def test_the_interval_has_the_true_share_in_about_95_of_100_studies():
    generator = np.random.default_rng(0)
    groups = list(np.repeat(np.arange(5), 3))
    effects = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    truth = np.mean(effects**2) / (np.mean(effects**2) + 1)
    shares = [
        share_of_groups(effects[groups] + generator.normal(size=15), groups) for _ in range(200)
    ]
    assert 0.9 <= np.mean([one.low <= truth <= one.high for one in shares]) <= 0.99


def test_noise_alone_is_shown_to_matter_at_most_as_often_as_promised():
    generator = np.random.default_rng(0)
    terms = np.linspace(0, 1, 12)[:, None]
    shown = [share_of_terms(generator.normal(size=12), terms).shown for _ in range(200)]
    assert np.mean(shown) <= 0.06


def test_means_of_strata_are_taken_out():
    strata = ["low"] * 6 + ["high"] * 6
    term = np.tile(np.arange(6.0), 2)[:, None]
    noise = np.tile([0.1, -0.1], 6)
    values = term[:, 0] + noise + np.repeat([0.0, 100.0], 6)
    assert share_of_terms(values, term, strata).value > 0.95
    assert share_of_terms(values, term).value < 0.1


def test_what_cannot_be_told_says_why():
    assert share_of_groups([1, 2, 3], "aab").why == "too few trials: 3, and 7 are needed"
    assert share_of_groups([1.0] * 20, list("ab" * 10)).why == "all scores are equal"
    assert share_of_groups([1.0] * 20, ["a"] * 20).why == "one group only"
    perfect = share_of_groups([1.0, 2.0] * 10, list("ab" * 10))
    assert (perfect.value, perfect.low, perfect.high) == (1.0, None, None)

"""Golden values worked out by hand, and scipy's own paired test as an independent reference."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from autosd.results.statistics import (
    adjusted_verdict,
    half_width,
    holm,
    paired_difference,
    summary,
    two_sided_p,
    verdict,
)

SCORES = st.lists(
    st.tuples(st.floats(0, 1, allow_nan=False), st.floats(0, 1, allow_nan=False)),
    min_size=2,
    max_size=12,
)


def test_summary_by_hand():
    # mean (2 + 4 + 4 + 6) / 4 = 4; squares 4 + 0 + 0 + 4 = 8; sd = sqrt(8 / 3)
    result = summary([2.0, 4.0, 4.0, 6.0])
    assert result.mean == 4.0
    assert result.sd == pytest.approx(math.sqrt(8 / 3), rel=1e-12)
    assert result.n == 4


def test_one_run_has_no_spread():
    assert summary([0.8]).sd is None


def test_summary_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        summary([])


def test_paired_difference_by_hand():
    # differences 1, 2, 3: mean 2, sd 1; with 2 degrees of freedom t(p) = (2p-1) / sqrt(2p(1-p))
    result = paired_difference([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    half = 0.95 / math.sqrt(2 * 0.975 * 0.025) / math.sqrt(3)
    assert result.mean == 2.0
    assert result.low == pytest.approx(2 - half, rel=1e-12)
    assert result.high == pytest.approx(2 + half, rel=1e-12)
    assert result.smallest == pytest.approx(half, rel=1e-12)
    assert result.n == 3


def test_half_width_equals_the_table_of_t():
    # t(0.975, 9) = 2.262157 in any printed table
    assert half_width(0.5, 10) == pytest.approx(2.262157 * 0.5 / math.sqrt(10), rel=1e-6)


@given(SCORES)
def test_interval_equals_scipys_paired_test(pairs):
    values, baseline = [a for a, _ in pairs], [b for _, b in pairs]
    differences = [a - b for a, b in pairs]
    result = paired_difference(values, baseline)
    if result.smallest is None or result.smallest < 1e-6:
        return
    expected = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
    assert result.low == pytest.approx(expected.low, rel=1e-9, abs=1e-12)
    assert result.high == pytest.approx(expected.high, rel=1e-9, abs=1e-12)


@given(SCORES)
def test_swapping_the_two_turns_the_verdict(pairs):
    values, baseline = [a for a, _ in pairs], [b for _, b in pairs]
    turned = {"better": "worse", "worse": "better"}
    one = verdict(paired_difference(values, baseline))
    other = verdict(paired_difference(baseline, values))
    assert other == turned.get(one, one)


def test_verdicts():
    base = [0.80, 0.81, 0.82]
    assert verdict(paired_difference([0.90, 0.92, 0.92], base)) == "better"
    assert verdict(paired_difference([0.70, 0.72, 0.72], base)) == "worse"
    assert verdict(paired_difference([0.80, 0.83, 0.81], base)) == "no difference shown"


def test_lower_is_better_turns_the_verdict():
    loss = paired_difference([0.50, 0.51, 0.49], [0.70, 0.72, 0.71])
    assert verdict(loss, higher_is_better=False) == "better"


def test_one_pair_gives_no_interval_and_says_so():
    result = paired_difference([0.9], [0.5])
    assert (result.low, result.high, result.smallest) == (None, None, None)
    assert "one seed" in result.why
    assert verdict(result) == "no difference shown"


def test_equal_differences_claim_no_certainty():
    result = paired_difference([0.812, 0.802, 0.792], [0.802, 0.792, 0.782])
    assert result.low is None
    assert "equal" in result.why
    assert verdict(result) == "no difference shown"


def test_a_recipe_against_itself_shows_no_difference_and_no_certainty():
    """Two recipes may have equal scores by chance too: images are counted, and few."""
    result = paired_difference([0.8, 0.9], [0.8, 0.9])
    assert (result.mean, result.low, result.high, result.smallest) == (0.0, None, None, None)
    assert verdict(result) == "no difference shown"


def test_unpaired_runs_are_refused():
    with pytest.raises(ValueError, match="paired"):
        paired_difference([0.1, 0.2], [0.1])


def test_p_value_by_hand():
    # two values 1 and 3: mean 2, sd sqrt(2), t = 2 / (sqrt(2) / sqrt(2)) = 2 with one degree of
    # freedom, where P(T > t) = 1/2 - arctan(t) / pi
    assert two_sided_p(2.0, math.sqrt(2), 2) == pytest.approx(1 - 2 * math.atan(2) / math.pi)
    assert paired_difference([2.0, 5.0], [1.0, 2.0]).p == pytest.approx(0.2951672, abs=1e-7)


@given(SCORES)
def test_p_value_equals_scipys_and_agrees_with_the_interval(pairs):
    differences = [a - b for a, b in pairs]
    result = paired_difference([a for a, _ in pairs], [b for _, b in pairs])
    if result.smallest is None or result.smallest < 1e-6:
        return
    assert result.p == pytest.approx(stats.ttest_1samp(differences, 0.0).pvalue, rel=1e-6, abs=1e-9)
    if abs(result.p - 0.05) > 1e-9:
        assert (result.p < 0.05) == (not result.low <= 0 <= result.high)


def test_without_an_interval_there_is_no_p_value():
    assert paired_difference([0.9], [0.5]).p is None
    assert paired_difference([0.8, 0.9], [0.7, 0.8]).p is None
    assert paired_difference([0.8, 0.9], [0.8, 0.9]).p is None


def test_holm_by_hand():
    # sorted 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1: 0.02, 0.03, 0.06, and not below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_counts_comparisons_without_a_p_value():
    assert holm([0.01, None, 0.02]) == [pytest.approx(0.03), None, pytest.approx(0.04)]
    assert holm([0.04]) == [0.04]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_lies_between_the_raw_and_bonferronis(p_values):
    adjusted = holm(p_values)
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert [adjusted[k] for k in order] == sorted(adjusted)
    for raw, own in zip(p_values, adjusted, strict=True):
        assert raw <= own <= min(1.0, raw * len(p_values)) or own == raw


def test_holm_claims_nothing_twenty_times_out_of_nothing():
    """20 recipes that equal the baseline, 5 seeds: one claim in 20 studies, not in two of three."""
    generator = np.random.default_rng(0)
    raw_claims = holm_claims = 0
    for _ in range(400):
        baseline, recipes = generator.normal(0, 1, 5), generator.normal(0, 1, (20, 5))
        p_values = [paired_difference(list(own), list(baseline)).p for own in recipes]
        raw_claims += min(p_values) < 0.05
        holm_claims += min(holm(p_values)) < 0.05
    assert raw_claims > 120
    assert holm_claims <= 30


def test_the_adjusted_verdict_needs_more():
    # t = 31 with two degrees of freedom: p = 1 - t / sqrt(t^2 + 2)
    difference = paired_difference([0.90, 0.92, 0.92], [0.80, 0.81, 0.82])
    assert difference.p == pytest.approx(1 - 31 / math.sqrt(31**2 + 2), rel=1e-6)
    assert adjusted_verdict(difference, difference.p) == "better"
    assert adjusted_verdict(difference, 60 * difference.p) == "no difference shown"
    assert adjusted_verdict(difference, None) == "no difference shown"

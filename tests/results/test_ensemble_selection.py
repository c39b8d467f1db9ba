"""The arithmetic of choosing an ensemble, against loops written from the paper."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autosd.results import ensemble_selection as selection
from autosd.results.ensemble_selection import (
    Choice,
    bagged,
    capped,
    choose,
    combine,
    cross_fit,
    fit,
    greedy,
    rank,
    score,
    softmax,
    stratified_folds,
)

METRICS = ["nll", "top1"]


def library(seed: int, students: int = 6, images: int = 40, classes: int = 3):
    """Probabilities of students that are right more often than not, and labels."""
    draws = np.random.default_rng(seed)
    labels = draws.integers(classes, size=images)
    logits = draws.normal(size=(students, images, classes)) * draws.uniform(
        0.5, 3, (students, 1, 1)
    )
    logits += 1.5 * (np.arange(classes) == labels[:, None])
    return softmax(logits), labels


def slow_score(rows, labels, metric) -> tuple[float, ...]:
    nll = sum(-np.log(row[label]) for row, label in zip(rows, labels, strict=True)) / len(labels)
    wrong = sum(int(np.argmax(row) != label) for row, label in zip(rows, labels, strict=True))
    return (nll,) if metric == "nll" else (wrong, nll)


def slow_greedy(probabilities, labels, metric, rounds) -> list[int]:
    """Sorted start, then one student a round with replacement; the best bag on the way."""
    probabilities = probabilities.astype(np.float64)
    count = len(probabilities)

    def mean_score(bag):
        return slow_score(sum(probabilities[k] for k in bag) / len(bag), labels, metric)

    order = sorted(range(count), key=lambda k: (*mean_score([k]), k))
    bag = min(
        (order[:n] for n in range(1, count + 1)), key=lambda some: (mean_score(some), len(some))
    )
    best = list(bag)
    while len(bag) < rounds:
        bag = min(([*bag, k] for k in range(count)), key=lambda some: (mean_score(some), some[-1]))
        *wrong, nll = mean_score(bag)
        *fewest, lowest = mean_score(best)
        if wrong < fewest or (wrong == fewest and nll < lowest - 1e-8):
            best = list(bag)
    return [best.count(k) for k in range(count)]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(4))
def test_greedy_selection_is_that_of_the_slow_reference(metric: str, seed: int) -> None:
    probabilities, labels = library(seed)
    assert greedy(probabilities, labels, metric, 9).tolist() == slow_greedy(
        probabilities, labels, metric, 9
    )


@given(seed=st.integers(0, 10_000), metric=st.sampled_from(METRICS))
@settings(max_examples=12, deadline=None)
def test_no_weights_are_worse_than_the_best_student_on_their_own_rows(seed, metric) -> None:
    probabilities, labels = library(seed, students=5, images=25)
    alone = min(float(score(one[None], labels, metric)[0]) for one in probabilities)
    taken = greedy(probabilities, labels, metric)
    shares = bagged(probabilities, labels, metric)
    for weights in (taken / taken.sum(), capped(probabilities, labels, metric, shares, 3)):
        assert (
            float(score(combine(probabilities, weights)[None], labels, metric)[0]) <= alone + 1e-9
        )


@given(seed=st.integers(0, 10_000), metric=st.sampled_from(METRICS))
@settings(max_examples=8, deadline=None)
def test_weights_sum_to_one_and_have_at_most_as_many_members_as_asked(seed, metric) -> None:
    probabilities, labels = library(seed)
    for choice, weights in fit(probabilities, labels, metric, 4).items():
        assert weights.sum() == pytest.approx(1)
        assert (weights >= 0).all()
        assert 1 <= (weights > 0).sum() <= choice.size


@pytest.mark.parametrize("metric", METRICS)
def test_the_order_of_the_students_does_not_matter(metric: str) -> None:
    probabilities, labels = library(3)
    soups = np.array([True, False, True, False, False, False])
    moved = np.random.default_rng(0).permutation(len(probabilities))
    before = fit(probabilities, labels, metric, 4, soups)
    after = fit(probabilities[moved], labels, metric, 4, soups[moved])
    assert set(before) == set(after)
    for choice, weights in before.items():
        np.testing.assert_allclose(weights[moved], after[choice], atol=1e-12)


def test_a_soup_is_the_best_of_the_soups_and_missing_without_one() -> None:
    probabilities, labels = library(1)
    soups = np.array([False, True, False, False, True, False])
    weights = fit(probabilities, labels, "nll", 3, soups)[Choice(1, "soup")]
    best = next(k for k in rank(probabilities, labels, "nll") if soups[k])
    assert weights.tolist() == [float(k == best) for k in range(6)]
    assert Choice(1, "soup") not in fit(probabilities, labels, "nll", 3)


def test_a_soup_that_was_made_for_it_joins_nothing_else() -> None:
    probabilities, labels = library(1)
    best = int(rank(probabilities, labels, "nll")[0])
    made = np.arange(6) == best
    found = fit(probabilities, labels, "nll", 6, made, made)
    assert found.pop(Choice(1, "soup"))[best] == 1
    assert max(choice.size for choice in found) == 5
    assert all(weights[best] == 0 for weights in found.values())


def test_top1_counts_wrong_rows_and_tells_equal_counts_apart_by_likelihood() -> None:
    labels = np.array([0, 1])
    sure = np.array([[0.9, 0.1], [0.1, 0.9]])
    unsure = np.array([[0.6, 0.4], [0.4, 0.6]])
    wrong = np.array([[0.99, 0.01], [0.51, 0.49]])
    found = score(np.stack([sure, unsure, wrong]), labels, "top1")
    assert found[0] < found[1] < 1 <= found[2] < 2


def test_impossible_labels_cost_a_finite_amount() -> None:
    rows = np.array([[[0.0, 1.0]]])
    assert score(rows, np.array([0]), "nll")[0] == pytest.approx(-np.log(selection.TINY))
    assert score(rows, np.array([0]), "top1")[0] < 2


@given(
    labels=st.lists(st.integers(0, 4), min_size=5, max_size=80),
    count=st.integers(2, 6),
    seed=st.integers(0, 99),
)
@settings(max_examples=50, deadline=None)
def test_folds_are_even_over_all_and_over_each_class(labels, count, seed) -> None:
    labels = np.array(labels)
    folds = stratified_folds(labels, count, seed)
    wanted = min(count, len(labels))
    assert set(folds) == set(range(wanted))
    for some in (np.ones(len(labels), bool), *(labels == k for k in set(labels))):
        sizes = np.bincount(folds[some], minlength=wanted)
        assert sizes.max() - sizes.min() <= 1
    assert np.array_equal(folds, stratified_folds(labels, count, seed))


def test_a_row_is_predicted_by_what_was_fitted_without_its_fold() -> None:
    """A student that is right in one fold only is never taken for that fold by its rows."""
    labels, folds = np.zeros(6, dtype=np.int64), np.array([0, 0, 0, 1, 1, 1])
    good_at_0 = np.where(folds[:, None] == 0, [[0.99, 0.01]], [[0.01, 0.99]])
    good_at_1 = good_at_0[::-1]
    students = np.stack([good_at_0, good_at_1])
    held = cross_fit(labels, folds, students, lambda p, of: fit(p, of, "nll", 1))
    np.testing.assert_allclose(held[Choice(1, "single")], [[0.01, 0.99]] * 6)


def test_a_dearer_choice_needs_a_better_held_out_score() -> None:
    labels = np.array([0, 1])
    rows, better = np.array([[0.6, 0.4], [0.4, 0.6]]), np.array([[0.7, 0.3], [0.3, 0.7]])
    cheap, dear = Choice(2, "uniform"), Choice(3, "greedy")
    assert choose({dear: rows, cheap: rows.copy()}, labels, "nll") == cheap
    assert choose({dear: better, cheap: rows}, labels, "nll") == dear


def test_probabilities_are_averaged_not_logits() -> None:
    logits = np.array([[[4.0, 0.0]], [[0.0, 0.0]]], dtype=np.float16)
    mean = combine(softmax(logits), np.array([0.25, 0.75]))
    first = np.exp(4) / (np.exp(4) + 1)
    np.testing.assert_allclose(
        mean, [[0.25 * first + 0.375, 0.25 * (1 - first) + 0.375]], rtol=1e-6
    )

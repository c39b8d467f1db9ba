"""Which students to average, and with what weights: arithmetic on their probabilities, no more.

An ensemble predicts the weighted mean of its members' probabilities. Candidates for it are the
best single student, the best soup, the best few with equal weights, and greedy forward selection
with replacement (Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble Selection from Libraries of
Models", ICML 2004) from a sorted start, over random subsets of the library.

What is fitted to images looks better on them than it is. `cross_fit` therefore predicts each image
by what was fitted without its fold.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

FOLDS = 5
SEED = 0
BAGS = 20
BAG_SHARE = 0.5
ROUNDS = 50
LIBRARY = 50
TINY = 1e-12
ROUNDOFF = 1e-9
WORST = 1 - np.log(TINY)
"""More than the mean negative logarithm of any probability, cut at `TINY`, can be."""

Metric = Literal["nll", "top1"]
KindName = Literal["single", "soup", "uniform", "greedy"]
Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Choice(NamedTuple):
    """A kind of ensemble and the most members it may have; sorts by inference cost."""

    size: int
    kind: KindName


ORDER: Mapping[str, int] = {"single": 0, "soup": 1, "uniform": 2, "greedy": 3}


def softmax(logits: Floats) -> npt.NDArray[np.float32]:
    """Probabilities of logits `[..., K]`, exponentials in double precision."""
    raised = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    shares: npt.NDArray[np.float32] = (raised / raised.sum(axis=-1, keepdims=True)).astype("f4")
    return shares


def combine(probabilities: Floats, weights: Floats) -> Floats:
    """The weighted mean `[N, K]` of probabilities `[M, N, K]`; members of weight zero cost nothing.

    Args:
        probabilities: of M students.
        weights: `[M]`, summing to 1.
    """
    used = np.flatnonzero(weights)
    mean: Floats = np.tensordot(weights[used], probabilities[used].astype(np.float64), axes=1)
    return mean


def score(probabilities: Floats, labels: Integers, metric: Metric) -> Floats:
    """What is minimised, of probabilities `[..., N, K]`: one number `[...]` for each set of rows.

    `nll`: the mean negative log-likelihood, probabilities cut at `TINY`. `top1`: wrong rows; equal
    counts are told apart by the likelihood, which adds less than one row.
    """
    of_label = probabilities[..., np.arange(len(labels)), labels].astype(np.float64)
    nll: Floats = -np.log(np.maximum(of_label, TINY)).mean(axis=-1)
    if metric == "nll":
        return nll
    wrong: Floats = (probabilities.argmax(axis=-1) != labels).sum(axis=-1) + nll / WORST
    return wrong


def rank(probabilities: Floats, labels: Integers, metric: Metric) -> Integers:
    """Students `[M]`, best first; of equal ones the earlier."""
    scores = [score(one[None], labels, metric)[0] for one in probabilities]
    return np.argsort(np.asarray(scores), kind="stable")


def greedy(
    probabilities: Floats, labels: Integers, metric: Metric, rounds: int = ROUNDS
) -> Integers:
    """How often each student `[M]` is taken by greedy forward selection with replacement.

    It starts with the best few, as many as score best together, then takes in each round the
    student that helps most, and gives back the best ensemble on the way: never worse on these
    rows than the best student alone.
    """
    probabilities, labels = _reduced(probabilities, labels, metric)
    order = rank(probabilities, labels, metric)
    total, begun = np.zeros(probabilities.shape[1:]), []
    for n, member in enumerate(order, start=1):
        total = total + probabilities[member]
        begun.append(float(score(total[None] / n, labels, metric)[0]))
    count = int(np.argmin(begun)) + 1
    taken = np.bincount(order[:count], minlength=len(probabilities))
    best, lowest = taken.copy(), begun[count - 1]
    total = probabilities[order[:count]].sum(axis=0, dtype=np.float64)
    for n in range(count + 1, rounds + 1):
        scores = score((total + probabilities) / n, labels, metric)
        pick = int(np.argmin(scores))
        total = total + probabilities[pick]
        taken[pick] += 1
        if scores[pick] < lowest - ROUNDOFF:
            best, lowest = taken.copy(), float(scores[pick])
    return best


def bagged(probabilities: Floats, labels: Integers, metric: Metric, seed: int = SEED) -> Floats:
    """Mean shares `[M]` of greedy selections, each from a random half of the students.

    A library has students that fit these rows by luck; not all halves have them. The halves are
    drawn by rank, so the order of the students does not matter.
    """
    count = len(probabilities)
    order, draws = rank(probabilities, labels, metric), np.random.default_rng(seed)
    shares = np.zeros(count)
    for _ in range(BAGS):
        half = order[np.sort(draws.permutation(count)[: -(-count // round(1 / BAG_SHARE))])]
        taken = greedy(probabilities[half], labels, metric)
        shares[half] += taken / taken.sum() / BAGS
    return shares


def capped(
    probabilities: Floats, labels: Integers, metric: Metric, shares: Floats, size: int
) -> Floats:
    """Weights `[M]` of at most `size` students, those with the largest shares.

    One more greedy selection among these sets the weights. The best student alone is given back
    where that is better on these rows.
    """
    order = rank(probabilities, labels, metric)
    kept = order[np.argsort(-shares[order], kind="stable")[:size]]
    weights = np.zeros(len(probabilities))
    taken = greedy(probabilities[kept], labels, metric)
    weights[kept] = taken / taken.sum()
    alone = _even(len(weights), order[:1])
    both = np.stack([combine(probabilities, each) for each in (weights, alone)])
    return weights if np.argmin(score(both, labels, metric)) == 0 else alone


def fit(
    probabilities: Floats,
    labels: Integers,
    metric: Metric,
    size: int,
    soups: Flags | None = None,
    aside: Flags | None = None,
    seed: int = SEED,
) -> dict[Choice, Floats]:
    """Weights `[M]` of every kind and size, fitted to these rows.

    Args:
        probabilities: `[M, N, K]`.
        labels: `[N]`.
        metric: what decides.
        size: most members.
        soups: `[M]`, which students are means of the weights of several epochs.
        aside: `[M]`, which of them were made for that, and are no students of the study.
        seed: of the subsets that greedy selection draws.
    """
    count, order = len(probabilities), rank(probabilities, labels, metric)
    made = order[soups[order]] if soups is not None else order[:0]
    order = order[~aside[order]] if aside is not None else order
    found = {Choice(1, "single"): _even(count, order[:1])}
    if len(made):
        found[Choice(1, "soup")] = _even(count, made[:1])
    library = order[:LIBRARY]
    kept = probabilities[library]
    shares = bagged(kept, labels, metric, seed) if min(size, len(order)) > 1 else None
    for most in range(2, min(size, len(order)) + 1):
        found[Choice(most, "uniform")] = _even(count, order[:most])
        if shares is not None:
            weights = np.zeros(count)
            weights[library] = capped(kept, labels, metric, shares, most)
            found[Choice(most, "greedy")] = weights
    return found


def stratified_folds(labels: Integers, count: int = FOLDS, seed: int = SEED) -> Integers:
    """The fold `[N]` of each row: equal sizes, each class spread evenly, from a seed."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    in_turn = shuffled[np.argsort(labels[shuffled], kind="stable")]
    folds = np.empty(len(labels), dtype=np.int64)
    folds[in_turn] = np.arange(len(labels)) % min(count, len(labels))
    return folds


def cross_fit(
    labels: Integers,
    folds: Integers,
    probabilities: Floats,
    fitted: Callable[[Floats, Integers], Mapping[Choice, Floats]],
) -> dict[Choice, Floats]:
    """Held-out probabilities `[N, K]` of each choice: a row by what was fitted without its fold.

    Args:
        labels: `[N]`.
        folds: `[N]`, at least two.
        probabilities: `[M, N, K]`.
        fitted: gives weights `[M]` for some of the rows.
    """
    found: dict[Choice, Floats] = {}
    for fold in np.unique(folds):
        held = folds == fold
        for choice, weights in fitted(probabilities[:, ~held], labels[~held]).items():
            rows = found.setdefault(choice, np.zeros(probabilities.shape[1:]))
            rows[held] = combine(probabilities[:, held], weights)
    return found


def choose(held_out: Mapping[Choice, Floats], labels: Integers, metric: Metric) -> Choice:
    """The choice with the best held-out score; a dearer one only where it is better."""
    scores = [float(score(held_out[one][None], labels, metric)[0]) for one in sorted_by(held_out)]
    return sorted_by(held_out)[int(np.argmin(scores))]


def sorted_by(choices: Mapping[Choice, object]) -> Sequence[Choice]:
    """Choices by size, the simpler kind first."""
    return sorted(choices, key=lambda one: (one.size, ORDER[one.kind]))


def _even(count: int, members: Integers) -> Floats:
    weights = np.zeros(count)
    weights[members] = 1 / len(members)
    return weights


def _reduced(probabilities: Floats, labels: Integers, metric: Metric) -> tuple[Floats, Integers]:
    """Only the label's probability, `[M, N, 1]`, where nothing else is looked at."""
    if metric != "nll":
        return probabilities, labels
    of_label = probabilities[:, np.arange(len(labels)), labels]
    return of_label[..., None], np.zeros_like(labels)

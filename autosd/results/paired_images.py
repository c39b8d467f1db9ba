"""Two predictors on the same images: a difference that images, not seeds, leave in doubt."""

import numpy as np
import numpy.typing as npt
from scipy import stats

from autosd.results.statistics import CONFIDENCE, Difference, paired_difference

Rows = npt.NDArray[np.float64]
TINY = 1e-12


def accuracy_difference(
    first: npt.NDArray[np.bool_],
    second: npt.NDArray[np.bool_],
    confidence: float = CONFIDENCE,
) -> Difference:
    """Accuracy of `first` minus that of `second`, from which rows `[N]` each has right.

    Only rows on which one alone is right tell anything. The p-value is McNemar's exact test; the
    interval is the one that belongs to it: Clopper and Pearson's for the share of such rows that
    `first` wins, given their number. It leaves zero out exactly where p is below 0.05.

    Sources: McNemar, "Note on the sampling error of the difference between correlated proportions
    or percentages", Psychometrika 12(2), 1947; Clopper and Pearson, "The use of confidence or
    fiducial limits illustrated in the case of the binomial", Biometrika 26(4), 1934.
    """
    count = len(first)
    won, lost = int((first & ~second).sum()), int((second & ~first).sum())
    told = won + lost
    if told == 0:
        why = "both are right on the same images"
        return Difference(0.0, None, None, count, None, why)
    tail = (1 - confidence) / 2
    low = float(stats.beta.ppf(tail, won, lost + 1)) if won else 0.0
    high = float(stats.beta.ppf(1 - tail, won + 1, lost)) if lost else 1.0
    low, high = ((2 * share - 1) * told / count for share in (low, high))
    p = min(1.0, 2 * float(stats.binom.cdf(min(won, lost), told, 0.5)))
    return Difference((won - lost) / count, low, high, count, (high - low) / 2, p=p)


def likelihood_difference(first: Rows, second: Rows) -> Difference:
    """Mean negative log-likelihood of `first` minus that of `second`, with Student's t interval.

    Args:
        first, second: probability of the true class `[N]`, paired by image, cut at `TINY`.
    """
    nats = [(-np.log(np.maximum(rows, TINY))).tolist() for rows in (first, second)]
    return paired_difference(nats[0], nats[1])

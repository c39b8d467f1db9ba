"""What a classifier's logits are worth. All values are fractions or nats, none a percentage."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

ECE_BINS = 15


CHUNK = 2**24
"""Logits that are looked at together: what is computed of them in float64 takes about 1 GB."""


@dataclass(frozen=True)
class Rows:
    """What the metrics need to know of each image, `[N]` each; its logits are not needed then.

    Attributes:
        labels: int64.
        predicted: the class of the highest logit.
        among: whether the label is among the best class and the best min(5, K): bool `[N, 2]`.
        confidence: the highest probability, float64.
        sure: whether the class of that probability is the label.
        log_likelihood: of the label, nats.
        distance: squared, of the probabilities to the one-hot label.
    """

    labels: Tensor
    predicted: Tensor
    among: Tensor
    confidence: Tensor
    sure: Tensor
    log_likelihood: Tensor
    distance: Tensor


def rows_of(logits: Tensor, labels: Tensor) -> Rows:
    """The rows of logits `(N, K)` and labels `(N,)`, computed in float64, some at a time."""
    step = max(1, CHUNK // logits.shape[1])
    return joined(
        [_rows(*pair) for pair in zip(logits.split(step), labels.split(step), strict=True)]
    )


def joined(parts: Sequence[Rows]) -> Rows:
    """All rows of several, in their order."""
    return Rows(*(torch.cat(list(column)) for column in zip(*map(_columns, parts), strict=True)))


def _columns(rows: Rows) -> tuple[Tensor, ...]:
    return tuple(getattr(rows, field.name) for field in fields(rows))


def _rows(logits: Tensor, labels: Tensor) -> Rows:
    logits = logits.double()
    log_probabilities = F.log_softmax(logits, dim=1)
    probabilities = log_probabilities.exp()
    confidence, likely = probabilities.max(dim=1)
    return Rows(
        labels=labels,
        predicted=logits.argmax(dim=1),
        among=torch.stack([among_best(logits, labels, k) for k in (1, 5)], dim=1),
        confidence=confidence,
        sure=likely == labels,
        log_likelihood=log_probabilities.gather(1, labels[:, None])[:, 0],
        distance=distance(probabilities, labels),
    )


def measure(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Every metric of logits `(N, K)` and labels `(N,)`; see `measure_rows`."""
    return measure_rows(rows_of(logits, labels), logits.shape[1])


def measure_rows(rows: Rows, classes: int) -> dict[str, float]:
    """Every metric of images with so many classes.

    `top1`, `top5` (the best min(5, K) classes), `nll` (nats), `ece` (15 bins of equal width),
    `ece_equal_mass` (15 bins of as many images each), `brier` (0 to 2), `balanced_accuracy`.
    """
    top1, top5 = rows.among.double().unbind(dim=1)
    values = {
        "top1": top1.mean(),
        "top5": top5.mean(),
        "nll": F.nll_loss(rows.log_likelihood[:, None], torch.zeros_like(rows.labels)),
        "ece": expected_calibration_error(rows.confidence, rows.sure),
        "ece_equal_mass": equal_mass_calibration_error(rows.confidence, rows.sure),
        "brier": rows.distance.mean(),
        "balanced_accuracy": balanced_accuracy(rows.predicted, rows.labels, classes),
    }
    numbers: list[float] = torch.stack(list(values.values())).tolist()
    return dict(zip(values, numbers, strict=True))


def among_best(scores: Tensor, labels: Tensor, k: int) -> Tensor:
    """Whether the label of each row is among its `min(k, K)` highest scores."""
    best = scores.topk(min(k, scores.shape[1]), dim=1).indices
    return (best == labels[:, None]).any(dim=1)


def expected_calibration_error(confidence: Tensor, right: Tensor, bins: int = ECE_BINS) -> Tensor:
    """Mean gap between confidence and accuracy over equal-width bins `(low, high]`.

    Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.
    """
    edges = torch.linspace(0, 1, bins + 1, dtype=confidence.dtype, device=confidence.device)
    place = torch.bucketize(confidence, edges[1:-1])
    gaps = right.to(confidence.dtype) - confidence
    return torch.zeros_like(edges[1:]).index_add_(0, place, gaps).abs().sum() / len(right)


def equal_mass_calibration_error(confidence: Tensor, right: Tensor, bins: int = ECE_BINS) -> Tensor:
    """Mean gap between confidence and accuracy over bins of (nearly) as many rows each.

    Bins of equal width hold almost all rows of a good classifier in the last one. Rows with the
    same confidence share their mean accuracy, so that their order does not matter.

    Nguyen, O'Connor, "Posterior calibration and exploratory analysis for natural language
    processing models", EMNLP 2015 (adaptive binning).
    """
    values, group, counts = confidence.unique(return_inverse=True, return_counts=True)
    hits = torch.zeros_like(values).index_add_(0, group, right.to(values.dtype)) / counts
    gaps = (hits - values).repeat_interleave(counts)
    sums = torch.stack([rows.sum() for rows in gaps.tensor_split(bins)])
    return sums.abs().sum() / len(right)


def distance(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Squared distance of each row to its one-hot label; its mean is Brier's score."""
    truth = F.one_hot(labels, probabilities.shape[1]).to(probabilities.dtype)
    return (probabilities - truth).square().sum(dim=1)


def balanced_accuracy(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Mean recall over the classes that occur among `labels`."""
    hits = (predicted == labels).double()
    right = hits.new_zeros(classes).index_add_(0, labels, hits)
    count = torch.bincount(labels, minlength=classes)
    present = count > 0
    return (right[present] / count[present]).mean()

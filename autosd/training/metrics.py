"""What a classifier's logits are worth. All values are fractions or nats, none a percentage."""

import torch
from torch import Tensor
from torch.nn import functional as F

ECE_BINS = 15


def measure(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Every metric of logits `(N, K)` and labels `(N,)`, computed in float64.

    `top1`, `top5` (the best min(5, K) classes), `nll` (nats), `ece` (15 bins of equal width),
    `ece_equal_mass` (15 bins of as many images each), `brier` (0 to 2), `balanced_accuracy`.
    """
    logits = logits.double()
    log_probabilities = F.log_softmax(logits, dim=1)
    probabilities = log_probabilities.exp()
    values = {
        "top1": top_k(logits, labels, 1),
        "top5": top_k(logits, labels, 5),
        "nll": F.nll_loss(log_probabilities, labels),
        "ece": expected_calibration_error(probabilities, labels),
        "ece_equal_mass": equal_mass_calibration_error(probabilities, labels),
        "brier": brier(probabilities, labels),
        "balanced_accuracy": balanced_accuracy(logits, labels),
    }
    numbers: list[float] = torch.stack(list(values.values())).tolist()
    return dict(zip(values, numbers, strict=True))


def top_k(scores: Tensor, labels: Tensor, k: int) -> Tensor:
    """Share of rows whose label is among the `min(k, K)` highest scores."""
    best = scores.topk(min(k, scores.shape[1]), dim=1).indices
    return (best == labels[:, None]).any(dim=1).double().mean()


def expected_calibration_error(
    probabilities: Tensor, labels: Tensor, bins: int = ECE_BINS
) -> Tensor:
    """Mean gap between confidence and accuracy over equal-width bins `(low, high]`.

    Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.
    """
    confidence, predicted = probabilities.max(dim=1)
    edges = torch.linspace(0, 1, bins + 1, dtype=confidence.dtype, device=confidence.device)
    place = torch.bucketize(confidence, edges[1:-1])
    gaps = (predicted == labels).to(confidence.dtype) - confidence
    return torch.zeros_like(edges[1:]).index_add_(0, place, gaps).abs().sum() / len(labels)


def equal_mass_calibration_error(
    probabilities: Tensor, labels: Tensor, bins: int = ECE_BINS
) -> Tensor:
    """Mean gap between confidence and accuracy over bins of (nearly) as many rows each.

    Bins of equal width hold almost all rows of a good classifier in the last one. Rows with the
    same confidence share their mean accuracy, so that their order does not matter.

    Nguyen, O'Connor, "Posterior calibration and exploratory analysis for natural language
    processing models", EMNLP 2015 (adaptive binning).
    """
    confidence, predicted = probabilities.max(dim=1)
    values, group, counts = confidence.unique(return_inverse=True, return_counts=True)
    hits = (predicted == labels).to(values.dtype)
    right = torch.zeros_like(values).index_add_(0, group, hits) / counts
    gaps = (right - values).repeat_interleave(counts)
    sums = torch.stack([rows.sum() for rows in gaps.tensor_split(bins)])
    return sums.abs().sum() / len(labels)


def brier(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Squared distance of the probabilities to the one-hot label, summed over classes."""
    truth = F.one_hot(labels, probabilities.shape[1]).to(probabilities.dtype)
    return (probabilities - truth).square().sum(dim=1).mean()


def balanced_accuracy(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean recall over the classes that occur among `labels`."""
    classes = scores.shape[1]
    hits = (scores.argmax(dim=1) == labels).to(scores.dtype)
    right = scores.new_zeros(classes).index_add_(0, labels, hits)
    count = torch.bincount(labels, minlength=classes)
    present = count > 0
    return (right[present] / count[present]).mean()

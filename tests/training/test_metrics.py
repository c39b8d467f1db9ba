"""Metrics against values worked by hand and against scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torch import Tensor

from autosd.training import metrics
from autosd.training.metrics import (
    distance,
    equal_mass_calibration_error,
    expected_calibration_error,
    measure,
)

PROBABILITIES = torch.tensor(
    [[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.3, 0.6], [0.4, 0.35, 0.25]], dtype=torch.float64
)
LABELS = torch.tensor([0, 2, 2, 1])


def test_values_worked_by_hand() -> None:
    values = measure(PROBABILITIES.log(), LABELS)
    assert values["top1"] == 0.5
    assert values["top5"] == 1.0
    assert values["nll"] == pytest.approx(-math.log(0.7 * 0.3 * 0.6 * 0.35) / 4, rel=1e-12)
    squares = [0.09 + 0.04 + 0.01, 0.04 + 0.25 + 0.49, 0.01 + 0.09 + 0.16, 0.16 + 0.4225 + 0.0625]
    assert values["brier"] == pytest.approx(sum(squares) / 4, rel=1e-12)
    assert values["balanced_accuracy"] == pytest.approx((1 + 0 + 0.5) / 3, rel=1e-12)
    # Each row is alone in its bin of 1/15, so the gaps add up: .3 right, .5 wrong, .4, .4 wrong.
    assert values["ece"] == pytest.approx((0.3 + 0.5 + 0.4 + 0.4) / 4, rel=1e-12)


def sure(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The highest probability of each row, and whether it is that of the label."""
    confidence, predicted = probabilities.max(dim=1)
    return confidence, predicted == labels


def test_calibration_error_of_shared_bins_cancels() -> None:
    probabilities = torch.tensor([[0.75, 0.25]] * 4, dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 1])
    assert float(expected_calibration_error(*sure(probabilities, labels))) == pytest.approx(
        0, abs=1e-15
    )


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    probabilities = torch.tensor([[0.8, 0.2], [0.75, 0.25]], dtype=torch.float64)
    gaps = expected_calibration_error(*sure(probabilities, torch.tensor([0, 1])), bins=5)
    assert float(gaps) == pytest.approx(abs(0.2 - 0.75) / 2, rel=1e-12)


def test_bins_of_equal_mass_hold_as_many_rows_each() -> None:
    confidences = torch.tensor([0.6, 0.7, 0.9, 0.8], dtype=torch.float64)
    probabilities = torch.stack([confidences, 1 - confidences], dim=1)
    labels = torch.tensor([1, 0, 0, 0])
    # Sorted: .6 wrong and .7 right in the first bin, .8 and .9 right in the second.
    first, second = abs(0 - 0.6 + 1 - 0.7), abs(1 - 0.8 + 1 - 0.9)
    gaps = equal_mass_calibration_error(*sure(probabilities, labels), bins=2)
    assert float(gaps) == pytest.approx((first + second) / 4, rel=1e-12)


def test_bins_of_equal_mass_do_not_depend_on_the_order_of_ties() -> None:
    probabilities = torch.tensor([[0.9, 0.1]] * 4, dtype=torch.float64)
    for labels in ([0, 0, 1, 1], [1, 0, 1, 0]):
        gaps = equal_mass_calibration_error(*sure(probabilities, torch.tensor(labels)), bins=2)
        assert float(gaps) == pytest.approx(0.4, rel=1e-12)


def test_fewer_rows_than_bins_of_equal_mass_are_alone_in_theirs() -> None:
    values = measure(PROBABILITIES.log(), LABELS)
    assert values["ece_equal_mass"] == pytest.approx(values["ece"], rel=1e-12)


def test_full_confidence_has_a_bin() -> None:
    probabilities = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    assert float(expected_calibration_error(*sure(probabilities, torch.tensor([0, 0])))) == 0.5


def test_agrees_with_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(200, 7, generator=generator, dtype=torch.float64) * 2
    labels = torch.randint(0, 6, (200,), generator=generator)
    probabilities = logits.softmax(dim=1).numpy()
    values = measure(logits, labels)
    names = np.arange(7)
    truth, guess = labels.numpy(), probabilities.argmax(1)
    assert values["top1"] == pytest.approx(reference.accuracy_score(truth, guess))
    assert values["top5"] == pytest.approx(
        reference.top_k_accuracy_score(truth, probabilities, k=5, labels=names)
    )
    assert values["nll"] == pytest.approx(reference.log_loss(truth, probabilities, labels=names))
    assert values["balanced_accuracy"] == pytest.approx(
        reference.recall_score(truth, guess, average="macro", labels=np.unique(truth))
    )
    assert values["brier"] == pytest.approx(
        reference.brier_score_loss(truth, probabilities, labels=names, scale_by_half=False)
    )


def test_the_distance_of_certain_and_wrong_is_two() -> None:
    probabilities = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    assert float(distance(probabilities, torch.tensor([0]))) == 2.0


def test_two_classes_have_a_top5_of_one() -> None:
    assert measure(torch.tensor([[2.0, 1.0], [0.5, 1.0]]), torch.tensor([1, 0]))["top5"] == 1.0


def test_rows_are_the_same_however_many_are_looked_at_together(monkeypatch) -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(50, 9, generator=generator) * 3
    labels = torch.randint(0, 9, (50,), generator=generator)
    whole = measure(logits, labels)
    monkeypatch.setattr(metrics, "CHUNK", 9 * 7)
    assert measure(logits, labels) == whole

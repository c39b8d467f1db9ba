"""How good a network is on a part of the data, without leaving a trace in it."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from autosd.training.metrics import measure


@dataclass(frozen=True)
class Evaluation:
    """Scores of a network on one part.

    Attributes:
        metrics: see `autosd.training.metrics.measure`.
        logits: float32 `[N, K]`, rows in the order of the part.
        labels: int64 `[N]`.
    """

    metrics: dict[str, float]
    logits: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


def evaluate(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Evaluation:
    """Metrics of `model` in eval mode over batches of images and labels.

    The forward pass is float32 whatever the precision of the training, so that a student that
    was exported and loaded gives these very logits.
    """
    training = model.training
    model.eval()
    with torch.no_grad():
        pairs = [(model(images).float(), labels) for images, labels in batches]
    model.train(training)
    logits, labels = (torch.cat(tensors) for tensors in zip(*pairs, strict=True))
    return Evaluation(measure(logits, labels), logits.cpu().numpy(), labels.cpu().numpy())

"""How good a network is on a part of the data, without leaving a trace in it."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from autosd.errors import AutosdError
from autosd.training.metrics import joined, measure_rows, rows_of

FEW = 2**26
"""Logits that are kept without being asked for: 256 MB."""
MOST = 2**31
"""Logits of one part that may be held."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of a network on one part.

    Attributes:
        metrics: see `autosd.training.metrics.measure_rows`.
        labels: int64 `[N]`.
        kept: float32 `[N, K]`, rows in the order of the part; None where nobody asked for so many.
    """

    metrics: dict[str, float]
    labels: npt.NDArray[np.int64]
    kept: npt.NDArray[np.float32] | None

    @property
    def logits(self) -> npt.NDArray[np.float32]:
        """The logits of an evaluation that was told to keep them."""
        if self.kept is None:
            raise RuntimeError("these logits were not kept")
        return self.kept


def evaluate(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, keep: bool = True
) -> Evaluation:
    """Metrics of `model` in eval mode over batches of images and labels.

    The forward pass is float32 whatever the precision of the training, so that a student that
    was exported and loaded gives these very logits.

    Args:
        model: images to logits.
        batches: a part in its order.
        keep: whether the logits are wanted; a few are kept all the same.
    """
    training, rows, kept, size = model.training, [], [], 0
    model.eval()
    with torch.no_grad():
        for images, labels in batches:
            logits: Tensor = model(images).float()
            rows.append(rows_of(logits, labels))
            classes, size = logits.shape[1], size + logits.numel()
            kept.append(logits.cpu())
            if not keep and size > FEW:
                kept.clear()
    model.train(training)
    found = joined(rows)
    whole = torch.cat(kept).numpy() if keep or size <= FEW else None
    return Evaluation(measure_rows(found, classes), found.labels.cpu().numpy(), whole)


def check_room(count: int, classes: int, part: str) -> None:
    """Refuse to hold the logits of a part in memory where they would not fit.

    Raises:
        AutosdError: names the part and how much they would take.
    """
    if count * classes > MOST:
        raise AutosdError(
            f"the logits of {part}, {count:,} images x {classes:,} classes, would take "
            f"{4 * count * classes / 1e9:.1f} GB of memory; at most {4 * MOST / 1e9:.1f} GB are "
            f"allowed, so take fewer images for {part} (data.split.{part}), or fewer classes"
        )

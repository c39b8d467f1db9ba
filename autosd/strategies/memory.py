"""Memories of one row of class probabilities per training image."""

import torch
from torch import Tensor

from autosd.errors import AutosdError
from autosd.strategies.strategy import RunSpec

SINGLE_BUDGET = 2**30
HALF_BUDGET = 2**32


def label_rows(run: RunSpec, copies: int, owner: str) -> Tensor:
    """One of `copies` memories `[N, K]` of a strategy, each row the one-hot label of its image.

    Rows are single precision while all copies together fit into 1 GiB, half precision up to
    4 GiB, which is what the device is asked to hold for them.

    Raises:
        AutosdError: they would not fit even so; names `owner`.
    """
    dtype = memory_dtype(run.count, run.classes, copies, owner)
    rows = torch.zeros(run.count, run.classes, dtype=dtype, device=run.device)
    return rows.scatter_(1, run.labels.to(run.device)[:, None], 1.0)


def memory_dtype(count: int, classes: int, copies: int, owner: str) -> torch.dtype:
    """The precision in which `copies` memories of `count` rows fit the budget."""
    values = count * classes * copies
    if 4 * values <= SINGLE_BUDGET:
        return torch.get_default_dtype()
    if 2 * values <= HALF_BUDGET:
        return torch.float16
    raise AutosdError(
        f"{owner}: its memory of {count} images x {classes} classes would take "
        f"{2 * values / 2**30:.1f} GiB; at most {HALF_BUDGET / 2**30:.0f} GiB are allowed"
    )

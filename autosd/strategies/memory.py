"""Memories of one row of class probabilities per training image, within a stated budget."""

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
    if faults := too_large(count, classes, copies, owner):
        raise AutosdError(faults[0])
    small = 4 * count * classes * copies <= SINGLE_BUDGET
    return torch.get_default_dtype() if small else torch.float16


def too_large(count: int, classes: int, copies: int, owner: str) -> list[str]:
    """Why memories cannot be had, with the name of the strategy that wants them; or nothing."""
    needed = 2 * count * classes * copies
    if needed <= HALF_BUDGET:
        return []
    return [
        f"{owner}: its memory of {count} images x {classes} classes would take "
        f"{needed / 2**30:.1f} GiB; at most {HALF_BUDGET / 2**30:.0f} GiB are allowed, so "
        f"leave {owner} out, or take fewer images or classes"
    ]


def squares_too_large(classes: int, copies: int, owner: str) -> list[str]:
    """The same for tables of a row of probabilities for each class."""
    needed = 4 * classes * classes * copies
    if needed <= HALF_BUDGET:
        return []
    return [
        f"{owner}: its {copies} tables of {classes} classes x {classes} classes would take "
        f"{needed / 2**30:.1f} GiB; at most {HALF_BUDGET / 2**30:.0f} GiB are allowed, so "
        f"leave {owner} out, or take fewer classes"
    ]

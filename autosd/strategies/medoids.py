"""The most central logit vector of each class, from the last ones seen in an epoch."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autosd.strategies.losses import full

CHUNK = 64


def medoid_index(points: Tensor, valid: Tensor) -> Tensor:
    """Which of `points` `[..., M, K]` has the smallest sum of Euclidean distances to the others.

    Args:
        points: rows in order of arrival.
        valid: `[..., M]` bool, which rows count.

    Returns:
        `[...]` int64; of rows equal to a relative 1e-12 the first. 0 where no row counts.
    """
    rows = points.double()
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    sums = distances.masked_fill(~valid[..., None, :], 0.0).sum(-1)
    sums = sums.masked_fill(~valid, torch.inf)
    best = sums.amin(-1, keepdim=True)
    return (sums <= best * (1 + 1e-12)).to(torch.int8).argmax(-1)


class ClassPools(nn.Module):
    """The last `size` logit vectors of every class, as rings in one buffer.

    The last row of the buffer takes what is not kept, so that writing needs no shapes that
    depend on data.
    """

    rows: Tensor
    counts: Tensor

    def __init__(self, classes: int, size: int, device: torch.device) -> None:
        super().__init__()
        self.classes, self.size = classes, size
        self.register_buffer("rows", torch.zeros(classes * size + 1, classes, device=device))
        self.register_buffer("counts", torch.zeros(classes, dtype=torch.int64, device=device))

    def add(self, logits: Tensor, labels: Tensor, keep: Tensor) -> None:
        """Append the rows of `logits` `[B, K]` where `keep` `[B]`, in order, to their classes."""
        kept = F.one_hot(labels, self.classes) * keep[:, None]
        earlier = (kept.cumsum(0) - kept).gather(1, labels[:, None]).squeeze(1)
        arriving = kept.sum(0)
        lasting = keep & (arriving[labels] - earlier <= self.size)
        slot = labels * self.size + (self.counts[labels] + earlier) % self.size
        slot = torch.where(lasting, slot, self.classes * self.size)
        self.rows[slot] = full(logits).to(self.rows.dtype)
        self.rows[-1].zero_()
        self.counts += arriving

    def medoids(self) -> tuple[Tensor, Tensor]:
        """The medoid of every class `[K, K]`, and which classes have one `[K]`."""
        places = torch.arange(self.size, device=self.rows.device)
        oldest = torch.where(self.counts > self.size, self.counts, 0)
        order = (places + oldest[:, None]) % self.size
        pools = self.rows[:-1].view(self.classes, self.size, -1)
        pools = pools.take_along_dim(order[..., None], 1)
        valid = places < self.counts[:, None]
        chunks = zip(pools.split(CHUNK), valid.split(CHUNK), strict=True)
        index = torch.cat([medoid_index(points, counted) for points, counted in chunks])
        return pools.take_along_dim(index[:, None, None], 1).squeeze(1), self.counts > 0

    def clear(self) -> None:
        """Empty every pool."""
        self.rows.zero_()
        self.counts.zero_()

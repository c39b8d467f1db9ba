"""Rows of the previous step that are shown again, with the logits they had then."""

from typing import Any

import torch
from torch import Tensor, nn

from autosd.data.batches import Batch
from autosd.strategies.losses import kd
from autosd.strategies.strategy import RunSpec

REPLAY_VIEW = 1


class Carry(nn.Module):
    """Up to one batch of rows: index, label and detached logits.

    Images are not kept: they are drawn again, as a second view, in the step that shows them.
    The number of rows is known on the host from shapes and saved with the buffers, so no step
    waits for the device.
    """

    index: Tensor
    labels: Tensor
    logits: Tensor

    def __init__(self, run: RunSpec) -> None:
        super().__init__()
        rows, device = run.batch_size, run.device
        self.register_buffer("index", torch.zeros(rows, dtype=torch.int64, device=device))
        self.register_buffer("labels", torch.zeros(rows, dtype=torch.int64, device=device))
        self.register_buffer("logits", torch.zeros(rows, run.classes, device=device))
        self.rows = 0

    def append_to(self, batch: Batch) -> Batch:
        """`batch` with the carried rows behind its fresh ones, their images drawn anew."""
        if self.rows == 0:
            return batch
        index = self.index[: self.rows].clone()
        images = batch.draw(index, REPLAY_VIEW)
        earlier = torch.full_like(index, -1)
        return batch.append(images, self.labels[: self.rows].clone(), index, REPLAY_VIEW, earlier)

    def keep(self, batch: Batch, logits: Tensor, chosen: Tensor | None = None) -> None:
        """Carry the fresh rows of `batch`, or the `chosen` of them, to the next step."""
        kept = slice(batch.fresh) if chosen is None else chosen
        self.rows = batch.fresh if chosen is None else len(chosen)
        self.index[: self.rows] = batch.index[kept]
        self.labels[: self.rows] = batch.labels[kept]
        self.logits[: self.rows] = logits[kept].detach()

    def past_logits(self) -> Tensor:
        """Logits `[rows, K]` of the carried rows, one step old."""
        return self.logits[: self.rows]

    def pull(
        self, logits: Tensor, batch: Batch, kd_weight: float, temperature: float
    ) -> Tensor | None:
        """Weighted KL of the replayed rows of `logits` `[B, K]` from what they were one step ago.

        None where the weight is zero or nothing is replayed.
        """
        if kd_weight == 0 or self.rows == 0:
            return None
        return kd_weight * kd(self.past_logits(), logits[batch.fresh :], temperature)

    def get_extra_state(self) -> Tensor:
        """The number of rows, for a checkpoint."""
        return torch.tensor(self.rows)

    def set_extra_state(self, state: Any) -> None:
        """The number of rows, from a checkpoint."""
        self.rows = int(state)

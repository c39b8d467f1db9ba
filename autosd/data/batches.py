"""What travels through a training step."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mix:
    """How pixels of a batch were mixed: row i holds `lam` of itself, the rest of row `perm[i]`."""

    perm: Tensor
    lam: Tensor
    box: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """Images of a step and where they come from.

    Attributes:
        images: `[B, C, H, W]` normalised float32, channels_last.
        labels: `[B]` int64.
        index: `[B]` int64, position in the training part.
        fresh: the first `fresh` rows are new to this epoch; appended rows follow.
        view: `[B]` int64, which independent augmentation of the image this is.
        source: `[B]` int64, the fresh row an appended row belongs to (itself for fresh rows,
            -1 for rows of an earlier step).
        draw: `draw(index, view) -> images` fetches further augmented images of the training part.
        mix: what a mixing strategy did, or None.
    """

    images: Tensor
    labels: Tensor
    index: Tensor
    fresh: int
    view: Tensor
    source: Tensor
    draw: Callable[[Tensor, int], Tensor]
    mix: Mix | None = None

    def append(
        self, images: Tensor, labels: Tensor, index: Tensor, view: int, source: Tensor
    ) -> "Batch":
        """This batch with further rows behind its own."""
        return replace(
            self,
            images=torch.cat([self.images, images]),
            labels=torch.cat([self.labels, labels]),
            index=torch.cat([self.index, index]),
            view=torch.cat([self.view, torch.full_like(index, view)]),
            source=torch.cat([self.source, source]),
        )

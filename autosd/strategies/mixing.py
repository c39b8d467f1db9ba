"""Mixing of images and targets, shared by the strategies that own the pixels of a batch."""

import numpy as np
import torch
from torch import Tensor

from autosd.data.batches import Batch, Mix
from autosd.streams import Clock, seed_for


def host_generator(clock: Clock, purpose: str) -> np.random.Generator:
    """A NumPy generator of this very step: numbers the host needs, without asking the device."""
    return np.random.default_rng(seed_for(clock.seed, clock.epoch, clock.step, purpose))


def permutation(batch: Batch, clock: Clock, purpose: str) -> Tensor:
    """A random order `[n]` of the fresh rows."""
    generator = clock.generator(purpose)
    return torch.randperm(batch.fresh, device=batch.labels.device, generator=generator)


def mix_of(perm: Tensor, lam: float, box: Tensor | None = None) -> Mix:
    """The record of one ratio for all rows, on the device of `perm`, without a copy from here."""
    return Mix(perm, torch.full((), lam, dtype=torch.float64, device=perm.device), box)


def blend(images: Tensor, perm: Tensor, lam: float) -> Tensor:
    """`lam` of each image and the rest of the one at its place in `perm`; a new tensor."""
    return lam * images + (1.0 - lam) * images[perm]


def blend_rows(rows: Tensor, mix: Mix) -> Tensor:
    """Target rows `[B, K]` mixed as the pixels were."""
    return mix.lam * rows + (1.0 - mix.lam) * rows[mix.perm]

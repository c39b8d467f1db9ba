"""Randomness by purpose: every random number follows from (seed, epoch, step, purpose).

Nothing here has state, so nothing of it is ever saved: a resumed run draws what the
uninterrupted one would have drawn.
"""

import dataclasses
import hashlib
from dataclasses import dataclass, field

import torch


def seed_for(seed: int, *parts: int | str) -> int:
    """A 63-bit seed mixed from `seed` and `parts`; equal inputs, equal seed, on every machine."""
    text = "\x1f".join(str(part) for part in (seed, *parts))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(device: torch.device, seed: int, *parts: int | str) -> torch.Generator:
    """A fresh generator on `device`, seeded by `seed_for(seed, *parts)`."""
    return torch.Generator(device=device).manual_seed(seed_for(seed, *parts))


@dataclass(frozen=True)
class Clock:
    """Where a training run stands.

    Attributes:
        seed: the recipe's seed.
        epochs: planned epochs of the whole trial (never a pruner's rung).
        steps_per_epoch: optimiser steps of an epoch.
        epoch: 0-based epoch.
        step: 0-based step of the epoch.
        device: where `generator` makes its generators.
    """

    seed: int
    epochs: int
    steps_per_epoch: int
    epoch: int = 0
    step: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def at(self, epoch: int, step: int) -> "Clock":
        """The same run at another moment."""
        return dataclasses.replace(self, epoch=epoch, step=step)

    def generator(self, purpose: str) -> torch.Generator:
        """A fresh generator of this very step for one purpose, such as `masd.mask.1`."""
        return generator(self.device, self.seed, self.epoch, self.step, purpose)

"""The student: a plain classifier that also shows its stages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Activations(NamedTuple):
    """One forward pass.

    Attributes:
        logits: `[B, classes]`.
        taps: one map `[B, C_i, H_i, W_i]` at the end of each stage, shallow to deep.
        embedding: `[B, D]`, the input of the classifier.
        autocast: number format of the autocast the pass ran under, None where it was off; the
            trainer sets it, a student need not.
    """

    logits: Tensor
    taps: tuple[Tensor, ...]
    embedding: Tensor
    autocast: torch.dtype | None = None


@dataclass(frozen=True)
class StageSpec:
    """One stage: `channels` of its map, `reduction` of the side against the input (1, 2, 4)."""

    channels: int
    reduction: int


@dataclass(frozen=True)
class StudentSpec:
    """What those who build branches need to know.

    Attributes:
        name: as in the recipe.
        stages: shallow to deep.
        embedding: width D of the classifier's input.
        classes: number of logits.
        image_shape: `(C, H, W)` the student was built for.
        pooled_last_tap: whether `embedding` is the pooled last tap.
        copies_stages: whether `branch` copies the student's own blocks (else a light stand-in).
        batch_norm: whether a training batch of one row is impossible.
    """

    name: str
    stages: tuple[StageSpec, ...]
    embedding: int
    classes: int
    image_shape: tuple[int, int, int]
    pooled_last_tap: bool
    copies_stages: bool
    batch_norm: bool


class Student(nn.Module):
    """Base of all students. Calling it gives logits `[B, classes]`.

    A student that `autosd.load` gives also has `class_names` and `preprocess`, which makes one
    normalised image `[C, H, W]` of a PIL image or a uint8 array.
    """

    spec: StudentSpec
    class_names: tuple[str, ...]
    preprocess: Callable[[Any], Tensor]

    def activations(self, images: Tensor) -> Activations:
        """Logits, taps and embedding of one pass over `[B, C, H, W]`."""
        raise NotImplementedError

    def classifier(self, embedding: Tensor) -> Tensor:
        """Logits `[B, classes]` of embeddings `[B, D]`."""
        raise NotImplementedError

    def last_map_logits(self, tap: Tensor) -> Tensor:
        """Logits at each position of the last tap: `[B, D, H, W] -> [B, classes, H, W]`.

        Only where `spec.pooled_last_tap`.
        """
        raise NotImplementedError

    def branch(self, tap: int, blocks: Sequence[int]) -> nn.Module:
        """A fresh copy of the stages after `tap` (0-based), `blocks[k]` blocks in the k-th.

        It maps the tap's `[B, C, H, W]` to the map of the last stage. Where the family has no
        blocks to copy, a light depthwise-separable stand-in with the same widths and strides.
        """
        raise NotImplementedError

    def blocks_per_stage(self) -> tuple[int, ...]:
        """Number of blocks of each stage."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        return self.activations(images).logits

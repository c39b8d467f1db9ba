"""Intra-class patch swap: two images of a class exchange cells of a grid and agree.

Choi, Jeon, Shukla and Turaga, "Intra-class Patch Swap for Self-Distillation", arXiv:2505.14124,
2025. **Our reading**: only the abstract and a summary could be read.

Each image brings one partner of its class (never itself where the class has two), both augmented
on their own. With a probability, random cells of a grid are exchanged between the two. Both learn
from the label, and their predictions from each other.

    L = 1/2 (CE(z1, y) + CE(z2, y)) + kd_weight / 2 (KL_T(z2 || z1) + KL_T(z1 || z2))

Known are pairs of the same class, a grid of `patch` pixels, a random set of exchanged cells with a
probability, one network and a KL between the predictions of a pair. Ours are the number of cells
(uniform from 1 to all but one), the KL both ways with constant teachers, its weight and
temperature. A cell is at most half of a side, so that there are always four; strips beyond the
grid stay. Without swaps it is a symmetric CS-KD.
"""

from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from autosd.data.batches import Batch
from autosd.models.student import Activations, Student
from autosd.strategies.losses import mutual_kd
from autosd.strategies.same_class import SameClass
from autosd.strategies.strategy import Cost, Effect, RunSpec, Slot, Strategy, Targets
from autosd.streams import Clock

PARTNER_VIEW = 1


def random_cells(rows: int, cells: int, prob: float, generator: torch.Generator) -> Tensor:
    """Which cells of each pair are exchanged: bool `[rows, cells]`.

    With probability `prob` a random 1 to `cells - 1` of them, else none.
    """
    device = generator.device
    swapped = torch.rand(rows, generator=generator, device=device) < prob
    count = torch.randint(1, max(cells, 2), (rows, 1), generator=generator, device=device)
    places = torch.rand(rows, cells, generator=generator, device=device).argsort(1).argsort(1)
    return (places < count) & swapped[:, None]


def pixel_mask(cells: Tensor, patch: int, height: int, width: int) -> Tensor:
    """Cells `[B, rows * columns]` in row-major order as pixels: bool `[B, 1, H, W]`."""
    rows, columns = height // patch, width // patch
    grid = cells.view(-1, 1, rows, columns)
    mask = cells.new_zeros(len(cells), 1, height, width)
    grown = grid.repeat_interleave(patch, dim=2).repeat_interleave(patch, dim=3)
    mask[:, :, : rows * patch, : columns * patch] = grown
    return mask


def swap(first: Tensor, second: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Images `[B, C, H, W]` that exchanged the pixels of `mask`; new tensors, its own inverse."""
    return torch.where(mask, second, first), torch.where(mask, first, second)


class PatchSwap(Strategy):
    """Pairs of a class in one batch; no state."""

    reference: ClassVar[str] = (
        "Choi et al., Intra-class Patch Swap for Self-Distillation, arXiv 2505.14124, 2025 "
        "(our reading)"
    )
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.COMPOSE, Slot.MIX, Slot.TEACHER})
    effects: ClassVar[frozenset[Effect]] = frozenset({Effect.EXTRA_ROWS, Effect.SAME_CLASS_ROWS})
    refuses: ClassVar[dict[Effect, str]] = {
        Effect.MIXED_PIXELS: "a mixed image has two classes, so no partner shares its class",
    }

    class Knobs(Strategy.Knobs):
        patch: int = Field(8, ge=1, description="side of a cell in pixels, at most half the image")
        prob: float = Field(0.5, ge=0, le=1, description="share of the pairs that exchange cells")
        kd_weight: float = Field(
            1.0, ge=0, le=100, description="weight of the KL within a pair, both ways"
        )
        temperature: float = Field(4.0, gt=0, le=1000, description="softens both predictions")
        detach_targets: bool = Field(True, description="no gradient through teachers")

    knobs: Knobs

    def __init__(self, knobs: Knobs, student: Student, run: RunSpec) -> None:
        super().__init__(knobs, student, run)
        self.same_class = SameClass(run)
        self.patch = _fitting(knobs.patch, student)

    @classmethod
    def notes(cls, knobs: Knobs, student: Student) -> list[str]:
        patch = _fitting(knobs.patch, student)
        if patch == knobs.patch:
            return []
        return [f"patch_swap.patch: {knobs.patch} is more than half the image; {patch} is used"]

    def cost(self) -> Cost:
        return Cost(2.0, 2.0)

    def prepare(self, batch: Batch, clock: Clock) -> Batch:
        rows = torch.arange(batch.fresh, device=batch.index.device)
        partners = self.same_class.draw(batch.index[rows], 1, clock.generator("patch_swap.partner"))
        index = partners.squeeze(1)
        mask = self._mask(batch, clock)
        own, other = swap(batch.images[rows], batch.draw(index, PARTNER_VIEW), mask)
        batch = replace(batch, images=own)
        return batch.append(other, batch.labels[rows], index, PARTNER_VIEW, rows)

    def losses(
        self,
        activations: Activations,
        targets: Targets,
        batch: Batch,
        student: Student,
        clock: Clock,
    ) -> dict[str, Tensor]:
        knobs = self.knobs
        if knobs.kd_weight == 0:
            return {}
        own, partner = activations.logits.split(batch.fresh)
        pulls = mutual_kd(own, partner, knobs.temperature, knobs.detach_targets)
        return {"patch_swap/pair": knobs.kd_weight * 0.5 * (pulls[0] + pulls[1])}

    def _mask(self, batch: Batch, clock: Clock) -> Tensor:
        height, width = batch.images.shape[2:]
        cells = (height // self.patch) * (width // self.patch)
        generator = clock.generator("patch_swap.cells")
        chosen = random_cells(batch.fresh, cells, self.knobs.prob, generator)
        return pixel_mask(chosen, self.patch, height, width)


def _fitting(patch: int, student: Student) -> int:
    return max(1, min(patch, *(side // 2 for side in student.spec.image_shape[1:])))

"""CutMix: a box of one image is pasted into another, and the labels are mixed by its area.

Yun, Han, Oh, Chun, Choe and Yoo, "CutMix: Regularization Strategy to Train Strong Classifiers with
Localizable Features", ICCV 2019.

Each image of a batch gets a box of another one, and its target is mixed by the share of the area
that each of the two has. The box covers a share drawn from Beta(alpha, alpha), at a random place.
Nothing is added to the network; the accuracy on training images means little.

    x' = x outside the box, x[perm] inside;  lam = share of the area outside
    L = CE(z(x'), lam y + (1 - lam) y[perm])

One box, one ratio and one order of images per batch. As in the authors' code the side of a box is
made even, and what lies outside the image is cut off; the ratio is then that of the area really
pasted. Unlike theirs, the input is left untouched: the data set may live on the device.
"""

import math
from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from autosd.data.batches import Batch
from autosd.models.student import Student
from autosd.strategies.mixing import blend_rows, host_generator, mix_of, permutation
from autosd.strategies.strategy import Effect, RunSpec, Slot, Strategy, Targets
from autosd.streams import Clock

Box = tuple[int, int, int, int]


def cut_box(height: int, width: int, lam: float, center_y: int, center_x: int) -> Box:
    """First row, end row, first column, end column of a box of about `1 - lam` of the image."""
    ratio = math.sqrt(1.0 - lam)
    return clipped_box(height, width, int(height * ratio), int(width * ratio), center_y, center_x)


def clipped_box(height: int, width: int, tall: int, wide: int, center_y: int, center_x: int) -> Box:
    """A box `tall` and `wide`, made even, around a centre; what lies outside is cut off."""
    return *_span(height, tall, center_y), *_span(width, wide, center_x)


def kept_share(height: int, width: int, box: Box) -> float:
    """Share of the image outside the box."""
    top, bottom, left, right = box
    return 1.0 - (bottom - top) * (right - left) / (height * width)


def paste(images: Tensor, perm: Tensor, box: Box) -> Tensor:
    """A copy of `images` `[B, C, H, W]` with the box of the image at each place of `perm`."""
    top, bottom, left, right = box
    pasted = images.clone()
    pasted[:, :, top:bottom, left:right] = images[:, :, top:bottom, left:right][perm]
    return pasted


def _span(side: int, length: int, center: int) -> tuple[int, int]:
    half = length // 2
    return max(center - half, 0), min(center + half, side)


class Cutmix(Strategy):
    """The control to beat: CutMix alone is better than most self-distillation."""

    reference: ClassVar[str] = (
        "Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers with "
        "Localizable Features, ICCV 2019"
    )
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.MIX})
    effects: ClassVar[frozenset[Effect]] = frozenset({Effect.MIXED_PIXELS})
    refuses: ClassVar[dict[Effect, str]] = {
        Effect.SAME_CLASS_ROWS: "a mixed image has two classes, so no partner shares its class",
    }

    class Knobs(Strategy.Knobs):
        alpha: float = Field(
            1.0, gt=0, le=100, description="the area's share is drawn from Beta(alpha, alpha)"
        )
        prob: float = Field(1.0, ge=0, le=1, description="share of the batches that are cut; 0 off")

    knobs: Knobs

    def __init__(self, knobs: Knobs, student: Student, run: RunSpec) -> None:
        super().__init__(knobs, student, run)
        self.classes = run.classes

    @classmethod
    def neutral(cls) -> Strategy.Knobs:
        return cls.Knobs(prob=0)

    def prepare(self, batch: Batch, clock: Clock) -> Batch:
        generator = host_generator(clock, "cutmix.box")
        if generator.random() >= self.knobs.prob:
            return batch
        lam = float(generator.beta(self.knobs.alpha, self.knobs.alpha))
        height, width = batch.images.shape[2:]
        center_y, center_x = int(generator.integers(height)), int(generator.integers(width))
        box = cut_box(height, width, lam, center_y, center_x)
        perm = permutation(batch, clock, "cutmix.order")
        mix = mix_of(perm, kept_share(height, width, box), torch.tensor(box))
        return replace(batch, images=paste(batch.images, perm, box), mix=mix)

    def targets(self, targets: Targets, batch: Batch, clock: Clock) -> Targets:
        if batch.mix is None:
            return targets
        return targets.softened(blend_rows(targets.dense(self.classes), batch.mix))

"""A student as a user may bring one, which notes every batch that it is really trained with.

`$NOTES` is the file, one line with the rows of each batch; `$BATCH_SECONDS` makes a batch take its
time without taking the processor.
"""

import os
import time

import torch
from torch import Tensor, nn

from autosd.models.student import Activations, StageSpec, Student, StudentSpec


class Noting(Student):
    """Two convolutions."""

    def __init__(self, classes: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.spec = StudentSpec(
            name="noting",
            stages=(StageSpec(8, 1), StageSpec(16, 2)),
            embedding=16,
            classes=classes,
            image_shape=image_shape,
            pooled_last_tap=True,
            copies_stages=False,
            batch_norm=True,
        )
        self.one = nn.Sequential(nn.Conv2d(image_shape[0], 8, 3, 1, 1), nn.BatchNorm2d(8))
        self.two = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16))
        self.head = nn.Linear(16, classes)

    def activations(self, images: Tensor) -> Activations:
        if self.training and torch.is_grad_enabled():
            _note(len(images))
        first = self.one(images).relu()
        second = self.two(first).relu()
        embedding = second.mean((2, 3))
        return Activations(self.head(embedding), (first, second), embedding)

    def classifier(self, embedding: Tensor) -> Tensor:
        logits: Tensor = self.head(embedding)
        return logits


def _note(rows: int) -> None:
    time.sleep(float(os.environ.get("BATCH_SECONDS", "0")))
    if "NOTES" in os.environ:
        with open(os.environ["NOTES"], "a") as file:
            file.write(f"{rows}\n")

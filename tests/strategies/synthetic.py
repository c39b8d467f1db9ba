"""A step of the one loop on given activations, for tests without data and without a trainer."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from autosd.data.batches import Batch
from autosd.models.pooling import pool
from autosd.models.student import Activations, StageSpec, Student, StudentSpec
from autosd.strategies.strategy import RunSpec, Strategy, Targets
from autosd.streams import Clock

CPU = torch.device("cpu")


class TinyStudent(Student):
    """Three stages of one convolution each; the embedding is the pooled last tap."""

    def __init__(self, classes: int = 3, widths: Sequence[int] = (4, 6, 8), side: int = 8) -> None:
        super().__init__()
        self.spec = StudentSpec(
            name="tiny",
            stages=tuple(StageSpec(width, 2**k) for k, width in enumerate(widths)),
            embedding=widths[-1],
            classes=classes,
            image_shape=(1, side, side),
            pooled_last_tap=True,
            copies_stages=True,
            batch_norm=True,
        )
        self.stages = nn.ModuleList(
            self._stage(before, width, 1 if k == 0 else 2)
            for k, (before, width) in enumerate(zip((1, *widths), widths, strict=False))
        )
        self.head = nn.Linear(widths[-1], classes)

    def activations(self, images: Tensor) -> Activations:
        taps = []
        for stage in self.stages:
            images = stage(images)
            taps.append(images)
        embedding = pool(images)
        return Activations(self.head(embedding), tuple(taps), embedding)

    def branch(self, tap: int, blocks: Sequence[int]) -> nn.Module:
        widths = [stage.channels for stage in self.spec.stages]
        return nn.Sequential(
            *(self._stage(widths[k], widths[k + 1], 2) for k in range(tap, len(widths) - 1))
        )

    def blocks_per_stage(self) -> tuple[int, ...]:
        return tuple(1 for _ in self.stages)

    @staticmethod
    def _stage(before: int, after: int, stride: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
        )


class Fixed(nn.Module):
    """Gives one tensor, whatever it is asked."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value

    def forward(self, *_: Tensor) -> Tensor:
        return self.value


class Pair(nn.Module):
    """Gives two values, whatever it is asked."""

    def __init__(self, first: object, second: object) -> None:
        super().__init__()
        self.pair = first, second

    def forward(self, *_: Tensor) -> tuple[object, object]:
        return self.pair


class Told(TinyStudent):
    """Its passes give the activations it was told."""

    def __init__(self, classes: int, told: Activations) -> None:
        super().__init__(classes)
        self.told = told

    def activations(self, images: Tensor) -> Activations:
        return self.told


@dataclass
class Taken:
    """What a step did: the batch, its logits and embedding (with gradients), targets, terms."""

    batch: Batch
    logits: Tensor
    embedding: Tensor
    targets: Targets
    terms: dict[str, Tensor]
    student: Student

    @property
    def total(self) -> Tensor:
        return torch.stack(list(self.terms.values())).sum()


def run_spec(
    classes: int, labels: Sequence[int], batch_size: int, epochs: int = 3, side: int = 8
) -> RunSpec:
    """A run over a training part with these labels."""
    return RunSpec(
        classes=classes,
        count=len(labels),
        labels=torch.tensor(labels),
        image_shape=(1, side, side),
        batch_size=batch_size,
        epochs=epochs,
        device=CPU,
    )


def clock(epoch: int = 0, step: int = 0, epochs: int = 3, steps: int = 2) -> Clock:
    """A moment of a run with seed 0."""
    return Clock(seed=0, epochs=epochs, steps_per_epoch=steps, epoch=epoch, step=step)


def batch_of(labels: Sequence[int], index: Sequence[int] | None = None, side: int = 8) -> Batch:
    """Fresh rows; images are black, and drawing more of them gives black ones."""
    rows = len(labels)
    return Batch(
        images=torch.zeros(rows, 1, side, side),
        labels=torch.tensor(labels),
        index=torch.tensor(list(range(rows)) if index is None else index),
        fresh=rows,
        view=torch.zeros(rows, dtype=torch.int64),
        source=torch.arange(rows),
        draw=lambda index, view: torch.zeros(len(index), 1, side, side),
    )


def losses_of(
    strategy: Strategy,
    activations: Activations,
    labels: Sequence[int],
    student: Student | None = None,
    now: Clock | None = None,
) -> dict[str, Tensor]:
    """Terms of a strategy on given activations, and the supervised one.

    A strategy with modules leaves a batch of one row alone; for published values of one row the
    batch says two.
    """
    targets = Targets(torch.tensor(labels))
    batch = batch_of(labels if len(labels) > 1 else [*labels] * 2)
    terms = strategy.losses(activations, targets, batch, student or TinyStudent(), now or clock())
    return {"supervised": targets.cross_entropy(activations.logits).mean(), **terms}


def total_of(terms: dict[str, Tensor]) -> Tensor:
    """The loss of a step."""
    return torch.stack(list(terms.values())).sum()


def take_step(
    strategies: Iterable[Strategy],
    batch: Batch,
    now: Clock,
    logits: Callable[[Batch], Tensor],
    embedding: Callable[[Batch], Tensor] | None = None,
    student: Student | None = None,
) -> Taken:
    """One step as the trainer takes it, with activations that functions of the batch give."""
    hooks, student = list(strategies), student or TinyStudent()
    for strategy in hooks:
        batch = strategy.prepare(batch, now)
    rows = logits(batch).requires_grad_()
    features = (torch.zeros(len(rows), 1) if embedding is None else embedding(batch)).clone()
    taps = (torch.zeros(1),) * len(student.spec.stages)
    activations = Activations(rows, taps, features.requires_grad_())
    targets = Targets(batch.labels)
    for strategy in hooks:
        targets = strategy.targets(targets, batch, now)
    terms = {"supervised": targets.cross_entropy(rows).mean()}
    for strategy in hooks:
        terms |= strategy.losses(activations, targets, batch, student, now)
    taken = Taken(batch, rows, features, targets, terms, student)
    taken.total.backward()
    detached = Activations(rows.detach(), (), features.detach())
    for strategy in hooks:
        strategy.after_step(detached, batch, student, now)
    return taken

"""The interface of a self-distillation strategy. The trainer knows nothing else."""

import enum
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, ClassVar, cast

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from autosd.data.batches import Batch
from autosd.models.student import Activations, Student
from autosd.strategies.losses import full
from autosd.streams import Clock


class Slot(enum.StrEnum):
    """What a strategy claims. All but REGULARISER have one owner in a recipe."""

    COMPOSE = "compose"
    MIX = "mix"
    TARGET = "target"
    TEACHER = "teacher"
    HEADS = "heads"
    REGULARISER = "regulariser"


class Effect(enum.StrEnum):
    """What a strategy does to others, which these may refuse."""

    MIXED_PIXELS = "mixed pixels"
    EXTRA_ROWS = "extra rows"
    SAME_CLASS_ROWS = "same-class rows"
    INDEX_MEMORY = "memory by index"
    NON_TARGET = "non-target ranking"
    FLATTENED_TARGET = "flattened target"


@dataclass(frozen=True)
class Cost:
    """Image-forwards and image-backwards per fresh image, branches and heads included.

    Cross-entropy is (1, 1); a forward costs a third of such a step, a backward two thirds.
    """

    forwards: float = 1.0
    backwards: float = 1.0

    @property
    def step(self) -> float:
        """Cost of a step with cross-entropy's as 1."""
        return self.forwards / 3 + self.backwards * 2 / 3


@dataclass(frozen=True)
class RunSpec:
    """What a strategy may know of the run when it is built.

    Attributes:
        classes: number of classes K.
        count: images N of the training part.
        labels: `[N]` int64 labels of the training part.
        image_shape: `(C, H, W)`.
        batch_size: fresh rows of a step.
        epochs: planned epochs.
        device: where its buffers live.
        root: folder from which relative paths in knobs are taken.
    """

    classes: int
    count: int
    labels: Tensor
    image_shape: tuple[int, int, int]
    batch_size: int
    epochs: int
    device: torch.device
    root: Path = Path()


@dataclass(frozen=True)
class Targets:
    """What the supervised loss learns from: `labels` `[B]`, or `soft` `[B, K]` (rows sum to 1).

    `weights` `[K]` are class weights of the recipe, or None.
    """

    labels: Tensor
    soft: Tensor | None = None
    weights: Tensor | None = None

    def cross_entropy(self, logits: Tensor) -> Tensor:
        """Per-row cross-entropy `[B]` of `logits` `[B, K]`; hard where `soft` is None."""
        target = self.labels if self.soft is None else self.soft
        return F.cross_entropy(full(logits), target, weight=self.weights, reduction="none")

    def softened(self, rows: Tensor) -> "Targets":
        """The same with target `rows` `[B, K]` instead of hard labels."""
        return replace(self, soft=rows)

    def rows(self, rows: slice) -> "Targets":
        """Targets of some rows."""
        soft = None if self.soft is None else self.soft[rows]
        return Targets(self.labels[rows], soft, self.weights)

    def dense(self, classes: int) -> Tensor:
        """Targets as rows `[B, K]`, one-hot where they are hard."""
        if self.soft is not None:
            return self.soft
        return F.one_hot(self.labels, classes).to(torch.get_default_dtype())


class Knobs(BaseModel):
    """Knobs of a strategy: defaults are the published values, bounds are what is valid."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Strategy(nn.Module):
    """A method beside the student.

    Its parameters train with the student's, its buffers are checkpointed; everything it will
    ever own exists after the constructor. It must not keep the student as a submodule. The
    mode of a strategy is never changed: it stays in training mode.

    Class attributes:
        reference: authors, title, venue, year; "our reading" where the paper could not be read.
        slots, effects: what it claims and does.
        refuses: effects of others it cannot live with, each with the reason.
        discourages: effects of others beside which it is of little use, each with the reason.
        memories: rows of class probabilities that it keeps of every training image.
        searched: whether searches and comparisons draw it; false where it needs a file.
    """

    reference: ClassVar[str]
    slots: ClassVar[frozenset[Slot]] = frozenset()
    effects: ClassVar[frozenset[Effect]] = frozenset()
    refuses: ClassVar[Mapping[Effect, str]] = {}
    discourages: ClassVar[Mapping[Effect, str]] = {}
    memories: ClassVar[int] = 0
    searched: ClassVar[bool] = True

    class Knobs(Knobs):
        """No knobs."""

    def __init__(self, knobs: Any, student: Student, run: RunSpec) -> None:
        super().__init__()
        self.knobs = knobs

    @classmethod
    def neutral(cls) -> Knobs | None:
        """The setting that is plain training bit for bit, or None where there is none."""
        return None

    @classmethod
    def check(cls, knobs: Any, student: Student) -> list[str]:
        """Reasons why these knobs cannot run on this student; empty when they can."""
        return []

    @classmethod
    def advice(cls, knobs: Any, epochs: int) -> list[str]:
        """What the user should know of these knobs in a training of so many epochs."""
        return []

    @classmethod
    def notes(cls, knobs: Any, student: Student) -> list[str]:
        """What the user should know of these knobs on this student."""
        return []

    def cost(self) -> Cost:
        """Declared cost per fresh image."""
        return Cost()

    def start_epoch(self, student: Student, clock: Clock) -> None:
        """Called before the first step of an epoch."""

    def prepare(self, batch: Batch, clock: Clock) -> Batch:
        """Mix images or append rows; never changes labels or index, never drops a row."""
        return batch

    def targets(self, targets: Targets, batch: Batch, clock: Clock) -> Targets:
        """Replace what is learnt from."""
        return targets

    def losses(
        self,
        activations: Activations,
        targets: Targets,
        batch: Batch,
        student: Student,
        clock: Clock,
    ) -> dict[str, Tensor]:
        """Named scalar terms in float32, already weighted; a term of weight zero is left out."""
        return {}

    def after_step(
        self, activations: Activations, batch: Batch, student: Student, clock: Clock
    ) -> None:
        """Refresh memories after the optimiser's step; activations are detached."""

    def end_epoch(self, student: Student, clock: Clock) -> None:
        """Called after the last step of an epoch."""


@functools.cache
def discover() -> Mapping[str, type[Strategy]]:
    """Every strategy by the name of its file, in alphabetical order.

    A strategy is the class in a module of this package that states a `reference`.
    """
    package = importlib.import_module("autosd.strategies")
    names = sorted(entry.name for entry in pkgutil.iter_modules(package.__path__))
    modules = {name: importlib.import_module(f"{package.__name__}.{name}") for name in names}
    found = {name: strategy_in(module) for name, module in modules.items()}
    return MappingProxyType({name: strategy for name, strategy in found.items() if strategy})


def strategy_in(module: ModuleType) -> type[Strategy] | None:
    """The strategy a module defines, or None."""
    for candidate in vars(module).values():
        own = inspect.isclass(candidate) and candidate.__module__ == module.__name__
        if own and issubclass(candidate, Strategy) and "reference" in vars(candidate):
            return cast("type[Strategy]", candidate)
    return None

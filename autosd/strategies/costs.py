"""What strategies cost: arithmetic of modules, counted on one dry pass, and image passes."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from autosd.models.student import Activations, Student
from autosd.recipe import Recipe
from autosd.strategies.strategy import Cost, Effect, Strategy

Output = TypeVar("Output")


class Survey(NamedTuple):
    """What a student does with one image.

    Attributes:
        operations: floating-point operations of its forward pass.
        activations: of a batch of one black image, without gradient.
    """

    operations: int
    activations: Activations

    def share(self, module: nn.Module, *inputs: Tensor) -> float:
        """Operations of `module` on one image's `inputs`, as a share of the student's."""
        count, _ = _counted(module, lambda: module(*inputs))
        return count / self.operations


def survey(student: Student) -> Survey:
    """Operations and activations of one image; neither weights nor buffers change."""
    first = next(student.parameters())
    image = torch.zeros(1, *student.spec.image_shape, device=first.device, dtype=first.dtype)
    count, activations = _counted(student, lambda: student.activations(image))
    return Survey(max(count, 1), activations)


def combined(strategies: Iterable[Strategy]) -> Cost:
    """Declared cost of a recipe's strategies together.

    Rows multiply: those that append rows give the rows of a step. What is done for each row
    beside the student's own pass (branches, heads, a teacher's or a partner's pass) adds up, and is
    done for every row.
    """
    costs = [(Effect.EXTRA_ROWS in strategy.effects, strategy.cost()) for strategy in strategies]
    rows = [cost for appends, cost in costs if appends]
    beside = [cost for appends, cost in costs if not appends]
    return Cost(
        math.prod(cost.forwards for cost in rows) * _with(cost.forwards for cost in beside),
        math.prod(cost.backwards for cost in rows) * _with(cost.backwards for cost in beside),
    )


def _with(passes: Iterable[float]) -> float:
    return 1.0 + sum(each - 1.0 for each in passes)


def planned_epochs(recipe: Recipe, cost: Cost) -> int:
    """Epochs that a recipe's budget buys at a declared cost, at least one.

    With `budget: compute`, `epochs` counts epochs of plain training: what costs twice as much per
    image trains half as long.
    """
    if recipe.budget == "epochs":
        return recipe.epochs
    return max(1, round(recipe.epochs / cost.step))


@torch.no_grad()
def _counted(module: nn.Module, run: Callable[[], Output]) -> tuple[int, Output]:
    """Operations of `run` with `module` in evaluation mode, and what it gave."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with FlopCounterMode(display=False) as counter:
            output = run()
    finally:
        for part, training in modes:
            part.training = training
    return counter.get_total_flops(), output

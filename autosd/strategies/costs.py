"""Arithmetic of modules, counted on one dry pass when a strategy is built."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from autosd.models.student import Activations, Student

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

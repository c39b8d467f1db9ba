"""Which weights count: the last ones, their moving average, or the mean over the last epochs."""

import copy
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from autosd.models.student import Student
from autosd.recipe import AverageSpec

Images = Callable[[], Iterable[tuple[Tensor, Tensor]]]
"""Gives the plain training images once, in batches `(images, labels)`."""


class Average(nn.Module):
    """No average: the student itself is evaluated, kept and exported."""

    def after_step(self, step: int) -> None:
        """Called after the 0-based optimiser `step` of the whole run."""

    def end_epoch(self, epoch: int, epochs: int, images: Images) -> None:
        """Called after the 0-based `epoch`, before the evaluation."""

    def result(self, student: Student) -> Student:
        """The network whose scores are reported."""
        return student


class _Mean(Average):
    """A frozen copy of the student that follows it; the copy's weights belong to the state."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.mean = copy.deepcopy(student).requires_grad_(False).eval()
        self._live, self._live_counts = _tensors(student)
        self._ours, self._our_counts = _tensors(self.mean)

    def _follow(self, share: float) -> None:
        """Move all floating-point parameters and buffers by `share` of the way."""
        torch._foreach_lerp_(self._ours, self._live, share)

    def _copy_counts(self) -> None:
        """Take over the buffers that are no floating-point numbers and so have no mean."""
        for ours, live in zip(self._our_counts, self._live_counts, strict=True):
            ours.copy_(live)

    def result(self, student: Student) -> Student:
        return self.mean


class Ema(_Mean):
    """Exponential moving average of floating-point parameters and buffers.

    The momentum of the first steps is limited to (1 + step) / (10 + step), as is usual, or the
    random weights of the start would still dominate short runs.
    """

    def __init__(self, student: Student, momentum: float) -> None:
        super().__init__(student)
        self.momentum = momentum

    def after_step(self, step: int) -> None:
        self._follow(1 - min(self.momentum, (1 + step) / (10 + step)))

    def end_epoch(self, epoch: int, epochs: int, images: Images) -> None:
        self._copy_counts()


class Swa(_Mean):
    """Mean of the weights at the ends of the last quarter of the epochs.

    Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI
    2018. Batch-norm statistics are re-estimated in one pass over the plain training images.
    Before the last quarter the student itself counts.
    """

    def __init__(self, student: Student) -> None:
        super().__init__(student)
        self.count: Tensor
        device = self._ours[0].device
        self.register_buffer("count", torch.zeros((), dtype=torch.int64, device=device))
        self._generators = [device] if device.type == "cuda" else []

    def end_epoch(self, epoch: int, epochs: int, images: Images) -> None:
        if epoch < epochs - max(1, epochs // 4):
            return
        self.count += 1
        self._follow(1 / int(self.count))
        self._copy_counts()
        with torch.random.fork_rng(devices=self._generators), torch.no_grad():
            update_bn(_of_several_rows(images), self.mean)

    def result(self, student: Student) -> Student:
        return self.mean if int(self.count) else student


def make_average(spec: AverageSpec, student: Student) -> Average:
    """The average of a recipe; it owns everything it needs from the start."""
    if spec.kind == "ema":
        return Ema(student, spec.momentum)
    return Swa(student) if spec.kind == "swa" else Average()


def _tensors(module: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters and buffers, those of floating point and the others."""
    tensors = [tensor.detach() for tensor in (*module.parameters(), *module.buffers())]
    floats = [tensor for tensor in tensors if tensor.is_floating_point()]
    return floats, [tensor for tensor in tensors if not tensor.is_floating_point()]


def _of_several_rows(images: Images) -> Iterator[Tensor]:
    """Batches that batch norm can take: one row alone has no variance."""
    return (batch for batch, _ in images() if len(batch) > 1)

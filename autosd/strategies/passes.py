"""Passes beside the student's own: a pseudo-teacher's, a partner's, those of branches and heads.

What each does to gradients, batch norm and running statistics:

| pass           | gradient            | batch norm       | running statistics        |
|----------------|---------------------|------------------|---------------------------|
| pseudo-teacher | none                | batch statistics | untouched                 |
| partner        | none                | batch statistics | the student's are moved   |
| branch, head   | module and student  | batch statistics | the branch's own are moved|
"""

import copy
from contextlib import AbstractContextManager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_ema_multi_avg_fn

from autosd.models.student import Activations, Student

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def same_precision(activations: Activations) -> AbstractContextManager[object]:
    """Autocast as it was when `activations` were made, on or off."""
    device, half = activations.logits.device.type, activations.autocast
    return torch.autocast(device, dtype=half or torch.bfloat16, enabled=half is not None)


def exact(device: torch.device) -> AbstractContextManager[object]:
    """Autocast off, for matrix products inside a loss."""
    return torch.autocast(device.type, enabled=False)


def pseudo_teacher(student: Student) -> Student:
    """A frozen copy of the student, parameters and buffers, for `teacher_pass`.

    Batch norm uses batch statistics and leaves its running buffers alone; dropout and
    stochastic depth are off. So a copy that equals the student gives exactly its outputs, for
    students without dropout: with running statistics it would not.
    """
    teacher = copy.deepcopy(student).requires_grad_(False).eval()
    for module in teacher.modules():
        if isinstance(module, _BatchNorm):
            module.train()
            module.track_running_stats = False
    return teacher


@torch.no_grad()
def teacher_pass(teacher: Student, images: Tensor, like: Activations) -> Activations:
    """The pseudo-teacher's activations of `images`, in the precision of `like`.

    No gradient, batch statistics, no running statistics moved.
    """
    with same_precision(like):
        return teacher.activations(images)


@torch.no_grad()
def partner_pass(student: Student, images: Tensor, like: Activations) -> Activations:
    """The student's own activations of further `images`, in the precision of `like`.

    No gradient, statistics of this batch alone, running statistics moved as in any other pass.
    """
    with same_precision(like):
        return student.activations(images)


@torch.no_grad()
def copy_weights(teacher: nn.Module, student: nn.Module) -> None:
    """Make the teacher's parameters and buffers those of the student."""
    for own, new in zip(_tensors(teacher), _tensors(student), strict=True):
        own.copy_(new)


@torch.no_grad()
def average_weights(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Move the teacher's parameters to `momentum` of themselves and the rest of the student's.

    Buffers are copied.
    """
    average = get_ema_multi_avg_fn(momentum)
    average(list(teacher.parameters()), list(student.parameters()), 0)
    for own, buffer in zip(teacher.buffers(), student.buffers(), strict=True):
        own.copy_(buffer)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def on_device(module: AnyModule, device: torch.device) -> AnyModule:
    """`module` on `device`, its convolutions laid out like the student's (channels last)."""
    return module.to(device=device).to(memory_format=torch.channels_last)

"""Distillation of what a network thinks of the wrong classes.

NKD: Yang, Zeng, Li, Zhang, Yuan and Li, "From Knowledge Distillation to Self-Knowledge
Distillation: A Unified Approach with Normalized Loss and Customized Soft Labels", ICCV 2023.
"""

import torch
from torch import Tensor

from autosd.strategies.losses import tempered


def without_true(rows: Tensor, labels: Tensor) -> Tensor:
    """The entries of the wrong classes, in their order: `[B, K] -> [B, K - 1]`."""
    columns = torch.arange(rows.shape[1] - 1, device=rows.device).expand(len(rows), -1)
    return rows.gather(1, columns + (columns >= labels[:, None]))


def of_true(rows: Tensor, labels: Tensor) -> Tensor:
    """The entry of the true class: `[B, K] -> [B]`."""
    return rows.gather(1, labels[:, None]).squeeze(1)


def target_loss(teacher: Tensor, student: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the true class, each row weighted by the teacher's belief in it."""
    belief = of_true(tempered(teacher.detach(), 1.0), labels).exp()
    return -(belief * of_true(tempered(student, 1.0), labels)).mean()


def nontarget_loss(teacher: Tensor, student: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of the wrong classes among themselves, times the temperature squared.

    There is no entropy term: it is not zero where both agree, and it is zero for two classes.
    """
    belief = tempered(without_true(teacher.detach(), labels), temperature).exp()
    prediction = tempered(without_true(student, labels), temperature)
    return -(belief * prediction).sum(dim=1).mean() * temperature**2


def nkd(
    teacher: Tensor, student: Tensor, labels: Tensor, nontarget_weight: float, temperature: float
) -> Tensor:
    """NKD of `student` from `teacher`, both logits `[B, K]`; the teacher is a constant."""
    nontarget = nontarget_loss(teacher, student, labels, temperature)
    return target_loss(teacher, student, labels) + nontarget_weight * nontarget

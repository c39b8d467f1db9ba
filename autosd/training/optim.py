"""Optimisers and learning rates.

The rate is a pure function of the step, so that nothing of a schedule needs saving.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from autosd.recipe import OptimizerSpec, ScheduleSpec

FORM = "fused"
"""Implementation of the optimisers; each form rounds differently, so it belongs to the record."""

ONECYCLE_RISE = 0.3
ONECYCLE_START = 1 / 25
ONECYCLE_END = 1e-4


def make_optimizer(spec: OptimizerSpec, modules: Iterable[nn.Module]) -> torch.optim.Optimizer:
    """SGD or AdamW over the parameters of `modules` that require a gradient.

    With `decay_norms: false` vectors (norms, biases) form a second group without weight decay.
    """
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    vectors = [] if spec.decay_norms else [p for p in parameters if p.ndim <= 1]
    spared = {id(p) for p in vectors}
    groups: list[dict[str, object]] = [
        {"params": [p for p in parameters if id(p) not in spared]},
        {"params": vectors, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if spec.name == "adamw":
        return torch.optim.AdamW(groups, spec.lr, weight_decay=spec.weight_decay, fused=True)
    optimizer = torch.optim.SGD(
        groups,
        spec.lr,
        momentum=spec.momentum,
        nesterov=spec.nesterov and spec.momentum > 0,
        weight_decay=spec.weight_decay,
        fused=True,
    )
    if spec.momentum > 0:
        # The fused form fails where some momenta exist and others do not, as when a head gets its
        # first gradient late. Starting from zero gives the same first step.
        for parameter in parameters:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


@dataclass(frozen=True)
class Schedule:
    """The learning rate of every optimiser step.

    Attributes:
        spec: shape of the curve.
        peak: the recipe's learning rate.
        steps_per_epoch: optimiser steps of an epoch.
        epochs: planned epochs.
    """

    spec: ScheduleSpec
    peak: float
    steps_per_epoch: int
    epochs: int

    def rate(self, step: int) -> float:
        """Learning rate of the 0-based `step` of the whole run.

        A warm-up rises linearly and reaches the peak with its last step; the curve of the
        schedule covers the steps after it (multi-step counts its milestones from the start).
        """
        total = self.steps_per_epoch * self.epochs
        rise = min(round(self.spec.warmup_epochs * self.steps_per_epoch), total)
        if self.spec.name == "onecycle":
            return self.peak * _onecycle(step, total, rise or max(1, round(ONECYCLE_RISE * total)))
        if step < rise:
            return self.peak * (step + 1) / rise
        if self.spec.name == "cosine":
            return self.peak * _cosine((step - rise) / max(1, total - rise))
        if self.spec.name == "multistep":
            passed = sum(step >= round(mark * total) for mark in self.spec.milestones)
            return float(self.peak * self.spec.gamma**passed)
        return self.peak


def _cosine(progress: float) -> float:
    """From 1 at `progress` 0 to 0 at 1."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def _onecycle(step: int, total: int, rise: int) -> float:
    """Cosine up from 1/25 to 1 over `rise` steps, then down to 1e-4 of the start (Smith, 2018)."""
    if step < rise:
        return 1 - (1 - ONECYCLE_START) * _cosine(step / rise)
    end = ONECYCLE_START * ONECYCLE_END
    return end + (1 - end) * _cosine((step - rise) / max(1, total - 1 - rise))

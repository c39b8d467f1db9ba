"""Learning rates worked by hand, and what the optimisers are given."""

import math

import pytest
import torch
from torch import nn

from autosd.recipe import OptimizerSpec, ScheduleSpec
from autosd.training.optim import Schedule, make_optimizer


def rates(steps_per_epoch: int = 2, epochs: int = 5, **spec: object) -> list[float]:
    schedule = Schedule(ScheduleSpec(**spec), 0.4, steps_per_epoch, epochs)
    return [schedule.rate(step) for step in range(steps_per_epoch * epochs)]


def test_cosine_falls_from_the_peak_towards_zero() -> None:
    expected = [0.2 * (1 + math.cos(math.pi * step / 10)) for step in range(10)]
    assert rates(name="cosine") == pytest.approx(expected, rel=1e-15)
    assert rates(name="cosine")[0] == 0.4


def test_warm_up_rises_linearly_and_ends_at_the_peak() -> None:
    values = rates(name="cosine", warmup_epochs=2)
    assert values[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4], rel=1e-15)
    assert values[7] == pytest.approx(0.2, rel=1e-12)


def test_multistep_falls_at_its_milestones() -> None:
    values = rates(name="multistep", milestones=(0.5, 0.8), gamma=0.1)
    assert values == pytest.approx([0.4] * 5 + [0.04] * 3 + [0.004] * 2, rel=1e-12)


def test_constant_stays() -> None:
    assert rates(name="constant", warmup_epochs=0.5) == [0.4] * 10


def test_onecycle_rises_and_ends_near_zero() -> None:
    values = rates(name="onecycle")
    assert values[0] == pytest.approx(0.4 / 25, rel=1e-12)
    assert values[3] == pytest.approx(0.4, rel=1e-12)
    assert values[-1] == pytest.approx(0.4 / 25 * 1e-4, rel=1e-9)
    assert values[6] == pytest.approx((0.4 + 0.4 / 25e4) / 2, rel=1e-9)


@pytest.mark.parametrize("name", ["cosine", "multistep", "constant", "onecycle"])
def test_a_warm_up_longer_than_the_run_only_rises(name: str) -> None:
    values = rates(name=name, warmup_epochs=50)
    assert values == sorted(values)
    assert all(0 < value <= 0.4 for value in values)


def test_norms_and_biases_can_be_spared_from_decay() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    optimizer = make_optimizer(OptimizerSpec(decay_norms=False, weight_decay=0.1), [network])
    shapes = [[p.ndim for p in group["params"]] for group in optimizer.param_groups]
    assert shapes == [[4, 2], [1, 1, 1, 1]]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]


def test_frozen_parameters_are_left_out() -> None:
    network = nn.Linear(2, 2)
    network.bias.requires_grad_(False)
    optimizer = make_optimizer(OptimizerSpec(name="adamw", lr=0.1), [network])
    assert [p.shape for g in optimizer.param_groups for p in g["params"]] == [(2, 2)]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_steps_as_by_hand(momentum: float) -> None:
    weight = nn.Linear(1, 1, bias=False)
    nn.init.constant_(weight.weight, 2.0)
    spec = OptimizerSpec(lr=0.5, momentum=momentum, weight_decay=0.1)
    optimizer = make_optimizer(spec, [weight])
    value, buffer = 2.0, 0.0
    for step in range(2):
        weight.weight.grad = torch.tensor([[1.0]])
        optimizer.step()
        gradient = 1.0 + 0.1 * value
        buffer = momentum * buffer + gradient if step else gradient
        value -= 0.5 * (gradient + momentum * buffer)
        assert weight.weight.item() == pytest.approx(value, rel=1e-6)

"""RSKD against golden values: distillation, residuals, gradients, the moving average."""

import pytest
import torch
from torch import nn

from autosd.strategies.losses import kd
from autosd.strategies.passes import average_weights
from autosd.strategies.rskd import residual_error, residual_loss
from autosd.strategies.strategy import Targets

from .golden import assert_close, assert_gradient, cases, tensor

CASES = cases("masd_rskd_toast_dlb.json", "rskd")
LOSSES = [case for case in CASES if "ema" not in case.id and "linear" not in case.id]


@pytest.mark.parametrize("case", LOSSES)
def test_losses_and_gradients(case):
    inputs, knobs, expected = case["inputs"], case["knobs"], case["expected"]
    logits = tensor(inputs["z_student"]).requires_grad_()
    teacher = tensor(inputs["z_teacher"])
    students = [logits, *map(tensor, inputs["deeper_student"][1:])]
    teachers = list(map(tensor, inputs["deeper_teacher"]))
    heads = [tensor(head).requires_grad_() for head in inputs["head_output"]]
    supervised = Targets(torch.tensor(inputs["labels"])).cross_entropy(logits).mean()
    total = supervised
    assert_close(supervised, expected["loss_ce"])
    if knobs["kd_weight"] > 0:
        distilled = kd(teacher, logits, knobs["T"])
        assert_close(distilled, expected["loss_kd"])
        total = total + knobs["kd_weight"] * distilled
    for head, deep, shallow, error in zip(
        heads, teachers, students, expected["per_layer"], strict=False
    ):
        assert_close(residual_error(head, deep, shallow), error)
    for deep, shallow, square in zip(teachers, students, expected["target_sq"], strict=False):
        assert_close(residual_error(torch.zeros_like(deep), deep, shallow), square)
    if knobs["residual_weight"] > 0 and heads:
        residual = residual_loss(heads, teachers, students[: len(heads)])
        assert_close(residual, expected["loss_res"])
        total = total + knobs["residual_weight"] * residual
    assert_close(total, expected["total"])
    total.backward()
    assert_gradient(logits.grad[0, 0], expected["grad_z_00"])
    assert_gradient(logits.grad.norm(), expected["grad_z_norm"])
    if heads and heads[0].grad is not None:
        assert_gradient(heads[0].grad[0, 0], expected["grad_head0_00"])


@pytest.mark.parametrize("case", [case for case in CASES if "linear" in case.id])
def test_linear_head_on_the_embedding(case):
    inputs, expected = case["inputs"], case["expected"]
    feature = tensor(inputs["feature"]).requires_grad_()
    weight = tensor(inputs["weight"]).requires_grad_()
    out = nn.functional.linear(feature, weight, tensor(inputs["bias"]))
    error = residual_error(out, tensor(inputs["z_teacher"]), tensor(inputs["z_student"]))
    error.backward()
    assert_close(error, expected["loss"])
    assert_close(out[0, 0], expected["out_00"])
    assert_gradient(feature.grad[0, 0], expected["grad_feature_00"])
    assert_gradient(weight.grad[0, 0], expected["grad_weight_00"])
    assert_gradient(feature.grad.norm(), expected["grad_feature_norm"])


@pytest.mark.parametrize("case", [case for case in CASES if "ema" in case.id])
def test_moving_average(case):
    teacher, student = nn.Linear(1, 1, bias=False).double(), nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(teacher.weight, case["inputs"]["theta0"])
    for value, expected in zip(case["inputs"]["students"], case["expected"]["values"], strict=True):
        nn.init.constant_(student.weight, value)
        average_weights(teacher, student, case["knobs"]["momentum"])
        assert_close(teacher.weight[0, 0], expected)

"""RSKD against golden values: distillation, residuals, gradients, the moving average."""

import pytest
import torch
from torch import nn

from autosd.models.student import Activations
from autosd.strategies.passes import average_weights
from autosd.strategies.rskd import Rskd, residual_error

from .golden import assert_close, assert_gradient, cases, tensor
from .synthetic import Fixed, TinyStudent, Told, clock, losses_of, run_spec, total_of

CASES = cases("masd_rskd_toast_dlb.json", "rskd")
LOSSES = [case for case in CASES if "ema" not in case.id and "linear" not in case.id]


def activations_of(logits, deeper):
    """A pass whose layers, deepest first, are the logits and the maps of `deeper`."""
    rows = len(logits)
    taps = (torch.zeros(rows, 1, 1, 1), *reversed(deeper))
    return Activations(logits, taps, torch.zeros(rows, 1))


def strategy_of(knobs, heads, teacher):
    """RSKD with these weights, whose heads and teacher give what is told."""
    classes = teacher.logits.shape[1]
    own = Rskd.Knobs(
        temperature=knobs["T"],
        kd_weight=knobs["kd_weight"],
        residual_weight=knobs["residual_weight"],
        residual_layers=knobs["residual_layers"],
    )
    student = TinyStudent(classes, widths=(2, 3, 4, 5))
    strategy = Rskd(own, student, run_spec(classes, [0, 1], 2))
    strategy.heads = nn.ModuleList(map(Fixed, heads))
    strategy.teacher = Told(classes, teacher)
    return strategy


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize("case", LOSSES)
def test_weights_of_the_strategy(case, scale):
    inputs, expected = case["inputs"], case["expected"]
    names = ("kd_weight", "residual_weight")
    knobs = case["knobs"] | {name: scale * case["knobs"][name] for name in names}
    logits = tensor(inputs["z_student"]).requires_grad_()
    heads = [tensor(head).requires_grad_() for head in inputs["head_output"]]
    ours = activations_of(logits, list(map(tensor, inputs["deeper_student"][1:])))
    theirs = list(map(tensor, inputs["deeper_teacher"][1:]))
    strategy = strategy_of(knobs, heads, activations_of(tensor(inputs["z_teacher"]), theirs))
    terms = losses_of(strategy, ours, inputs["labels"], now=clock(epoch=1))
    assert ("rskd/kd" in terms) == (knobs["kd_weight"] > 0)
    assert ("rskd/residual" in terms) == (knobs["residual_weight"] > 0 and bool(heads))
    for name, weighted in {"kd": "loss_kd", "residual": "loss_res"}.items():
        assert_close(terms.get(f"rskd/{name}", torch.zeros(())), scale * expected[weighted])
    if scale == 1:
        assert_close(total_of(terms), expected["total"])
        total_of(terms).backward()
        assert_gradient(logits.grad[0, 0], expected["grad_z_00"])
        assert_gradient(logits.grad.norm(), expected["grad_z_norm"])
        if heads and heads[0].grad is not None:
            assert_gradient(heads[0].grad[0, 0], expected["grad_head0_00"])


@pytest.mark.parametrize("case", LOSSES)
def test_errors_of_the_layers(case):
    inputs, expected = case["inputs"], case["expected"]
    students = list(map(tensor, inputs["deeper_student"]))
    teachers = list(map(tensor, inputs["deeper_teacher"]))
    heads = list(map(tensor, inputs["head_output"]))
    for head, deep, shallow, error in zip(
        heads, teachers, students, expected["per_layer"], strict=False
    ):
        assert_close(residual_error(head, deep, shallow), error)
    for deep, shallow, square in zip(teachers, students, expected["target_sq"], strict=False):
        assert_close(residual_error(torch.zeros_like(deep), deep, shallow), square)


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

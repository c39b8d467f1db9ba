"""MASD against golden values: losses, gradients, weights, mask module."""

import math

import pytest
import torch
from torch import nn

from autosd.models.student import Activations
from autosd.strategies.masd import Masd, MaskedGenerator, teacher_weights, visible
from autosd.strategies.strategy import Targets

from .golden import assert_close, assert_gradient, cases, tensor
from .synthetic import Fixed, TinyStudent, losses_of, run_spec, total_of

CASES = cases("masd_rskd_toast_dlb.json", "masd")
LOSSES = [case for case in CASES if "mask module" not in case.id]
MASKS = [case for case in CASES if "mask module" in case.id]


def heads_of(case):
    return torch.stack([tensor(z) for z in case["inputs"]["logits"].values()]).requires_grad_()


def terms_of(case, heads, detach):
    """Terms of the strategy whose branches give the later heads."""
    final, *others = heads
    knobs, classes = case["knobs"], final.shape[1]
    own = Masd.Knobs(
        kd_weight=knobs["beta"],
        temperature=knobs["T"],
        weighting_temperature=float(knobs["weight_temperature"]),
        detach_targets=detach,
        num_taps=min(len(others), 2),
    )
    strategy = Masd(own, TinyStudent(classes), run_spec(classes, [0, 0], 2))
    strategy.taps = list(range(len(others)))
    strategy.branches = nn.ModuleList(map(Fixed, others))
    maps = (torch.zeros(len(final), 1, 1, 1),) * (len(others) + 1)
    activations = Activations(final, maps, torch.zeros(len(final), 1))
    return losses_of(strategy, activations, case["inputs"]["labels"])


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", LOSSES)
@pytest.mark.parametrize("detach", [False, True])
def test_losses_and_gradients(case, detach):
    heads, expected = heads_of(case), case["expected"]
    terms = terms_of(case, heads, detach)
    none = torch.zeros(())
    assert ("masd/branches" in terms) == (len(heads) > 1)
    assert ("masd/mutual" in terms) == (len(heads) > 1 and case["knobs"]["beta"] > 0)
    assert_close(terms["supervised"] + terms.get("masd/branches", none), expected["loss_cls"])
    assert_close(terms.get("masd/mutual", none), expected["loss_div"])
    assert_close(total_of(terms), expected["total"])
    total_of(terms).backward()
    suffix = "detach" if detach else "nodetach"
    assert_gradient(heads.grad.norm(), expected[f"grad_norm_{suffix}"])
    if f"grad_z0_00_{suffix}" in expected:
        assert_gradient(heads.grad[0, 0, 0], expected[f"grad_z0_00_{suffix}"])


@pytest.mark.parametrize("case", [case for case in LOSSES if "K=1 " not in case.id])
def test_teacher_weights(case):
    heads = heads_of(case)
    targets = Targets(torch.tensor(case["inputs"]["labels"]))
    losses = torch.stack([targets.cross_entropy(head) for head in heads])
    weights = teacher_weights(losses, float(case["knobs"]["weight_temperature"]))
    for head in (0, 1):
        others = [k for k in range(len(heads)) if k != head]
        assert_close(weights[head, others, 0], case["expected"][f"att_head{head}_sample0"])


@pytest.mark.parametrize("case", MASKS)
def test_mask_module(case):
    inputs, expected = case["inputs"], case["expected"]
    module = MaskedGenerator(2).double()
    names = ("conv1_weight", "conv1_bias", "conv2_weight", "conv2_bias")
    with torch.no_grad():
        for name, parameter in zip(names, module.parameters(), strict=True):
            parameter.copy_(tensor(inputs[name]))
        kept = visible(tensor(inputs["u"]), case["knobs"]["mask_ratio"])
        out = module(tensor(inputs["x"]), kept)
    for sample in (0, 1):
        assert kept[sample].sum() == expected[f"kept_sample{sample}"]
    assert_close(out[0, 0, 0, 0], expected["out_0000"])
    assert_close(out[1, 1, 2, 2], expected["out_1122"])
    assert_close(out.sum(), expected["out_sum"])
    assert_close(out.square().sum(), expected["out_sumsq"])


def test_infinite_weighting_temperature_is_uniform():
    weights = teacher_weights(torch.tensor([[0.1], [2.0], [5.0]]), math.inf)
    assert weights[0, 1:, 0].tolist() == [0.5, 0.5]

"""Cross-entropy, KL and label smoothing against golden values."""

import pytest
import torch
from torch.nn import functional as F

from autosd.strategies.label_smoothing import LabelSmoothing
from autosd.strategies.losses import kd
from autosd.strategies.strategy import Targets

from .golden import assert_close, assert_fingerprint, cases, tensor
from .synthetic import TinyStudent, batch_of, clock, run_spec, take_step


@pytest.mark.parametrize("case", cases("masd_rskd_toast_dlb.json", "common"))
def test_cross_entropy_and_kl(case):
    logits, teacher = tensor(case["inputs"]["z"]), tensor(case["inputs"]["t"])
    expected = case["expected"]
    targets = Targets(torch.tensor(case["inputs"]["labels"]))
    assert_close(targets.cross_entropy(logits).mean(), expected["ce"])
    for temperature in case["knobs"]["T"]:
        assert_close(kd(teacher, logits, temperature), expected[f"kl_T{temperature}"])
    assert kd(logits, logits, 3.0) == expected["self_kl"]


def smoothed_step(logits, labels, smoothing):
    classes = logits.shape[1]
    strategy = LabelSmoothing(
        LabelSmoothing.Knobs(smoothing=smoothing), TinyStudent(), run_spec(classes, labels, 4)
    )
    return take_step([strategy], batch_of(labels), clock(), lambda batch: logits.clone())


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", cases("label_smoothing.json", "label_smoothing"))
def test_label_smoothing(case):
    logits, labels = tensor(case["inputs"]["logits"]), case["inputs"]["labels"]
    expected, smoothing = case["expected"], case["knobs"]["eps"]
    assert_close(F.cross_entropy(logits, torch.tensor(labels)), expected["ce"])
    taken = smoothed_step(logits, labels, smoothing)
    assert_close(taken.total, expected["loss"])
    assert_fingerprint(taken.logits.grad, expected, "grad_logits_")


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", cases("label_smoothing.json", "label_smoothing"))
def test_smoothing_of_wrong_classes_only_is_another_share(case):
    logits, labels = tensor(case["inputs"]["logits"]), case["inputs"]["labels"]
    classes, smoothing = logits.shape[1], case["knobs"]["eps"]
    share = smoothing * classes / (classes - 1)
    if share <= 1:
        taken = smoothed_step(logits, labels, share)
        assert_close(taken.total, case["expected"]["loss_wrong_classes_only_variant"])


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", cases("lightskd_ipasd_ps_kd.json", "label_smoothing"))
def test_both_conventions_of_label_smoothing(case):
    inputs, expected, smoothing = case["inputs"], case["expected"], case["knobs"]["eps"]
    logits = tensor(inputs["logits"], (inputs["B"], inputs["K"]))
    other = smoothing * inputs["K"] / (inputs["K"] - 1)
    assert_close(smoothed_step(logits, inputs["labels"], 0).total, expected["ce"])
    found = smoothed_step(logits, inputs["labels"], smoothing).total
    assert_close(found, expected["uniform_over_all"])
    found = smoothed_step(logits, inputs["labels"], other).total
    assert_close(found, expected["eps_over_wrong_only"])
    assert_close(found, expected["uniform_with_eps_K_over_Kminus1"])

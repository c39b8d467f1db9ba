"""DRG, DSR and both together against golden values."""

import pytest
import torch
from torch import nn

from autosd.models.build import build_student
from autosd.recipe import ModelSpec
from autosd.strategies.drg import Drg, GuidanceHead, guidance_terms
from autosd.strategies.dsr import Dsr, ranked
from autosd.strategies.losses import kd
from autosd.strategies.strategy import Targets

from .golden import assert_close, assert_fingerprint, cases, rows, tensor
from .synthetic import Fixed, TinyStudent, batch_of, clock, run_spec, take_step

FILE = "lightskd_ipasd_ps_kd.json"


@pytest.mark.parametrize("case", cases(FILE, "drg"))
def test_drg_losses_and_gradients(case):
    inputs, expected = case["inputs"], case["expected"]
    shape = (inputs["B"], inputs["K"])
    logits = tensor(inputs["deep_logits"], shape).requires_grad_()
    guide = tensor(inputs["aux_logits"], shape).requires_grad_()
    targets = Targets(torch.tensor(inputs["labels"]))
    own = case["knobs"]
    knobs = Drg.Knobs(alpha=own["alpha"], temperature=own["T"], aux_ce=own["aux_ce"])
    supervised = targets.cross_entropy(logits).mean()
    terms = guidance_terms(guide, logits, targets, knobs)
    assert_close(supervised, expected["ce_deep"])
    assert_close(targets.cross_entropy(guide).mean(), expected["ce_aux"])
    assert_close(kd(guide, logits, own["T"]), expected["kl_T2"])
    total = supervised + sum(terms.values())
    assert_close(total, expected["total"])
    total.backward()
    assert_fingerprint(logits.grad, expected, "grad_deep_")
    if own["aux_ce"] > 0:
        assert_fingerprint(guide.grad, expected, "grad_aux_")
    else:
        assert guide.grad is None


def test_drg_without_weights_adds_nothing():
    knobs = Drg.Knobs(alpha=0, aux_ce=0)
    assert (
        guidance_terms(torch.zeros(1, 2), torch.zeros(1, 2), Targets(torch.tensor([0])), knobs)
        == {}
    )


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", cases(FILE, "dsr"))
def test_dsr_batch_by_batch(case):
    inputs, knobs = case["inputs"], case["knobs"]
    sizes, classes = inputs["batch_sizes"], inputs["K"]
    own = Dsr.Knobs(weight=knobs["beta"], temperature=knobs["T"])
    strategy = Dsr(own, TinyStudent(), run_spec(classes, inputs["labels"][0], max(sizes)))
    for b, (size, labels, expected) in enumerate(
        zip(sizes, inputs["labels"], case["expected"]["batches"], strict=True)
    ):
        if b in inputs["epoch_start_at_batches"]:
            strategy.start_epoch(TinyStudent(), clock())
        logits = rows(inputs["logits"], range(size), classes, b=b)
        taken = take_step([strategy], batch_of(labels), clock(), lambda _, z=logits: z.clone())
        shape = taken.terms.get("dsr/shape", torch.zeros(()))
        assert_close(taken.terms["supervised"], expected["ce"])
        assert_close(shape, expected["dsr_T2"])
        assert_close(taken.total, expected["total"])
        assert_fingerprint(taken.logits.grad, expected, "grad_")
        if "sorted_row0" in expected:
            assert_close(ranked(logits)[0], expected["sorted_row0"])


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", cases(FILE, "lightskd"))
def test_drg_and_dsr_together(case):
    inputs, knobs = case["inputs"], case["knobs"]
    run = run_spec(inputs["K"], inputs["labels"][0], inputs["B"])
    student = TinyStudent(classes=inputs["K"])
    drg = Drg(Drg.Knobs(alpha=knobs["alpha"], temperature=knobs["T"]), student, run)
    dsr = Dsr(Dsr.Knobs(weight=knobs["beta"], temperature=knobs["T"]), student, run)
    for b, expected in enumerate(case["expected"]["batches"]):
        logits = rows(inputs["deep_logits"], range(inputs["B"]), inputs["K"], b=b)
        guide = rows(inputs["aux_logits"], range(inputs["B"]), inputs["K"], b=b)
        drg.head = Fixed(guide)
        batch = batch_of(inputs["labels"][b])
        taken = take_step([drg, dsr], batch, clock(step=b), lambda _, z=logits: z.clone())
        assert_close(taken.terms["supervised"], expected["ce_deep"])
        assert_close(taken.terms["drg/head"], expected["ce_aux"])
        assert_close(taken.terms["drg/guidance"], knobs["alpha"] * expected["kl_T2"])
        shape = taken.terms.get("dsr/shape", torch.zeros(()))
        assert_close(shape, knobs["beta"] * expected["dsr_T2"])
        assert_close(taken.total, expected["total"])
        assert_fingerprint(taken.logits.grad, expected, "grad_deep_")


HEADS = [case for case in cases(FILE, "drg_aux_head") if "parameter" not in case.id]


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", HEADS)
def test_guidance_head(case):
    inputs = case["inputs"]
    head = GuidanceHead(inputs["channels"], inputs["K"])
    convolutions = [module for module in head.modules() if isinstance(module, nn.Conv2d)]
    with torch.no_grad():
        for n, layer in enumerate(convolutions):
            layer.weight.copy_(tensor(inputs["conv_weight"], layer.weight.shape, "ocuv", n=n))
        head.classifier.weight.copy_(
            tensor(inputs["fc_weight"], head.classifier.weight.shape, "oc")
        )
        head.classifier.bias.copy_(tensor(inputs["fc_bias"], head.classifier.bias.shape, "o"))
        shape = (inputs["B"], inputs["channels"][0], inputs["H"], inputs["W"])
        logits = head(tensor(inputs["x"], shape, "bcpq"))
    assert_close(logits, case["expected"]["logits"])


COUNTS = [case for case in cases(FILE, "drg_aux_head") if "parameter" in case.id]


@pytest.mark.parametrize("case", COUNTS)
@pytest.mark.parametrize("model", ["resnet18", "resnet50"])
def test_guidance_head_size(case, model):
    classes = case["knobs"]["K"]
    student = build_student(ModelSpec(name=model), classes, (3, 32, 32), seed=0)
    widths = [stage.channels for stage in student.spec.stages]
    for tap in (1, 2, 3):
        head = GuidanceHead(widths[tap - 1 :], classes)
        count = sum(parameter.numel() for parameter in head.parameters())
        assert count == case["expected"][model][f"tap{tap}"]

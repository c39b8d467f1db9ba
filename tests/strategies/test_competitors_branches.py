"""BYOT, DKS, FRSKD, MixSKD and MGD's module: golden values, limits, what gradients may not do."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from autosd.models.build import build_student
from autosd.models.student import Activations
from autosd.recipe import ModelSpec
from autosd.strategies.byot import Byot
from autosd.strategies.dks import Dks, synergy
from autosd.strategies.frskd import Frskd, attention, attention_distance
from autosd.strategies.losses import kd
from autosd.strategies.masd import MaskedGenerator, mutual_loss, visible
from autosd.strategies.mixing import blend_rows, mix_of
from autosd.strategies.mixskd import Ensemble, Mixskd, mixture_distillation, telling_apart
from autosd.strategies.pyramid import Pyramid, shrink
from autosd.strategies.strategy import Targets

from .golden import FOLDER, assert_close, assert_fingerprint, assert_gradient, cases, tensor
from .synthetic import Pair, TinyStudent, batch_of, clock, losses_of, run_spec, total_of

FILE = "controls_and_competitors.json"
OTHERS = "tf_kd_byot_dks_mgd.json"


def built(strategy, labels, classes, **knobs):
    spec = run_spec(classes, labels, len(labels))
    return strategy(strategy.Knobs(**knobs), TinyStudent(classes), spec)


def leaves(formulas):
    return [tensor(formula).requires_grad_() for formula in formulas]


def terms_of(strategy, logits, labels, embedding=None, taps=3):
    """Terms of a step with given logits, and the supervised one."""
    embedding = torch.zeros(len(logits), 1) if embedding is None else embedding
    maps = (torch.zeros(len(logits), 1, 1, 1),) * taps
    return losses_of(strategy, Activations(logits, maps, embedding), labels)


# BYOT


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", cases(OTHERS, "byot"))
def test_byot(case):
    inputs, knobs, expected = case["inputs"], case["knobs"], case["expected"]
    deep, *logits = leaves(inputs["logits"].values())
    deepest, *features = leaves(inputs["features"].values())
    names = {"temperature": "T", "kd_weight": "alpha", "feature_weight": "feature_weight"}
    chosen = {name: knobs[symbol] for name, symbol in names.items()}
    strategy = built(Byot, [0, 1], deep.shape[1], **chosen)
    strategy.taps = list(range(len(logits)))
    strategy.heads = torch.nn.ModuleList(map(Pair, logits, features))
    terms = terms_of(strategy, deep, inputs["labels"], deepest)
    assert_close(terms.get("byot/teacher", 0.0 * deep.sum()), expected["loss_kd"])
    assert_close(terms.get("byot/hint", 0.0 * deep.sum()), expected["loss_hint"])
    shallow = terms.get("byot/shallow", 0.0 * deep.sum())
    assert_close(terms["supervised"] + shallow, expected["loss_cls"])
    assert_close(total_of(terms), expected["total"])
    total_of(terms).backward()
    assert_gradient(logits[0].grad[0, 0], expected["grad_z1_00"])
    assert_gradient(deep.grad.norm(), expected["grad_z0_norm"])
    hinted = torch.zeros(()).double() if features[0].grad is None else features[0].grad[0, 0]
    assert_gradient(hinted, expected["grad_f1_00"])
    assert deepest.grad is None
    assert expected["grad_f0_norm"] == 0


@pytest.mark.parametrize("model", ["resnet8", "resnet18", "mobilenetv2"])
def test_byot_takes_as_many_stages_as_there_are(model):
    student = build_student(ModelSpec(name=model), 5, (3, 16, 16), 0)
    strategy = Byot(Byot.Knobs(), student, run_spec(5, [0, 1], 2, side=16))
    assert len(strategy.heads) == min(3, len(student.spec.stages) - 1)
    with torch.no_grad():
        activations = student.activations(torch.randn(2, 3, 16, 16))
    for tap, head in zip(strategy.taps, strategy.heads, strict=True):
        logits, features = head(activations.taps[tap])
        assert logits.shape == (2, 5)
        assert features.shape == activations.embedding.shape


# DKS


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", cases(OTHERS, "dks"))
def test_dks(case):
    inputs, knobs, expected = case["inputs"], case["knobs"], case["expected"]
    heads, labels = leaves(inputs["logits"].values()), torch.tensor(inputs["labels"])
    supervised = sum(Targets(labels).cross_entropy(head).mean() for head in heads)
    mutual = knobs["weight"] * synergy(heads, knobs["T"])
    assert_close(supervised, expected["loss_cls"])
    assert_close(mutual, expected["loss_div"])
    (supervised + mutual).backward()
    assert_close(supervised + mutual, expected["total"])
    assert_gradient(heads[0].grad[0, 0], expected["grad_z0_00"])
    assert_gradient(torch.stack([head.grad for head in heads]).norm(), expected["grad_norm"])
    if "loss_div_official_eps1e-8" in expected:
        assert_close(official_synergy(heads, 1e-8), expected["loss_div_official_eps1e-8"])


def official_synergy(heads, eps):
    """As the authors compute it at temperature 1, both sides smoothed."""
    smooth = [(head.softmax(1) + eps) / (1 + head.shape[1] * eps) for head in heads]
    return sum(
        (teacher * (teacher / student).log()).sum(1).mean()
        for i, student in enumerate(smooth)
        for k, teacher in enumerate(smooth)
        if i != k
    )


@pytest.mark.usefixtures("double")
def test_dks_adds_its_heads_to_the_final_one():
    case = cases(OTHERS, "dks")[0].values[0]
    final, *heads = leaves(case["inputs"]["logits"].values())
    strategy = built(Dks, [0, 1], final.shape[1], temperature=case["knobs"]["T"])
    strategy.branches = torch.nn.ModuleList(Pair(head, head) for head in heads)
    terms = terms_of(strategy, final, case["inputs"]["labels"])
    assert_close(total_of(terms), case["expected"]["total"])


@pytest.mark.parametrize("heads", [2, 3, 4])
def test_masd_without_mask_weights_and_gradients_of_teachers_is_dks(heads):
    logits = torch.randn(heads, 5, 4, dtype=torch.float64, requires_grad=True)
    losses = torch.stack([F.cross_entropy(head, torch.tensor([0, 1, 2, 3, 0])) for head in logits])
    losses = losses[:, None].expand(-1, 5)
    beta, teachers = 1.5, heads - 1
    masd = mutual_loss(logits, losses, beta, 4.0, math.inf, detach_targets=True)
    dks = beta / teachers**2 * synergy(list(logits), 4.0)
    assert_close(masd, dks.item())
    ours, theirs = (torch.autograd.grad(loss, logits)[0] for loss in (masd, dks))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


# MGD


def mask_module_case():
    found = json.loads((FOLDER / "masd_rskd_toast_dlb.json").read_text())
    return next(case for case in found if "mask module" in case["case"])["inputs"]


@pytest.mark.parametrize("case", cases(OTHERS, "mgd"))
def test_the_generator_of_masd_gives_the_loss_of_mgd(case):
    inputs, module = mask_module_case(), MaskedGenerator(2).double()
    names = ("conv1_weight", "conv1_bias", "conv2_weight", "conv2_bias")
    with torch.no_grad():
        for name, parameter in zip(names, module.parameters(), strict=True):
            parameter.copy_(tensor(inputs[name]))
        kept = visible(tensor(inputs["u"]), case["knobs"]["mask_ratio"])
        gap = module(tensor(inputs["x"]), kept) - tensor(case["inputs"]["teacher"])
    loss = case["knobs"]["alpha"] * gap.square().sum() / len(gap)
    assert_close(loss, case["expected"]["loss"])


# FRSKD


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", cases(FILE, "frskd"))
def test_frskd(case):
    """Attention squares its maps, so the golden values hold for maps without negative parts."""
    inputs, knobs, expected = case["inputs"], case["knobs"], case["expected"]
    student, teacher = leaves([inputs["student_logits"], inputs["teacher_logits"]])
    own, refined = leaves(inputs["student_maps"]), leaves(inputs["teacher_maps"])
    chosen = {"kd_weight": knobs["alpha"], "feature_weight": knobs["beta"]}
    strategy = built(Frskd, [0, 1], student.shape[1], temperature=knobs["T"], **chosen)
    strategy.pyramid = Pair(teacher, refined)
    activations = Activations(student, tuple(tap.abs() for tap in own), torch.zeros(1))
    terms = losses_of(strategy, activations, inputs["labels"])
    assert_close(terms["supervised"], expected["ce_student"])
    assert_close(terms["frskd/teacher"], expected["ce_teacher"])
    assert_close(terms["frskd/logits"], knobs["alpha"] * expected["kl"])
    assert_close(attention_distance(own, refined), expected["attention"])
    if knobs["beta"] > 0:
        assert_close(terms["frskd/attention"], knobs["beta"] * expected["attention"])
    total = total_of(terms)
    total.backward()
    assert_close(total, expected["total"])
    assert_fingerprint(student.grad, expected, "grad_student_logits_")
    assert_fingerprint(teacher.grad, expected, "grad_teacher_logits_")
    if "grad_student_map0_0000" in expected:
        assert_gradient(own[0].grad[0, 0, 0, 0], expected["grad_student_map0_0000"])
        assert refined[0].grad is None
        assert expected["grad_teacher_map0"] == 0


def test_the_terms_of_frskd_are_weighted_and_take_negative_parts_away():
    maps = torch.randn(2, 3, 4, 4)
    strategy = built(Frskd, [0, 1], 3)
    strategy.pyramid = Pair(torch.randn(2, 3), [maps.relu()] * 3)
    targets, logits = Targets(torch.tensor([0, 1])), torch.randn(2, 3)
    activations = Activations(logits, (maps,) * 3, torch.zeros(2, 1))
    terms = strategy.losses(activations, targets, batch_of([0, 1]), TinyStudent(), clock())
    assert terms["frskd/attention"] == 0
    teacher = strategy.pyramid(maps)[0]
    torch.testing.assert_close(terms["frskd/logits"], 2.0 * kd(teacher, logits, 4.0))
    torch.testing.assert_close(terms["frskd/teacher"], targets.cross_entropy(teacher).mean())


def test_the_pyramid_has_the_published_size():
    pyramid = Pyramid([64, 128, 256, 512], 100)
    assert sum(p.numel() for p in pyramid.parameters()) == pytest.approx(6.38e6, rel=2e-3)


@pytest.mark.parametrize("sides", [(8, 4, 2), (7, 4, 2), (5, 5, 3), (9, 3, 1), (4, 4, 4)])
def test_the_pyramid_takes_maps_of_any_size(sides):
    channels = (3, 4, 5)
    taps = [torch.randn(2, c, side, side) for c, side in zip(channels, sides, strict=True)]
    logits, maps = Pyramid(channels, 7)(*taps)
    assert logits.shape == (2, 7)
    for tap, refined, width in zip(taps, maps, channels, strict=True):
        assert refined.shape == (2, 2 * width, *tap.shape[2:])
        assert (refined >= 0).all()


def test_maps_shrink_by_the_published_pooling_where_they_halve():
    features = torch.randn(1, 2, 8, 8)
    halved = shrink(features, torch.empty(1, 9, 4, 4))
    assert torch.equal(halved, F.max_pool2d(features, 3, 2, 1))
    assert shrink(features, torch.empty(1, 9, 3, 3)).shape[2:] == (3, 3)


def test_attention_ignores_the_scale_of_a_map():
    features = torch.randn(3, 4, 5, 5, dtype=torch.float64)
    assert_close(attention(7 * features), attention(features))
    assert_close(attention(features).norm(dim=1), [1.0] * 3)


# MixSKD


def mixskd_parts(inputs, knobs):
    """Leaves, and the record of how images were mixed."""
    plain, mixed = leaves(inputs["plain_logits"]), leaves(inputs["mixed_logits"])
    ensembles = leaves([inputs["ensemble_interpolated"], inputs["ensemble_mixed"]])
    return plain, mixed, ensembles, mix_of(torch.tensor(inputs["perm"]), knobs["lam"])


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", cases(FILE, "mixskd"))
def test_mixskd(case):
    inputs, knobs, expected = case["inputs"], case["knobs"], case["expected"]
    plain, mixed, ensembles, mix = mixskd_parts(inputs, knobs)
    targets = Targets(torch.tensor(inputs["labels"]))
    mixtures = targets.softened(blend_rows(targets.dense(plain[0].shape[1]), mix))
    supervised = sum(targets.cross_entropy(head).mean() for head in plain)
    of_mixtures = sum(mixtures.cross_entropy(head).mean() for head in [*mixed, *ensembles])
    blended = [blend_rows(head, mix) for head in plain]
    mutual = mixture_distillation(blended, mixed, tuple(ensembles), knobs["T"])
    assert_close(supervised, expected["l_cls"])
    assert_close(of_mixtures, expected["l_mixcls"])
    assert_close(mutual, expected["l_div"])
    total = supervised + of_mixtures + mutual
    total.backward()
    assert_close(total, expected["total_logit_part"])
    for name, leaf in {
        "plain_final": plain[-1],
        "mixed_final": mixed[-1],
        "ensemble_interp": ensembles[0],
    }.items():
        assert_fingerprint(leaf.grad, expected, f"grad_{name}_")


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", cases(FILE, "mixskd"))
def test_mixskd_on_maps_and_discriminators(case):
    inputs, expected = case["inputs"], case["expected"]
    mix = mix_of(torch.tensor(inputs["perm"]), case["knobs"]["lam"])
    blended, mixed = blend_rows(tensor(inputs["plain_map"]), mix), tensor(inputs["mixed_map"])
    assert_close(F.mse_loss(blended, mixed), expected["l_fea_one_stage"])
    outputs = tensor(inputs["disc_out_interpolated"]), tensor(inputs["disc_out_mixed"])
    assert_close(telling_apart(*outputs), expected["disc_bce_one_stage"])


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", cases(FILE, "mixskd"))
def test_mixskd_as_a_strategy_adds_up_to_the_golden_total(case):
    inputs, knobs = case["inputs"], case["knobs"]
    plain, mixed, ensembles, _ = mixskd_parts(inputs, knobs)
    heads = [torch.cat(halves) for halves in zip(plain, mixed, strict=True)]
    classes, rows, labels = heads[0].shape[1], len(plain[0]), inputs["labels"]
    strategy = built(Mixskd, labels, classes, temperature=knobs["T"], feature_weight=0)
    maps = torch.zeros(2 * rows, 8, 2, 2)
    strategy.taps = list(range(len(heads) - 1))
    strategy.branches = torch.nn.ModuleList(Pair(head, maps) for head in heads[:-1])
    strategy.ensemble = InTurn(*ensembles)
    now = clock()
    batch = strategy.prepare(batch_of(labels), now)
    perm = torch.cat([torch.arange(rows), rows + torch.tensor(inputs["perm"])])
    batch = replace(batch, mix=mix_of(perm, knobs["lam"]))
    targets = strategy.targets(Targets(batch.labels), batch, now)
    activations = Activations(heads[-1], (maps,) * len(heads), torch.zeros(2 * rows, 8))
    terms = {"supervised": targets.cross_entropy(heads[-1]).mean()}
    terms |= strategy.losses(activations, targets, batch, TinyStudent(classes), now)
    assert_close(total_of(terms), case["expected"]["total_logit_part"])


class InTurn(torch.nn.Module):
    """Gives the first tensor, then the second."""

    def __init__(self, *values):
        super().__init__()
        self.values = iter(values)

    def forward(self, *_):
        return next(self.values)


def test_mixskd_appends_mixtures_of_the_very_views():
    labels = [0, 1, 2, 0]
    batch = batch_of(labels)
    for row in range(4):
        batch.images[row] = row
    mixed = built(Mixskd, labels, 3).prepare(batch, clock())
    assert mixed.fresh == 4
    assert torch.equal(mixed.images[:4], batch.images)
    assert mixed.labels.tolist() == labels * 2
    rows = torch.arange(4.0).repeat(2)
    wanted = mixed.mix.lam * rows + (1 - mixed.mix.lam) * rows[mixed.mix.perm]
    torch.testing.assert_close(mixed.images.mean((1, 2, 3)), wanted.float())
    assert torch.equal(mixed.mix.perm[:4], torch.arange(4))


def test_pooling_before_the_ensemble_is_pooling_after_it():
    ensemble = Ensemble(3, 4, 5).double()
    maps = [torch.randn(2, 4, 3, 3, dtype=torch.float64) for _ in range(3)]
    kernel = ensemble.reduce.weight[:, :, None, None]
    late = ensemble.classifier(F.conv2d(torch.cat(maps, 1), kernel).mean((2, 3)))
    torch.testing.assert_close(ensemble(*(m.mean((2, 3)) for m in maps)), late)


def test_discriminators_turn_the_gradient_of_maps_and_learn_themselves():
    labels, student = [0, 1, 2, 0], TinyStudent(3)
    spec = run_spec(3, labels, 4)
    strategy = Mixskd(Mixskd.Knobs(adversarial_weight=1.0), student, spec)
    now = clock()
    batch = strategy.prepare(batch_of(labels), now)
    images = torch.randn(8, 1, 8, 8)
    activations = student.activations(images)
    targets = strategy.targets(Targets(batch.labels), batch, now)
    terms = strategy.losses(activations, targets, batch, student, now)
    parameter = strategy.judges[-1][0].weight
    tap = activations.taps[-1]
    turned, learns = torch.autograd.grad(
        terms["mixskd/adversarial"], [tap, parameter], retain_graph=True
    )
    pooled = tap.mean((2, 3)).detach().requires_grad_()
    own = mix_of(batch.mix.perm[4:] - 4, batch.mix.lam.item())
    judge = strategy.judges[-1]
    straight = telling_apart(judge(blend_rows(pooled[:4], own)), judge(pooled[4:]))
    (towards,) = torch.autograd.grad(straight, pooled)
    torch.testing.assert_close(turned.sum((2, 3)), -towards)
    assert learns.abs().sum() > 0

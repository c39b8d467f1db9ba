"""TF-KD, NKD, USKD, Zipf and SD-Dropout: golden values and properties."""

import math

import pytest
import torch
from torch.nn import functional as F

from autosd.models.build import build_student
from autosd.models.student import Activations
from autosd.recipe import ModelSpec
from autosd.strategies.losses import mutual_kd
from autosd.strategies.nontarget import nkd, nontarget_loss, target_loss, without_true
from autosd.strategies.sd_dropout import SdDropout, dropped
from autosd.strategies.strategy import Targets
from autosd.strategies.tf_kd import TfKd, virtual_teacher
from autosd.strategies.uskd import Uskd, ranked_targets, sureness
from autosd.strategies.zipf import Zipf, dense_votes, ranks, zipf_divergence, zipf_targets

from .golden import assert_close, assert_fingerprint, assert_gradient, cases, tensor
from .synthetic import (
    Fixed,
    TinyStudent,
    batch_of,
    clock,
    losses_of,
    run_spec,
    take_step,
    total_of,
)

FILE = "controls_and_competitors.json"
TF_KD = cases("tf_kd_byot_dks_mgd.json", "tfkd_reg")
BATCH_MEAN = [case for case in TF_KD if case.values[0]["knobs"]["reduction"] == "batchmean"]


def built(strategy, labels, classes, **knobs):
    spec = run_spec(classes, labels, len(labels))
    return strategy(strategy.Knobs(**knobs), TinyStudent(classes), spec)


def constant_entropy(rows):
    return -torch.special.xlogy(rows, rows).sum(1).mean()


def tf_kd_step(case):
    inputs, knobs = case["inputs"], case["knobs"]
    logits, labels = tensor(inputs["logits"], (inputs["B"], inputs["K"])), inputs["labels"]
    names = {"kd_weight": knobs["alpha"], "softening": knobs["tau"], "correct": knobs["a"]}
    strategy = built(TfKd, labels, inputs["K"], **names)
    taken = take_step([strategy], batch_of(labels), clock(), lambda batch: logits.clone())
    teacher = virtual_teacher(torch.tensor(labels), inputs["K"], knobs["tau"], knobs["a"])
    return taken, teacher, F.cross_entropy(logits, torch.tensor(labels), reduction="none").mean()


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", BATCH_MEAN)
def test_tf_kd_differs_from_its_target_by_a_constant(case):
    taken, teacher, plain = tf_kd_step(case)
    expected, alpha = case["expected"], case["knobs"]["alpha"]
    assert_close(taken.total - alpha * constant_entropy(teacher), expected["total"])
    assert_fingerprint(taken.logits.grad, expected, "grad_")
    assert_close(plain, expected["ce"])
    if alpha == 0:
        assert torch.equal(taken.total.detach(), plain)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", TF_KD)
def test_tf_kd_with_the_multipliers_of_the_authors(case):
    inputs, knobs, expected = case["inputs"], case["knobs"], case["expected"]
    logits = tensor(inputs["logits"], (inputs["B"], inputs["K"])).requires_grad_()
    labels = torch.tensor(inputs["labels"])
    teacher = virtual_teacher(labels, inputs["K"], knobs["tau"], knobs["a"])
    assert_close(teacher[0, labels[0]], expected["target_correct"])
    assert_close(without_true(teacher, labels)[0, 0], expected["target_wrong"])
    share = inputs["K"] if knobs["reduction"] == "mean" else 1
    soft = Targets(labels).softened(teacher).cross_entropy(logits).mean()
    kl = knobs["multiplier"] / share * (soft - constant_entropy(teacher))
    total = (1 - knobs["alpha"]) * F.cross_entropy(logits, labels) + knobs["alpha"] * kl
    total.backward()
    assert_close(kl, expected["kl"])
    assert_close(total, expected["total"])
    assert_fingerprint(logits.grad, expected, "grad_")


@pytest.mark.parametrize("case", cases(FILE, "nkd"))
def test_nkd(case):
    inputs, knobs, expected = case["inputs"], case["knobs"], case["expected"]
    teacher, labels = tensor(inputs["teacher_logits"]), torch.tensor(inputs["labels"])
    student = tensor(inputs["student_logits"]).requires_grad_()
    assert_close(target_loss(teacher, student, labels), expected["l_target"])
    assert_close(nontarget_loss(teacher, student, labels, knobs["T"]), expected["l_nontarget_T2"])
    loss = nkd(teacher, student, labels, knobs["gamma"], knobs["T"])
    loss.backward()
    assert_close(loss, expected["nkd"])
    assert_fingerprint(student.grad, expected, "grad_student_")


def uskd_step(logits, weak, labels, **knobs):
    """Terms of USKD where its weak head gives `weak`; logits are leaves."""
    strategy = built(Uskd, labels, logits.shape[1], **knobs)
    strategy.head = Fixed(weak)
    taps = (torch.zeros(len(labels), 1, 1, 1),) * 3
    activations = Activations(logits, taps, torch.zeros(len(labels), 1))
    targets = Targets(torch.tensor(labels))
    terms = strategy.losses(activations, targets, batch_of(labels), TinyStudent(), clock())
    return {"supervised": targets.cross_entropy(logits).mean(), **terms}


def gradient(leaf):
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", cases(FILE, "uskd"))
def test_uskd(case):
    inputs, knobs, expected = case["inputs"], case["knobs"], case["expected"]
    logits = tensor(inputs["logits"]).requires_grad_()
    weak = tensor(inputs["weak_logits"]).requires_grad_()
    weights = {"target_weight": "alpha", "nontarget_weight": "beta", "weak_weight": "mu"}
    chosen = {name: knobs[symbol] for name, symbol in weights.items()}
    unit = uskd_step(logits, weak, inputs["labels"], rank=knobs["rank"], **dict.fromkeys(chosen, 1))
    assert_close(unit["uskd/target"], expected["l_target"])
    assert_close(unit["uskd/nontarget"], expected["l_nontarget"])
    assert_close(knobs["mu"] * unit["uskd/weak"], expected["l_weak_times_mu"])
    assert_close(unit["supervised"], expected["ce"])
    labels = torch.tensor(inputs["labels"])
    assert_close(sureness(logits, labels), expected["soft_target"])
    ranked = ranked_targets(logits, weak, labels, knobs["rank"])
    assert_close(ranked[0], expected["soft_nontarget_row0"])
    total = sum(uskd_step(logits, weak, inputs["labels"], rank=knobs["rank"], **chosen).values())
    total.backward()
    assert_close(total, expected["total"])
    assert_fingerprint(logits.grad, expected, "grad_logits_")
    assert_fingerprint(gradient(weak), expected, "grad_weak_")


def votes_of(case):
    inputs = case["inputs"]
    rows, classes = inputs["logits"]["shape"]
    if not isinstance(inputs["votes"], dict):
        own = "themselves" in inputs["votes"]
        return tensor(inputs["logits"]) if own else torch.zeros(rows, classes).double()
    votes = torch.zeros(rows, classes, dtype=torch.float64)
    for row in range(rows):
        for n in range(inputs["votes"]["N"]):
            votes[row, (n * n + row) % classes] += 1
    return votes


@pytest.mark.parametrize("case", cases(FILE, "zipf_ls"))
def test_zipf(case):
    inputs, knobs, expected = case["inputs"], case["knobs"], case["expected"]
    logits, labels = tensor(inputs["logits"]).requires_grad_(), torch.tensor(inputs["labels"])
    votes, power = votes_of(case), knobs["power"]
    assert_close(zipf_targets(votes, labels, power)[0], expected["target_row0"])
    assert ranks(votes)[0].tolist() == expected["ranks_row0"]
    divergence = zipf_divergence(logits, votes, labels, power)
    assert_close(divergence, expected["zipf_kl"])
    plain = Targets(labels).cross_entropy(logits).mean()
    total = plain + knobs["lambda"] * divergence
    total.backward()
    assert_close(plain, expected["ce"])
    assert_close(total, expected["total"])
    assert_fingerprint(logits.grad, expected, "grad_logits_")


class Voting(TinyStudent):
    """Each position of its last map is sure of a class."""

    def __init__(self, winners, classes):
        super().__init__(classes)
        self.sure = F.one_hot(winners, classes).movedim(-1, 1).double()

    def last_map_logits(self, tap):
        return self.sure


def winners_of(case):
    """The class of each position: `[B, N, 1]`."""
    rows, classes = case["inputs"]["logits"]["shape"]
    place = torch.arange(case["inputs"]["votes"]["N"])
    return ((place**2 + torch.arange(rows)[:, None]) % classes)[:, :, None]


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", [c for c in cases(FILE, "zipf_ls") if "no_votes" not in c.id])
def test_zipf_as_a_strategy_ranks_by_votes_or_by_its_logits(case):
    inputs, expected, labels = case["inputs"], case["expected"], case["inputs"]["labels"]
    logits, knobs = tensor(inputs["logits"]), case["knobs"]
    dense, classes = isinstance(inputs["votes"], dict), logits.shape[1]
    chosen = {"kd_weight": knobs["lambda"], "power": knobs["power"], "upsample": 1}
    strategy = built(Zipf, labels, classes, source="dense" if dense else "logits", **chosen)
    student = Voting(winners_of(case), classes) if dense else TinyStudent(classes)
    taken = take_step(
        [strategy], batch_of(labels), clock(), lambda batch: logits.clone(), student=student
    )
    assert_close(taken.total, expected["total"])
    if knobs["lambda"] > 0:
        assert_close(taken.terms["zipf/nontarget"], knobs["lambda"] * expected["zipf_kl"])
    assert_fingerprint(taken.logits.grad, expected, "grad_logits_")


@pytest.mark.parametrize("upsample", [1, 2])
def test_zipf_enlarges_the_map_as_asked(upsample):
    student = Voting(torch.randint(3, (2, 4, 4)), 3)
    strategy = Zipf(Zipf.Knobs(upsample=upsample), student, run_spec(3, [0, 1], 2))
    activations = Activations(torch.zeros(2, 3), (torch.zeros(2, 8, 4, 4),), torch.zeros(2, 8))
    assert strategy._votes(activations, student).sum(1).tolist() == [16 * upsample**2] * 2


def test_every_position_of_the_enlarged_map_votes_once():
    positions = torch.rand(3, 5, 4, 3, generator=torch.Generator().manual_seed(0))
    for upsample in (1, 2):
        votes = dense_votes(positions, upsample)
        assert votes.sum(1).tolist() == [12 * upsample**2] * 3
    alone = dense_votes(positions, 1)
    counted = F.one_hot(positions.argmax(1).flatten(1), 5).sum(1)
    assert torch.equal(alone.long(), counted)


def test_classifying_before_enlarging_is_enlarging_before_classifying():
    student = build_student(ModelSpec(name="resnet8"), 5, (3, 8, 8), 0)
    tap = torch.rand(2, student.spec.stages[-1].channels, 2, 2)
    early = F.interpolate(student.last_map_logits(tap), scale_factor=2, mode="bilinear")
    late = student.last_map_logits(F.interpolate(tap, scale_factor=2, mode="bilinear"))
    torch.testing.assert_close(early, late)


def test_ranks_share_the_smallest_place_among_ties():
    votes = torch.tensor([[3.0, 0.0, 3.0, 7.0, 0.0, 0.0]])
    by_hand = [[1 + int((votes[0] > vote).sum()) for vote in votes[0]]]
    assert ranks(votes).tolist() == by_hand == [[2, 4, 2, 1, 4, 4]]


class Linear(TinyStudent):
    """Its classifier has given weights."""

    def __init__(self, weight, bias):
        super().__init__(len(weight))
        self.weights = weight, bias

    def classifier(self, embedding):
        return F.linear(embedding, *self.weights)


class Masked(SdDropout):
    """Its two masks are given, in their order."""

    def hide(self, masks):
        self.masks = {f"mask.{n}": mask for n, mask in enumerate(masks, start=1)}
        return self

    def _kept(self, features, purpose, clock):
        return self.masks[purpose]


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", cases(FILE, "sd_dropout"))
def test_sd_dropout(case):
    inputs, knobs, expected = case["inputs"], case["knobs"], case["expected"]
    features = tensor(inputs["features"]).requires_grad_()
    weight = tensor(inputs["weight"]).requires_grad_()
    student = Linear(weight, tensor(inputs["bias"], (weight.shape[0],), "k"))
    masks = [tensor(inputs[mask]).bool() for mask in ("mask1", "mask2")]
    strategy = built(
        Masked,
        inputs["labels"],
        len(weight),
        drop_rate=knobs["p"],
        kd_weight=knobs["lambda"],
        temperature=knobs["T"],
        detach_targets=knobs["detach"],
    ).hide(masks)
    activations = Activations(student.classifier(features), (), features)
    terms = losses_of(strategy, activations, inputs["labels"], student)
    assert_close(terms["supervised"], expected["ce"])
    pulls = expected["kl_2_to_1"] + expected["kl_1_to_2"]
    assert_close(terms["sd_dropout/masks"], knobs["lambda"] * pulls)
    hidden = [student.classifier(dropped(features, mask, knobs["p"])) for mask in masks]
    assert_close(mutual_kd(*hidden, knobs["T"])[0], expected["kl_2_to_1"])
    assert_close(mutual_kd(*hidden, knobs["T"])[1], expected["kl_1_to_2"])
    total_of(terms).backward()
    assert_close(total_of(terms), expected["total"])
    assert_fingerprint(features.grad, expected, "grad_feat_")
    assert_fingerprint(weight.grad, expected, "grad_weight_")


def test_sd_dropout_draws_two_masks_of_the_asked_rate():
    student = build_student(ModelSpec(name="resnet8"), 3, (1, 8, 8), 0)
    strategy = SdDropout(SdDropout.Knobs(drop_rate=0.3), student, run_spec(3, [0, 1], 2))
    ones = torch.ones(400, 100)
    first, second = (strategy._dropped(ones, f"mask.{mask}", clock()) for mask in (1, 2))
    assert (first == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert not torch.equal(first, second)
    assert first.mean().item() == pytest.approx(1, abs=0.01)
    assert torch.equal(first, strategy._dropped(ones, "mask.1", clock()))


def shifted_and_permuted(loss, logits, labels):
    """The loss of shifted rows, and of permuted ones."""
    shift, order = torch.tensor([[3.0], [-7.0], [0.5], [100.0]]).double(), [2, 0, 3, 1]
    return loss(logits + shift, labels), loss(logits[order], labels[order])


@pytest.mark.parametrize(
    "loss",
    [
        lambda z, y: nontarget_loss(z.cos(), z, y, 2.0),
        lambda z, y: -F.log_softmax(z, 1)[torch.arange(4), y].mul(sureness(z, y)).mean(),
    ],
)
def test_losses_do_not_depend_on_the_order_of_rows(loss):
    logits = torch.randn(4, 6, generator=torch.Generator().manual_seed(1)).double()
    labels = torch.tensor([0, 5, 2, 2])
    assert_close(shifted_and_permuted(loss, logits, labels)[1], loss(logits, labels))


@pytest.mark.parametrize("rank", ["code", "prob"])
def test_ranked_targets_ignore_shifts_of_logits(rank):
    logits = torch.randn(4, 6, generator=torch.Generator().manual_seed(1)).double()
    weak, labels = logits.sin() * 2, torch.tensor([0, 5, 2, 2])
    shift = torch.tensor([[3.0], [-7.0], [0.5], [100.0]]).double()
    target = ranked_targets(logits, weak, labels, rank)
    assert_close(ranked_targets(logits + shift, weak - shift, labels, rank), target)
    assert_close(target.sum(1), [1.0] * 4)
    assert not target.requires_grad


def test_two_classes_have_nothing_to_say_about_the_wrong_ones():
    logits, labels = torch.randn(4, 2), torch.tensor([0, 1, 1, 0])
    assert nontarget_loss(logits.sin(), logits, labels, 3.0) == 0
    assert math.isclose(zipf_targets(logits, labels, 1.0).sum().item(), 4.0)


def test_gradient_of_sureness_is_none():
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert not sureness(logits, torch.tensor([0, 1, 2])).requires_grad
    assert_gradient(sureness(logits, torch.tensor([0, 1, 2])).mean(), 1.0)

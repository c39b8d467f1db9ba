"""Confidence penalty, mixup and CutMix: golden values, and what mixing must not do."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autosd.strategies.confidence_penalty import ConfidencePenalty, entropy
from autosd.strategies.cutmix import Cutmix, clipped_box, cut_box, kept_share, paste
from autosd.strategies.mixing import blend, blend_rows, host_generator, mix_of
from autosd.strategies.mixup import Mixup
from autosd.strategies.strategy import Targets

from .golden import assert_close, assert_fingerprint, cases, tensor
from .synthetic import TinyStudent, batch_of, clock, run_spec, take_step

FILE = "controls_and_competitors.json"


def built(strategy, labels, classes=3, **knobs):
    spec = run_spec(classes, labels, len(labels))
    return strategy(strategy.Knobs(**knobs), TinyStudent(classes), spec)


def noise_batch(labels, side=8):
    """A batch of random images, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(len(labels), 1, side, side, generator=generator)
    batch = batch_of(labels, side=side)
    batch.images.copy_(images)
    return batch


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", cases(FILE, "confidence_penalty"))
def test_confidence_penalty(case):
    logits, labels = tensor(case["inputs"]["logits"]), case["inputs"]["labels"]
    expected = case["expected"]
    assert_close(entropy(logits), expected["entropy"])
    strategy = built(ConfidencePenalty, labels, logits.shape[1], weight=case["knobs"]["beta"])
    taken = take_step([strategy], batch_of(labels), clock(), lambda batch: logits.clone())
    assert_close(taken.terms["supervised"], expected["ce"])
    assert_close(taken.total, expected["loss"])
    assert_fingerprint(taken.logits.grad, expected, "grad_logits_")


def test_entropy_is_greatest_and_flat_where_nothing_is_known():
    logits = torch.zeros(2, 7, requires_grad=True)
    entropy(logits).backward()
    assert entropy(logits).item() == pytest.approx(math.log(7))
    assert logits.grad.abs().max() < 1e-7


@pytest.mark.parametrize("case", cases(FILE, "mixup"))
def test_mixup(case):
    inputs, expected, lam = case["inputs"], case["expected"], case["knobs"]["lam"]
    perm, labels = torch.tensor(inputs["perm"]), torch.tensor(inputs["labels"])
    logits = tensor(inputs["logits"]).requires_grad_()
    rows = torch.eye(logits.shape[1], dtype=torch.float64)[labels]
    targets = Targets(labels).softened(blend_rows(rows, mix_of(perm, lam)))
    loss = targets.cross_entropy(logits).mean()
    loss.backward()
    assert_close(loss, expected["loss"])
    assert_fingerprint(logits.grad, expected, "grad_logits_")
    assert_close(blend(tensor(inputs["images"]), perm, lam)[0], expected["mixed_0"])


@pytest.mark.parametrize("case", cases(FILE, "cutmix_box"))
def test_cutmix_box(case):
    inputs, expected = case["inputs"], case["expected"]
    height, width = inputs["H"], inputs["W"]
    lam, centre = case["knobs"]["lam"], (inputs["center_y"], inputs["center_x"])
    box = cut_box(height, width, lam, *centre)
    assert list(box) == expected["y1_y2_x1_x2"]
    assert kept_share(height, width, box) == expected["lam_adjusted"]


@pytest.mark.parametrize("case", cases(FILE, "cutout_box"))
def test_boxes_are_clipped_by_the_one_rule_of_cutout(case):
    inputs, length = case["inputs"], case["knobs"]["length"]
    centre = inputs["center_y"], inputs["center_x"]
    box = clipped_box(inputs["H"], inputs["W"], length, length, *centre)
    assert list(box) == case["expected"]["y1_y2_x1_x2"]


@pytest.mark.parametrize("strategy", [Mixup, Cutmix])
def test_mixing_leaves_its_input_untouched(strategy):
    batch = noise_batch([0, 1, 2, 1, 0])
    before = batch.images.clone()
    mixed = built(strategy, [0, 1, 2, 1, 0]).prepare(batch, clock())
    assert torch.equal(batch.images, before)
    assert not torch.equal(mixed.images, before)
    assert torch.equal(mixed.labels, batch.labels)


@pytest.mark.parametrize("strategy", [Mixup, Cutmix])
def test_mixing_keeps_the_layout(strategy):
    batch = noise_batch([0, 1, 2, 1, 0])
    images = batch.images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
    batch = type(batch)(**{**vars(batch), "images": images})
    mixed = built(strategy, [0, 1, 2, 1, 0]).prepare(batch, clock())
    assert mixed.images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("strategy", [Mixup, Cutmix])
def test_mixing_follows_from_seed_and_step(strategy):
    mixer, batch = built(strategy, [0, 1, 2, 1, 0]), noise_batch([0, 1, 2, 1, 0])
    first, again = mixer.prepare(batch, clock()), mixer.prepare(batch, clock())
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, mixer.prepare(batch, clock(step=1)).images)


@pytest.mark.parametrize("strategy", [Mixup, Cutmix])
@pytest.mark.parametrize("step", range(5))
def test_targets_are_mixed_like_the_pixels(strategy, step):
    labels = [0, 1, 2, 1, 0]
    mixer, batch, now = built(strategy, labels), batch_of(labels), clock(step=step)
    for row in range(5):
        batch.images[row] = row
    mixed = mixer.prepare(batch, now)
    targets = mixer.targets(Targets(batch.labels), mixed, now)
    means = mixed.images.mean((1, 2, 3))
    rows = torch.arange(5.0)
    torch.testing.assert_close(
        means, (mixed.mix.lam * rows + (1 - mixed.mix.lam) * rows[mixed.mix.perm]).float()
    )
    own = targets.soft[torch.arange(5), batch.labels]
    same = batch.labels == batch.labels[mixed.mix.perm]
    torch.testing.assert_close(own, torch.where(same, 1.0, mixed.mix.lam).float())


def test_smoothed_targets_are_mixed_as_they_are():
    labels = [0, 1, 2]
    mixer, batch = built(Mixup, labels), batch_of(labels)
    mixed = mixer.prepare(batch, clock())
    soft = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    found = mixer.targets(Targets(batch.labels, soft), mixed, clock()).soft
    lam, perm = mixed.mix.lam, mixed.mix.perm
    torch.testing.assert_close(found, (lam * soft + (1 - lam) * soft[perm]).float())


@pytest.mark.parametrize(("strategy", "knobs"), [(Mixup, {"alpha": 0}), (Cutmix, {"prob": 0})])
def test_mixing_switched_off_gives_the_same_batch(strategy, knobs):
    mixer, batch = built(strategy, [0, 1, 2], **knobs), noise_batch([0, 1, 2])
    assert mixer.prepare(batch, clock()) is batch
    targets = Targets(batch.labels)
    assert mixer.targets(targets, batch, clock()) is targets


def test_mixup_draws_ratios_of_a_tiny_alpha():
    mixer = built(Mixup, [0, 1], alpha=0.005)
    batch = batch_of([0, 1])
    ratios = [mixer.prepare(batch, clock(step=step)).mix.lam.item() for step in range(200)]
    assert all(0 <= ratio <= 1 for ratio in ratios)
    assert sum(ratio > 0.5 for ratio in ratios) == pytest.approx(100, abs=40)


def test_ratio_of_cutmix_is_the_share_that_is_kept():
    generator = host_generator(clock(), "test")
    kept, recorded = [], []
    images = torch.stack([torch.zeros(1, 16, 12), torch.ones(1, 16, 12)])
    for _ in range(2000):
        lam = generator.beta(1.0, 1.0)
        box = cut_box(16, 12, lam, generator.integers(16), generator.integers(12))
        kept.append(1 - paste(images, torch.tensor([1, 0]), box)[0].mean().item())
        recorded.append(kept_share(16, 12, box))
    assert recorded == pytest.approx(kept, abs=1e-6)
    assert sum(recorded) / len(recorded) > 0.55, "what a box loses at the edge is kept"


@given(
    side=st.integers(1, 40),
    other=st.integers(1, 40),
    lam=st.floats(0, 1),
    data=st.data(),
)
def test_a_box_is_always_inside_the_image(side, other, lam, data):
    centre = data.draw(st.integers(0, side - 1)), data.draw(st.integers(0, other - 1))
    top, bottom, left, right = cut_box(side, other, lam, *centre)
    assert 0 <= top <= bottom <= side
    assert 0 <= left <= right <= other


def test_cutmix_cuts_the_asked_share_of_batches():
    mixer, batch = built(Cutmix, [0, 1], prob=0.3), batch_of([0, 1])
    cut = [mixer.prepare(batch, clock(step=step)).mix is not None for step in range(400)]
    assert sum(cut) == pytest.approx(120, abs=40)

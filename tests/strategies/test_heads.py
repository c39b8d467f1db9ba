"""Branches and heads on real students: masks, layout of gradients, zero starts, all families."""

from dataclasses import replace

import pytest
import torch

from autosd.models.build import build_student, model_names
from autosd.models.student import Activations
from autosd.recipe import ModelSpec
from autosd.strategies.strategy import Targets, discover
from autosd.strategies.toast import Toast

from .synthetic import batch_of, clock, run_spec

WITH_MODULES = ("masd", "drg", "rskd")


def built(name, model="resnet8", shape=(3, 16, 16), classes=5, **knobs):
    """A student and a strategy, both channels_last as the trainer places them."""
    student = build_student(ModelSpec(name=model), classes, shape, seed=0)
    student.to(memory_format=torch.channels_last)
    strategy = discover()[name]
    run = run_spec(classes, [0, 1, 2, 3], 4)
    return student, strategy(strategy.Knobs(**knobs), student, run)


def terms_of(student, strategy, epoch=1, rows=4):
    """Loss terms of a step on noise, and the activations they came from."""
    source = torch.Generator().manual_seed(0)
    images = torch.randn(rows, *student.spec.image_shape, generator=source)
    images = images.to(memory_format=torch.channels_last)
    activations = student.activations(images)
    labels = torch.arange(rows) % student.spec.classes
    batch = replace(batch_of(labels.tolist()), images=images)
    terms = strategy.losses(activations, Targets(labels), batch, student, clock(epoch))
    return terms, activations


class TestMasks:
    def masks(self, strategy, step=0, tap=1):
        features = torch.ones(4, 6, 8, 8)
        return strategy._kept(features, tap, clock(step=step))

    def test_one_mask_for_all_channels_another_for_each_image(self):
        _, strategy = built("masd", mask_ratio=0.5)
        kept = self.masks(strategy)
        assert kept.shape == (4, 1, 8, 8)
        assert not any(torch.equal(kept[0], kept[k]) for k in (1, 2, 3))

    def test_masks_differ_between_steps_and_taps_and_repeat_for_a_moment(self):
        _, strategy = built("masd", mask_ratio=0.5)
        first = self.masks(strategy)
        assert torch.equal(first, self.masks(strategy))
        assert not torch.equal(first, self.masks(strategy, step=1))
        assert not torch.equal(first, self.masks(strategy, tap=0))

    def test_ratio_zero_keeps_everything_and_one_nothing(self):
        assert self.masks(built("masd", mask_ratio=0)[1]).all()
        assert not self.masks(built("masd", mask_ratio=1)[1]).any()


@pytest.mark.parametrize("layers", [2, 3])
def test_gradients_of_taps_keep_channels_last_under_further_residual_layers(layers):
    student, strategy = built("rskd", residual_layers=layers)
    terms, activations = terms_of(student, strategy)
    layouts = []
    for tap in activations.taps:
        tap.register_hook(
            lambda g: layouts.append(g.is_contiguous(memory_format=torch.channels_last))
        )
    sum(terms.values()).backward()
    assert layouts
    assert all(layouts)


@pytest.mark.parametrize("name", WITH_MODULES)
def test_a_batch_of_one_row_trains_without_the_modules(name):
    student, strategy = built(name)
    student.eval()
    assert terms_of(student, strategy, rows=1)[0] == {}


class TestRskd:
    def test_the_same_student_as_teacher_adds_nothing(self):
        student, strategy = built("rskd", residual_layers=3)
        terms, _ = terms_of(student, strategy)
        assert {name: term.item() for name, term in terms.items()} == {
            "rskd/kd": 0.0,
            "rskd/residual": 0.0,
        }

    def test_only_the_students_statistics_move(self):
        student, strategy = built("rskd")
        ours = {key: value.clone() for key, value in student.named_buffers()}
        theirs = {key: value.clone() for key, value in strategy.teacher.named_buffers()}
        terms_of(student, strategy)
        assert any(not torch.equal(value, ours[key]) for key, value in student.named_buffers())
        assert all(
            torch.equal(value, theirs[key]) for key, value in strategy.teacher.named_buffers()
        )

    def test_nothing_happens_before_the_start_epoch(self):
        student, strategy = built("rskd")
        assert terms_of(student, strategy, epoch=0)[0] == {}

    def test_a_snapshot_is_taken_at_the_end_of_an_epoch(self):
        student, strategy = built("rskd")
        torch.nn.init.constant_(student.head.bias, 1.0)
        strategy.after_step(None, None, student, clock())
        assert not torch.equal(strategy.teacher.head.bias, student.head.bias)
        strategy.end_epoch(student, clock())
        assert torch.equal(strategy.teacher.head.bias, student.head.bias)

    def test_an_average_moves_after_each_step_and_not_at_the_end(self):
        student, strategy = built("rskd", teacher="ema", ema_momentum=0.75)
        torch.nn.init.constant_(student.head.bias, 1.0)
        start = strategy.teacher.head.bias.clone()
        strategy.after_step(None, None, student, clock())
        torch.testing.assert_close(strategy.teacher.head.bias, 0.75 * start + 0.25)
        moved = strategy.teacher.head.bias.clone()
        strategy.end_epoch(student, clock())
        assert torch.equal(strategy.teacher.head.bias, moved)

    def test_the_teacher_is_not_trained(self):
        _, strategy = built("rskd")
        trained = {name for name, p in strategy.named_parameters() if p.requires_grad}
        assert trained == {"heads.0.weight", "heads.0.bias"}


class TestToast:
    def test_a_class_without_rows_keeps_its_medoid(self):
        _, strategy = built("toast")
        self.epoch(strategy, [0, 1], torch.eye(5)[:2])
        self.epoch(strategy, [1], 2 * torch.eye(5)[1:2])
        assert strategy.present.tolist() == [True, True, False, False, False]
        assert torch.equal(strategy.medoids[0], torch.eye(5)[0])
        assert torch.equal(strategy.medoids[1], 2 * torch.eye(5)[1])

    def test_wrong_rows_stay_out_unless_asked_for(self):
        for correct_only in (True, False):
            _, strategy = built("toast", correct_only=correct_only)
            self.epoch(strategy, [0], torch.eye(5)[1:2])
            assert strategy.present[0].item() is not correct_only

    def epoch(self, strategy: Toast, labels, logits):
        activations = Activations(logits, (), logits)
        strategy.after_step(activations, batch_of(labels), None, clock())
        strategy.end_epoch(None, clock())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(discover()))
@pytest.mark.parametrize("model", [*model_names(), "mobilenetv3_small_050", "convnext_atto"])
def test_every_strategy_takes_a_step_on_every_student(name, model):
    student, strategy = built(name, model, shape=(3, 32, 32))
    for step in range(2):
        whole_step(student, strategy, step)
    missing = [key for key, p in student.named_parameters() if p.grad is None]
    assert not missing
    assert all(torch.isfinite(p.grad).all() for p in student.parameters())


def whole_step(student, strategy, step):
    """Every hook of one step on noise, in the second epoch."""

    def draw(index, view):
        source = torch.Generator().manual_seed(view)
        images = torch.randn(len(index), *student.spec.image_shape, generator=source)
        return images.to(memory_format=torch.channels_last)

    now, fresh = clock(epoch=1, step=step), batch_of([0, 1, 0, 1])
    batch = strategy.prepare(replace(fresh, images=draw(fresh.index, 0), draw=draw), now)
    activations = student.activations(batch.images)
    targets = strategy.targets(Targets(batch.labels), batch, now)
    terms = {"supervised": targets.cross_entropy(activations.logits).mean()}
    terms |= strategy.losses(activations, targets, batch, student, now)
    torch.stack(list(terms.values())).sum().backward()
    strategy.after_step(_detached(activations), batch, student, now)


def _detached(activations):
    logits, taps, embedding, _ = activations
    return Activations(logits.detach(), tuple(tap.detach() for tap in taps), embedding.detach())

"""The loop: what it promises about seeds, resume, divergence and evaluation."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from autosd.data.dataset import Data
from autosd.errors import TrialDiverged
from autosd.recipe import Recipe
from autosd.training.optim import FORM
from autosd.training.precision import native_bf16
from autosd.training.trainer import Trainer, balanced_weights

MakeRecipe = Callable[..., Recipe]
TIMES = ("seconds", "images_per_second")


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    """The network that counts, its tensors by name."""
    return {name: tensor.clone() for name, tensor in trainer.result.state_dict().items()}


def without_times(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k not in TIMES} for record in history]


def assert_same(one: Trainer, other: Trainer) -> None:
    """Bit for bit the same reports, student, average and optimiser."""
    assert without_times(one.history) == without_times(other.history)
    for mine, theirs in ((one.result, other.result), (one.student, other.student)):
        state = theirs.state_dict()
        for name, tensor in mine.state_dict().items():
            assert torch.equal(tensor, state[name]), name


def finished(recipe: Recipe, data: Data, **options: Any) -> Trainer:
    trainer = Trainer(recipe, data, **options)
    for _ in trainer.epochs():
        pass
    return trainer


def train_and_save(trainer: Trainer) -> None:
    for _ in trainer.epochs():
        trainer.save()


RUNS = [
    {"precision": "fp32"},
    {"precision": "bf16"},
    {"precision": "bf16", "average": {"kind": "ema", "momentum": 0.9}},
    {"average": {"kind": "ema"}, "optimizer": {"name": "adamw", "lr": 0.003}},
    {"average": {"kind": "swa"}, "epochs": 8, "augment": {"crop": 1, "flip": True, "erase": 0.5}},
    {"schedule": {"name": "onecycle"}, "optimizer": {"clip": 0.5, "decay_norms": False}},
    {"model": "vgg8", "schedule": {"name": "multistep", "warmup_epochs": 1}},
]


@pytest.mark.parametrize("changes", RUNS, ids=str)
def test_resume_equals_uninterrupted(
    recipe: MakeRecipe, digits: Data, tmp_path: Path, changes: dict[str, Any]
) -> None:
    wanted = recipe(**changes)
    whole = finished(wanted, digits)
    first = Trainer(wanted, digits, checkpoint=tmp_path / "last.pt")
    for _ in itertools.islice(first.epochs(), wanted.epochs - 1):
        first.save()
    resumed = finished(wanted, digits, checkpoint=tmp_path / "last.pt")
    assert len(resumed.history) == wanted.epochs
    assert_same(whole, resumed)


def test_a_finished_run_has_nothing_left(recipe: MakeRecipe, digits: Data, tmp_path: Path) -> None:
    done = finished(recipe(epochs=1), digits, checkpoint=tmp_path / "last.pt")
    done.save()
    again = Trainer(recipe(epochs=1), digits, checkpoint=tmp_path / "last.pt")
    assert list(again.epochs()) == []
    assert again.history == done.history
    assert again.evaluate("val").metrics == done.history[-1]["evaluated"]["val"]


def test_same_seed_same_run_and_another_seed_another(recipe: MakeRecipe, digits: Data) -> None:
    torch.manual_seed(1)
    one = finished(recipe(epochs=1), digits)
    torch.manual_seed(2)
    same, other = finished(recipe(epochs=1), digits), finished(recipe(epochs=1, seed=1), digits)
    assert_same(one, same)
    assert one.history[0]["terms"] != other.history[0]["terms"]


def test_the_callers_random_state_is_left_alone(recipe: MakeRecipe, digits: Data) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    finished(recipe(epochs=1, average={"kind": "swa"}), digits)
    assert torch.equal(torch.rand(3), expected)


def test_evaluation_leaves_no_trace(recipe: MakeRecipe, digits: Data) -> None:
    quiet = finished(recipe(epochs=2), digits)
    asked = Trainer(recipe(epochs=2), digits)
    for _ in asked.epochs():
        before = {name: tensor.clone() for name, tensor in asked.student.state_dict().items()}
        asked.evaluate("select")
        asked.evaluate("train", "val")
        assert asked.student.training
        for name, tensor in asked.student.state_dict().items():
            assert torch.equal(tensor, before[name]), name
    assert_same(quiet, asked)


def test_a_report_holds_what_happened(recipe: MakeRecipe, digits: Data) -> None:
    trainer = Trainer(recipe(epochs=3), digits, evaluate_on=("val", "select"))
    reports = list(trainer.epochs())
    assert [report.epoch for report in reports] == [1, 2, 3]
    last = reports[-1]
    assert (last.epochs, last.dropped) == (3, 0)
    assert list(last.evaluated) == ["val", "select"]
    assert last.train["loss"] == pytest.approx(last.terms["supervised"])
    assert last.train["loss"] < reports[0].train["loss"]
    assert 0.5 < last.evaluated["val"]["top1"] <= 1
    assert last.seconds > 0
    assert last.images_per_second > 0
    assert last.record == {
        "threads": 1,
        "device": "cpu",
        "layout": "channels_last",
        "precision": "fp32",
        "optimizer": FORM,
    }
    assert trainer.history == [report.mapping() for report in reports]


def test_evaluation_has_logits_in_the_order_of_the_part(recipe: MakeRecipe, digits: Data) -> None:
    trainer = finished(recipe(epochs=1), digits)
    evaluation = trainer.evaluate("val")
    assert evaluation.logits.shape == (300, 10)
    assert evaluation.logits.dtype == "float32"
    assert (evaluation.labels == digits.part("val").labels).all()
    right = (evaluation.logits.argmax(1) == evaluation.labels).mean()
    assert evaluation.metrics["top1"] == pytest.approx(right)


def test_a_rate_far_too_high_diverges_and_keeps_nothing(
    recipe: MakeRecipe, digits: Data, tmp_path: Path
) -> None:
    wild = recipe(optimizer={"lr": 10.0, "momentum": 0.99, "weight_decay": 1.0}, epochs=50)
    trainer = Trainer(wild, digits, checkpoint=tmp_path / "last.pt")
    with pytest.raises(TrialDiverged) as caught:
        train_and_save(trainer)
    assert caught.value.epoch == len(trainer.history) + 1
    assert not all(math.isfinite(value) for value in caught.value.terms.values())
    saved = (tmp_path / "last.pt").read_bytes() if trainer.history else b""
    with pytest.raises(TrialDiverged):
        trainer.save()
    with pytest.raises(TrialDiverged):
        trainer.export(tmp_path / "model", {})
    assert (tmp_path / "last.pt").exists() == bool(saved)
    if saved:
        assert (tmp_path / "last.pt").read_bytes() == saved


def test_an_interrupted_epoch_is_not_saved(
    recipe: MakeRecipe, digits: Data, tmp_path: Path
) -> None:
    trainer = Trainer(recipe(), digits, checkpoint=tmp_path / "last.pt")
    next(trainer.epochs())
    trainer.save()
    saved = (tmp_path / "last.pt").read_bytes()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    trainer.student.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        next(trainer.epochs())
    with pytest.raises(RuntimeError, match="interrupted"):
        trainer.save()
    assert (tmp_path / "last.pt").read_bytes() == saved


def test_a_weight_that_breaks_is_named_with_its_step(recipe: MakeRecipe, digits: Data) -> None:
    trainer = Trainer(recipe(), digits)
    next(trainer.epochs())
    with torch.no_grad():
        next(trainer.student.parameters()).fill_(math.nan)
    with pytest.raises(TrialDiverged) as caught:
        next(trainer.epochs())
    assert (caught.value.epoch, caught.value.step) == (2, 0)
    assert math.isnan(caught.value.terms["supervised"])


def test_the_average_is_what_is_evaluated(recipe: MakeRecipe, digits: Data) -> None:
    plain = finished(recipe(epochs=2), digits)
    averaged = finished(recipe(epochs=2, average={"kind": "ema", "momentum": 0.9}), digits)
    for name, tensor in plain.student.state_dict().items():
        assert torch.equal(tensor, averaged.student.state_dict()[name]), name
    assert averaged.result is not averaged.student
    assert plain.history[-1]["evaluated"] != averaged.history[-1]["evaluated"]


def test_balanced_weights_make_rare_classes_count() -> None:
    values = balanced_weights(torch.tensor([0, 0, 0, 1]), 2)
    assert values.tolist() == pytest.approx([4 / (2 * 3), 4 / 2])


def test_class_weights_change_the_loss(recipe: MakeRecipe, digits: Data) -> None:
    plain = finished(recipe(epochs=1), digits)
    weighted = finished(recipe(epochs=1, class_weights="balanced"), digits)
    assert plain.history[0]["terms"] != weighted.history[0]["terms"]


def test_training_starts_from_given_weights(
    recipe: MakeRecipe, digits: Data, tmp_path: Path
) -> None:
    taught = finished(recipe(epochs=2), digits)
    taught.export(tmp_path / "taught", {})
    pupil = Trainer(recipe(init=str(tmp_path / "taught")), digits)
    for name, tensor in taught.result.state_dict().items():
        assert torch.equal(tensor, pupil.student.state_dict()[name]), name


def test_convolutions_are_channels_last_and_so_are_their_gradients(
    recipe: MakeRecipe, digits: Data
) -> None:
    trainer = finished(recipe(epochs=1), digits)
    kernels = [m.weight for m in trainer.student.modules() if isinstance(m, nn.Conv2d)]
    assert kernels
    for kernel in kernels:
        assert kernel.grad is not None
        assert kernel.is_contiguous(memory_format=torch.channels_last)
        assert kernel.grad.is_contiguous(memory_format=torch.channels_last)


def test_automatic_precision_follows_the_machine(recipe: MakeRecipe, digits: Data) -> None:
    expected = "bf16" if native_bf16(torch.device("cpu")) else "fp32"
    assert Trainer(recipe(precision="auto"), digits).precision == expected


def test_threads_are_set(recipe: MakeRecipe, digits: Data) -> None:
    try:
        Trainer(recipe(), digits, threads=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)

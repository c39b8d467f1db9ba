"""Teachers, partners and branches run in the precision of the student's own pass."""

import functools

import pytest
import torch
from torch import Tensor, nn

from autosd.data.dataset import Data
from autosd.data.loading import load_data
from autosd.recipe import DataSpec, Recipe
from autosd.training.trainer import Trainer

SPLIT = {"seed": 0, "val": 744, "select": 745}


@functools.cache
def large_digits() -> Data:
    """Eleven training images of 64 x 64 pixels."""
    return load_data(DataSpec(name="digits", image_size=64, split=SPLIT))


def trainer_for(model: str, strategy: str, precision: str = "bf16", **knobs: object) -> Trainer:
    """One step is an epoch; the rate moves no weight."""
    recipe = Recipe.parse(
        {
            "data": {"name": "digits", "image_size": 64, "split": SPLIT},
            "model": model,
            "epochs": 1,
            "batch_size": 11,
            "precision": precision,
            "optimizer": {"lr": 1e-9},
            "strategies": [{strategy: knobs}],
        }
    )
    return Trainer(recipe, large_digits(), evaluate_on=())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model", ["convnext_atto", "vit_tiny_patch16_224", "resnet8"])
def test_a_teacher_that_is_the_student_teaches_exactly_nothing(model: str, precision: str) -> None:
    """Their maps are float32 under bf16 autocast where scales of float32 are applied last."""
    trainer = trainer_for(model, "rskd", precision, start_epoch=0, residual_layers=2)
    (report,) = trainer.epochs()
    assert report.terms["rskd/kd"] == 0
    assert report.terms["rskd/residual"] == 0


@pytest.mark.parametrize("strategy", ["masd", "dks", "frskd"])
def test_branches_are_bf16_where_the_students_pass_is(strategy: str) -> None:
    trainer = trainer_for("convnext_atto", strategy)
    seen: list[torch.dtype] = []

    def note(module: nn.Module, given: object, output: Tensor) -> None:
        seen.append(output.dtype)

    for module in trainer.strategies.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(note)
    list(trainer.epochs())
    assert set(seen) == {torch.bfloat16}

"""Every strategy on every kind of student at 64 pixels, or one clear line why it cannot."""

import functools

import pytest
import torch

from autosd.data.dataset import Data
from autosd.data.loading import load_data
from autosd.errors import AutosdError
from autosd.models.build import build_student
from autosd.recipe import DataSpec, ModelSpec, Recipe
from autosd.strategies.check import check_on_student
from autosd.strategies.strategy import discover
from autosd.training.trainer import Trainer

MODELS = (
    "resnet20",
    "wrn-16-2",
    "densenet40",
    "mobilenetv2",
    "convnext_atto",
    "vit_tiny_patch16_224",
)
SIDE = 64
SPLIT = {"seed": 0, "val": 744, "select": 745}


@functools.cache
def large_digits() -> Data:
    """Eleven training images of 64 x 64 pixels."""
    return load_data(DataSpec(name="digits", image_size=SIDE, split=SPLIT))


def recipe_for(name: str, model: str) -> Recipe:
    return Recipe.parse(
        {
            "data": {"name": "digits", "image_size": SIDE, "split": SPLIT},
            "model": model,
            "epochs": 2,
            "batch_size": 11,
            "optimizer": {"lr": 0.01},
            "strategies": [name],
        }
    )


@functools.cache
def keys(model: str) -> tuple[str, ...]:
    student = build_student(ModelSpec(name=model), 10, large_digits().image_shape, seed=0)
    return tuple(student.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", list(discover()))
def test_it_trains_two_steps_or_says_in_one_line_why_not(name: str, model: str) -> None:
    recipe, data = recipe_for(name, model), large_digits()
    student = build_student(recipe.model, 10, data.image_shape, seed=0)
    try:
        check_on_student(recipe, student)
    except AutosdError as error:
        (line,) = str(error).splitlines()
        assert line.startswith(name)
        assert student.spec.name in line
        return
    before = {key: value.clone() for key, value in student.state_dict().items()}
    trainer = Trainer(recipe, data, evaluate_on=())
    list(trainer.epochs())
    after = trainer.student.state_dict()
    assert tuple(after) == keys(model)
    assert all(torch.isfinite(value).all() for value in after.values())
    assert any(not torch.equal(value, before[key]) for key, value in after.items())

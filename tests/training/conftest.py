"""Small real data and the recipes that most tests start from."""

from collections.abc import Callable
from typing import Any

import pytest

from autosd.data.dataset import Data
from autosd.data.loading import load_data
from autosd.recipe import DataSpec, Recipe

SPLIT = {"seed": 0, "val": 300, "select": 900}

MakeRecipe = Callable[..., Recipe]


@pytest.fixture(scope="session")
def digits() -> Data:
    """300 training images of digits: five steps of 64, the last of 44."""
    return load_data(DataSpec(name="digits", split=SPLIT))


@pytest.fixture
def recipe() -> MakeRecipe:
    """A ResNet-8 for four epochs; keyword arguments change it."""

    def make(**changes: Any) -> Recipe:
        base = {
            "data": {"name": "digits", "split": SPLIT},
            "model": "resnet8",
            "epochs": 4,
            "batch_size": 64,
            "precision": "fp32",
        }
        return Recipe.parse({**base, **changes})

    return make

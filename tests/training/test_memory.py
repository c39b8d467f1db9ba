"""What a trainer makes once, and what it does not hold twice."""

import weakref
from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from autosd.data.dataset import Data
from autosd.data.loader import Loader
from autosd.recipe import Recipe
from autosd.strategies.check import build_strategies
from autosd.training import trainer as module
from autosd.training.trainer import Trainer

MakeRecipe = Callable[..., Recipe]


def test_images_of_a_part_are_placed_once_and_scored_after_every_epoch(
    recipe: MakeRecipe, digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = []

    class Counted(Loader):
        def __init__(self, dataset: Any, *others: Any, **options: Any) -> None:
            placed.append(len(dataset))
            super().__init__(dataset, *others, **options)

    monkeypatch.setattr(module, "Loader", Counted)
    trainer = Trainer(recipe(epochs=3), digits, evaluate_on=("val", "select"))
    scores = [report.evaluated["val"]["nll"] for report in trainer.epochs()]
    trainer.evaluate("val")
    trainer.evaluate("val", "select")
    assert placed == [300, 300, 900, 1200]
    assert len(set(scores)) == 3


def test_the_strategies_of_a_first_count_are_gone_before_the_second_are_made(
    recipe: MakeRecipe, digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[nn.Module]] = []
    alive: list[int] = []

    def watched(*given: Any) -> nn.ModuleDict:
        alive.append(sum(one() is not None for one in made))
        modules = build_strategies(*given)
        made.extend(weakref.ref(each) for each in modules.values())
        return modules

    monkeypatch.setattr(module, "build_strategies", watched)
    Trainer(recipe(epochs=6, budget="compute", strategies=["masd"]), digits)
    assert alive == [0, 0]

"""What strategies cost together, and what a budget of compute buys."""

import pytest
import torch

from autosd.models.build import build_student
from autosd.recipe import ModelSpec, Recipe
from autosd.strategies.check import build_strategies
from autosd.strategies.costs import combined, planned_epochs
from autosd.strategies.strategy import Cost, RunSpec, Strategy

IMAGE = (1, 8, 8)


def strategies(*entries: object) -> list[Strategy]:
    recipe = Recipe.parse({"data": "digits", "strategies": list(entries)})
    student = build_student(ModelSpec(name="resnet8"), 10, IMAGE, seed=0)
    labels = torch.arange(40) % 10
    run = RunSpec(10, 40, labels, IMAGE, 8, 2, torch.device("cpu"))
    return list(build_strategies(recipe, student, run, seed=0).values())


def test_plain_training_costs_one() -> None:
    cost = combined(strategies("cross_entropy"))
    assert (cost.forwards, cost.backwards, cost.step) == (1.0, 1.0, 1.0)


def test_what_costs_nothing_adds_nothing() -> None:
    assert combined(strategies("cutmix", "label_smoothing", "sd_dropout")) == Cost(1.0, 1.0)


def test_passes_beside_the_students_add_up() -> None:
    (drg,), (zipf,) = strategies("drg"), strategies("zipf")
    both = combined(strategies("drg", "zipf"))
    assert both.forwards == pytest.approx(drg.cost().forwards + zipf.cost().forwards - 1)
    assert both.backwards == pytest.approx(drg.cost().backwards + zipf.cost().backwards - 1)


def test_appended_rows_multiply_what_is_done_for_each_row() -> None:
    (drg,) = strategies("drg")
    both = combined(strategies({"toast": {"replay_fraction": 0.5}}, "drg"))
    assert both.forwards == pytest.approx(1.5 * drg.cost().forwards)
    assert both.backwards == pytest.approx(1.5 * drg.cost().backwards)


@pytest.mark.parametrize(
    ("cost", "epochs"),
    [(Cost(1, 1), 20), (Cost(2, 2), 10), (Cost(2, 1), 15), (Cost(4, 4), 5), (Cost(90, 90), 1)],
)
def test_compute_buys_fewer_epochs_of_what_costs_more(cost: Cost, epochs: int) -> None:
    recipe = Recipe.parse({"data": "digits", "epochs": 20})
    assert planned_epochs(recipe, cost) == 20
    assert planned_epochs(recipe.model_copy(update={"budget": "compute"}), cost) == epochs

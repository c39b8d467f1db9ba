"""Work that is counted, and epochs that a budget of compute buys."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autosd.data.dataset import Data
from autosd.recipe import Recipe
from autosd.training.trainer import Trainer

MakeRecipe = Callable[..., Recipe]


def trained(recipe: Recipe, data: Data, **options: Any) -> list[dict[str, Any]]:
    trainer = Trainer(recipe, data, **options)
    for _ in trainer.epochs():
        if trainer.checkpoint is not None:
            trainer.save()
    return trainer.history


def test_plain_training_forwards_every_image_once(recipe: MakeRecipe, digits: Data) -> None:
    (record,) = trained(recipe(epochs=1), digits)
    assert (record["work"]["images"], record["work"]["forwards"]) == (300, 300)
    assert record["work"]["declared"] == {"forwards": 1.0, "backwards": 1.0, "step": 1.0}


def test_appended_rows_are_counted(recipe: MakeRecipe, digits: Data) -> None:
    """300 images in steps of 64: a first step with nothing to replay, the last one of 44."""
    (ddgsd,) = trained(recipe(epochs=1, strategies=["ddgsd"]), digits)
    assert ddgsd["work"]["forwards"] == 600
    (dlb,) = trained(recipe(epochs=1, strategies=["dlb"]), digits)
    assert dlb["work"]["images"] == 300
    assert dlb["work"]["forwards"] == 300 + 4 * 64


def test_state_counts_parameters_buffers_and_memories(recipe: MakeRecipe, digits: Data) -> None:
    trainer = Trainer(recipe(epochs=1, strategies=["ps_kd"]), digits)
    (report,) = trainer.epochs()
    tensors = trainer.student.state_dict().values()
    assert report.work.state_bytes["student"] == sum(one.numel() * one.itemsize for one in tensors)
    assert report.work.state_bytes["strategies"] >= 300 * 10 * 4


def test_a_budget_of_compute_plans_fewer_epochs(
    recipe: MakeRecipe, digits: Data, tmp_path: Path
) -> None:
    wanted = recipe(epochs=6, budget="compute", strategies=["dlb"])
    whole = trained(wanted, digits)
    assert [record["epoch"] for record in whole] == [1, 2, 3]
    assert {record["epochs"] for record in whole} == {3}
    checkpoint = tmp_path / "last.pt"
    first = Trainer(wanted, digits, checkpoint=checkpoint)
    for _ in itertools.islice(first.epochs(), 2):
        first.save()
    resumed = trained(wanted, digits, checkpoint=checkpoint)
    assert [record["terms"] for record in resumed] == [record["terms"] for record in whole]


def test_the_planned_epochs_decide_schedule_and_ramps(recipe: MakeRecipe, digits: Data) -> None:
    """Half the epochs by compute are the very run of half the epochs by number."""
    compute = trained(recipe(epochs=4, budget="compute", strategies=["ddgsd"]), digits)
    epochs = trained(recipe(epochs=2, strategies=["ddgsd"]), digits)
    assert [record["terms"] for record in compute] == [record["terms"] for record in epochs]
    assert compute[-1]["evaluated"] == epochs[-1]["evaluated"]


@pytest.mark.parametrize("budget", ["epochs", "compute"])
def test_plain_training_is_the_same_under_both_budgets(
    recipe: MakeRecipe, digits: Data, budget: str
) -> None:
    (plain,) = trained(recipe(epochs=1), digits)
    (record,) = trained(recipe(epochs=1, budget=budget), digits)
    assert record["evaluated"] == plain["evaluated"]

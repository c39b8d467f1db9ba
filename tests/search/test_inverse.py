"""A recipe that a space made leads back to its parameters; one it cannot make is refused."""

import random

import pytest

from autosd.errors import AutosdError
from autosd.recipe import Recipe
from autosd.search.inverse import filled_in, params_of
from autosd.search.knobs import STRATEGY
from autosd.search.priors import at_random
from autosd.search.space import Space
from autosd.strategies.check import check_combination
from autosd.strategies.strategy import discover

from .conftest import DECLARED

SHIPPED = ["seeds", "joint", "controls", "compose_mixed", "compose_plain", "small"]


def equal_runs(first: Recipe, second: Recipe) -> bool:
    """Whether two recipes train the same way, with every knob written out."""
    return filled(first) == filled(second)


def filled(recipe: Recipe) -> dict[str, object]:
    values = recipe.mapping()
    values["strategies"] = {
        one.name: discover()[one.name].Knobs.model_validate(one.knobs).model_dump(mode="json")
        for one in recipe.strategies
    }
    return values


@pytest.mark.parametrize("name", SHIPPED)
def test_every_recipe_of_a_shipped_space_leads_to_parameters_that_make_it(name: str) -> None:
    space = Space.read(name, discover(), check_combination, stages=3)
    base = Recipe.parse({"data": "digits", "model": "resnet8", "epochs": 3})
    stream = random.Random(0)
    for _ in range(40):
        params = at_random(space, stream)
        recipe = space.recipe(params, base)
        again = Recipe.parse(recipe.mapping())
        found = params_of(space, again, base, discover())
        assert equal_runs(space.recipe(found, base), recipe)
        space.check_params(found)
        if name == "seeds":
            assert found == params


def test_order_of_strategies_written_out_defaults_and_seed_do_not_matter(
    joint: Space, base: Recipe
) -> None:
    dsr = {"dsr": {"temperature": 4.0, "weight": 1.0}}
    drg = {"drg": {"temperature": 4.0}}
    values = {**base.mapping(), "strategies": [dsr, drg], "seed": 7}
    params = params_of(joint, Recipe.parse(values), base, DECLARED)
    assert params[STRATEGY] == "lightskd"
    assert params["lightskd.temperature"] == 4.0
    assert params["drg.alpha"] == 0.2


def test_a_knob_that_exists_under_a_condition_is_taken_only_then(
    joint: Space, base: Recipe
) -> None:
    ema = [{"rskd": {"teacher": "ema", "ema_momentum": 0.99}}]
    recipe = Recipe.parse({**base.mapping(), "strategies": ema})
    assert params_of(joint, recipe, base, DECLARED)["rskd.ema_momentum"] == 0.99
    snapshot = [{"rskd": {"teacher": "snapshot", "ema_momentum": 0.99}}]
    recipe = Recipe.parse({**base.mapping(), "strategies": snapshot})
    with pytest.raises(AutosdError, match=r"rskd.ema_momentum: 0.99 in the recipe, 0.999 in this"):
        params_of(joint, recipe, base, DECLARED)


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"optimizer.lr": 0.5}, ["optimizer.lr: 0.5 is outside the range 0.03 to 0.3"]),
        ({"epochs": 3}, ["epochs: 3 in the recipe, 10 in this study"]),
        (
            {"strategies": [{"masd": {"mask_ratio": 0.9, "num_taps": 9}}], "batch_size": 7},
            ["mask_ratio: 0.9 is outside", "num_taps: 9 is outside", "batch_size: 7 in the"],
        ),
        (
            {"strategies": [{"drg": {"temperature": 3.0}}, {"dsr": {"temperature": 4.0}}]},
            ["drg.temperature is 3.0, dsr.temperature is 4.0; they have one value"],
        ),
        ({"strategies": ["masd", "mixup"]}, ["no family of this study trains masd + mixup"]),
        ({"strategies": [{"rskd": {"teacher": "snapshot", "residual_layers": 9}}]}, ["1 to 4"]),
    ],
)
def test_what_is_in_the_way_is_said_value_by_value(
    joint: Space, base: Recipe, changes: dict[str, object], faults: list[str]
) -> None:
    values = base.mapping()
    for key, value in changes.items():
        block, _, name = key.rpartition(".")
        (values[block] if block else values)[name] = value
    with pytest.raises(AutosdError) as refused:
        params_of(joint, Recipe.parse(values), base, DECLARED)
    assert all(fault in str(refused.value) for fault in faults)
    assert len(str(refused.value).splitlines()) == len(faults)


def test_settings_of_a_family_tell_it_from_plain_training(base: Recipe) -> None:
    space = Space.parse(
        {
            "families": {
                "cross_entropy": {"members": ["cross_entropy"]},
                "ema": {"members": ["cross_entropy"], "fixed": {"average.kind": "ema"}},
            }
        }
    )
    for kind, family in (("none", "cross_entropy"), ("ema", "ema")):
        values = {**base.mapping(), "average": {"kind": kind}}
        assert params_of(space, Recipe.parse(values), base, DECLARED) == {STRATEGY: family}
    swa = Recipe.parse({**base.mapping(), "average": {"kind": "swa"}})
    with pytest.raises(AutosdError, match=r"average.kind: 'swa' in the recipe"):
        params_of(space, swa, base, DECLARED)


def test_what_a_file_leaves_out_is_the_studys(joint: Space, base: Recipe) -> None:
    base = base.model_copy(update={"batch_size": 48})
    values = filled_in({"strategies": ["masd"], "optimizer": {"momentum": 0.5}}, joint, base)
    recipe = Recipe.parse(values)
    assert (recipe.epochs, recipe.batch_size) == (10, 48)
    assert (recipe.optimizer.momentum, recipe.optimizer.lr) == (0.5, 0.1)
    assert recipe.strategies[0].name == "masd"


def test_another_name_of_a_block_leaves_its_values_behind(joint: Space, base: Recipe) -> None:
    values = filled_in({"strategies": ["masd"], "optimizer": {"name": "adamw"}}, joint, base)
    assert values["optimizer"] == {"name": "adamw"}
    same = filled_in({"strategies": ["masd"], "data": "digits"}, joint, base)
    assert same["data"] == base.mapping()["data"]

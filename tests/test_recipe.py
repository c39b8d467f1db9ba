"""What a recipe says survives being written and read."""

import json
import math

import pytest

from autosd import yamlfile
from autosd.recipe import Recipe, StudyDefinition, fingerprint
from autosd.strategies.check import check_recipe, knobs_of

INFINITE = [("masd", "weighting_temperature"), ("tf_kd", "softening")]


def recipe(strategy: str, **knobs: float) -> Recipe:
    return Recipe.parse({"data": "digits", "strategies": [{strategy: knobs}]})


def knob_of(recipe: Recipe, knob: str) -> float:
    (spec,) = recipe.strategies
    value: float = getattr(knobs_of(spec.name, spec.knobs), knob)
    return value


@pytest.mark.parametrize(("strategy", "knob"), INFINITE)
@pytest.mark.parametrize(
    "carried",
    [
        lambda values: yamlfile.loads(yamlfile.dumps(values), "test"),
        lambda values: json.loads(json.dumps(values, allow_nan=False)),
    ],
    ids=["yaml", "json"],
)
def test_an_infinite_knob_survives(strategy, knob, carried):
    infinite = recipe(strategy, **{knob: math.inf})
    check_recipe(infinite)
    again = Recipe.parse(carried(infinite.mapping()))
    assert knob_of(again, knob) == math.inf
    assert again.fingerprint() == infinite.fingerprint()
    check_recipe(again)


@pytest.mark.parametrize(("strategy", "knob"), INFINITE)
def test_an_infinite_knob_has_a_fingerprint_of_its_own(strategy, knob):
    found = {recipe(strategy, **{knob: value}).fingerprint() for value in (1.0, math.inf)}
    assert len({*found, recipe(strategy).fingerprint()}) == 3


def test_an_infinite_knob_survives_in_a_study():
    base = yamlfile.loads("data: digits\nstrategies:\n- masd: {weighting_temperature: .inf}", "t")
    study = StudyDefinition.parse({"name": "infinite", "recipe": base, "time_budget": math.inf})
    again = StudyDefinition.parse(json.loads(json.dumps(study.mapping(), allow_nan=False)))
    assert knob_of(again.recipe, "weighting_temperature") == math.inf
    assert again.time_budget == math.inf
    assert fingerprint(again.mapping()) == fingerprint(study.mapping())

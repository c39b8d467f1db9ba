"""What mattered, on studies whose answer is known (docs of the figure: between, then within)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from autosd.results.report.figures_importance import (
    knobs_within_families,
    sentences,
    what_mattered,
)
from autosd.results.report.importance import Mattered, mattered, of_knob, standings
from autosd.search.knobs import Knob
from autosd.search.records import TrialRecord

from .studies import story

METHODS = ("one", "two", "three", "four", "five")
SPACE = {
    "training": {"knobs": {"optimizer.lr": {"log_uniform": [0.03, 0.3], "default": 0.1}}},
    "families": {
        name: {
            "members": ["cross_entropy"],
            "knobs": {
                "augment.erase" if place else "average.momentum": {
                    "uniform": [0.0, 0.9],
                    "default": 0.5,
                }
            },
        }
        for place, name in enumerate(METHODS)
    },
}


def own(params: Mapping[str, Any]) -> float:
    """The knob that only this family has, from 0 to 1."""
    return float(params.get("augment.erase", params.get("average.momentum"))) / 0.9


@pytest.fixture(scope="module")
def methods() -> Mattered:
    """The method explains nearly everything; its knob a little, the learning rate nothing."""
    noise = np.random.default_rng(1)

    def value(params: Mapping[str, Any]) -> float:
        effect = 0.02 * METHODS.index(params["strategy"])
        return float(0.5 + effect + 0.01 * (own(params) - 0.5) + 0.003 * noise.normal())

    return mattered(story(value, 40, space=SPACE))


def test_the_choice_of_method_is_seen_where_it_explains_nearly_everything(methods):
    share = methods.families
    assert share.value > 0.95
    assert 0.9 < share.low < share.value < share.high < 1


def test_a_learning_rate_without_effect_explains_nothing_beside_a_large_choice_of_method(methods):
    (rate,) = methods.training
    assert rate.knob == "optimizer.lr"
    assert rate.share.value < 0.2
    assert rate.share.low == 0


def test_a_knob_that_dominates_within_one_family_is_found_there_and_nowhere_else():
    noise = np.random.default_rng(2)

    def value(params: Mapping[str, Any]) -> float:
        peak = -0.2 * (own(params) - 0.5) ** 2 if params["strategy"] == "three" else 0.0
        return float(0.7 + peak + 0.003 * noise.normal())

    found = mattered(story(value, 60, space=SPACE))
    shares = {one.family: one.share for one in found.knobs}
    assert shares.keys() == set(METHODS)
    dominant = shares.pop("three")
    assert dominant.value > 0.6
    assert all(share.value < dominant.low for share in shares.values())


def test_where_nothing_matters_every_interval_reaches_zero():
    noise = np.random.default_rng(3)
    told = story(lambda params: float(0.7 + 0.01 * noise.normal()), 60, space=SPACE)
    found = mattered(told)
    assert found.families.low == 0
    assert all(one.share.low == 0 for one in (*found.training, *found.knobs))
    assert "not shown to matter" in sentences(told)[0]
    assert "no knob is shown" in sentences(told)[1]


def test_too_few_trials_are_said_and_not_drawn():
    told = story(own, 15, space=SPACE)
    few = mattered(told).too_few
    assert [family for family, _ in few] == [row.family for row in told.rows]
    assert few[0][1] == "too few trials: 3, and 8 are needed"
    assert knobs_within_families(told) is None
    assert "Too few trials" in sentences(told)[-1]


def test_one_family_alone_has_nothing_between_families():
    told = story(own, 12, space={"families": {"one": SPACE["families"]["one"]}})
    assert mattered(told).families.why == "one group only"
    assert what_mattered(told) is None
    assert knobs_within_families(told) is not None


def record(state: str, curve: tuple[float, ...], **params: Any) -> TrialRecord:
    return TrialRecord(
        number=0,
        lineage=0,
        state=state,
        family="masd",
        strategies=("masd",),
        params=params,
        value=curve[-1] if curve else None,
        curve=tuple(enumerate(curve, 1)),
        epochs_run=len(curve),
        seconds=1.0,
        origin="search",
        protected=False,
        why="",
    )


def test_a_pruned_trial_is_compared_at_the_epoch_that_it_reached():
    trials = [
        record("complete", (0.5, 0.6, 0.7)),
        record("complete", (0.4, 0.8, 0.9)),
        record("pruned", (0.45,)),
        record("diverged", (0.9,)),
    ]
    assert standings(trials) == [1 / 3, 1 / 3, 1 / 3, -1.0]


def test_a_loss_is_compared_the_other_way():
    trials = [record("complete", (0.5,)), record("complete", (0.4,)), record("diverged", ())]
    assert standings(trials, minimise=True) == [0.0, 1.0, -1.0]


def test_a_choice_enters_level_by_level():
    knob = Knob("masd.branch_depth", "choice", choices=("full", "light"), default="full")
    trials = [
        record("complete", (0.7 + 0.1 * (place % 2) + 0.001 * place,), **{knob.name: level})
        for place, level in enumerate(["full", "light"] * 6)
    ]
    assert of_knob(knob, trials).value > 0.6
    same = [record("complete", (0.1 * place,), **{knob.name: "full"}) for place in range(12)]
    assert of_knob(knob, same).why == "always the same"
    assert of_knob(knob, []).why == "no trial has it"

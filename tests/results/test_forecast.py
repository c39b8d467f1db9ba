"""What a study is said to take."""

import pytest

from autosd.recipe import FinalistSpec, Recipe
from autosd.results.room import finalist_runs
from autosd.search.finalists import choose, runs
from autosd.search.records import TrialRecord
from autosd.search.space import Space
from autosd.strategies.check import check_combination
from autosd.strategies.strategy import discover

FAMILIES = ("label_smoothing", "masd", "toast")


def trial(space: Space, number: int) -> TrialRecord:
    family = FAMILIES[number]
    params = {**space.default_params(family), "optimizer.lr": 0.01 * (number + 1)}
    return TrialRecord(
        number=number,
        lineage=number,
        state="complete",
        family=family,
        strategies=(family,),
        params=params,
        value=0.9 - 0.1 * number,
        curve=(),
        epochs_run=1,
        seconds=1.0,
        origin="search",
        protected=False,
        why="",
    )


@pytest.mark.parametrize(("count", "seeds"), [(0, 3), (1, 1), (2, 3)])
def test_no_choice_has_more_finalists_than_are_forecast(count, seeds):
    space = Space.read("seeds", discover(), check_combination, stages=4)
    trials = [trial(space, number) for number in range(len(FAMILIES))]
    chosen = choose(trials, space, Recipe.parse({"data": "digits"}), count, minimise=False)
    expected = finalist_runs(FinalistSpec(count=count, seeds=seeds))
    assert len(runs(chosen, seeds)) == expected

"""T8: samplers by name, seeds after a resume, the window, prior trials."""

import math
import random
import statistics
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState, create_trial

from autosd.errors import AutosdError
from autosd.recipe import Recipe
from autosd.search import address, ledger, priors, samplers, store
from autosd.search.mirror import folded
from autosd.search.samplers import SAMPLERS, WindowSampler, make_sampler, startup_trials
from autosd.search.space import Space
from autosd.search.window import NewestAndBest

BASE = Recipe.parse({"data": "digits"})
ROOMY = {"families": 5, "trials": 40}


def study_with(name: str, seed: int = 0, counted: int = 0, **options: Any) -> optuna.Study:
    sampler = make_sampler(name, seed, counted=counted, **ROOMY)
    return optuna.create_study(direction="maximize", sampler=sampler, **options)


def grown(study: optuna.Study, space: Space, trials: int) -> list[dict[str, Any]]:
    """Ask and tell so many trials; the parameters drawn."""
    drawn = []
    for _ in range(trials):
        trial, _ = ledger.ask(study, space, BASE)
        drawn.append(trial.params)
        study.tell(trial, trial.params["optimizer.lr"])
    return drawn


@pytest.mark.parametrize("name", ["tpe", "random", "qmc", "nsga2"])
def test_every_sampler_draws_valid_parameters_on_a_conditional_space(
    name: str, joint: Space
) -> None:
    study = study_with(name)
    ledger.enqueue_defaults(study, joint)
    for params in grown(study, joint, 30):
        joint.check_params(params)
    assert {trial.params["strategy"] for trial in study.trials} == set(joint.families)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_gp_draws_valid_parameters_on_a_conditional_space(joint: Space) -> None:
    study = optuna.create_study(
        direction="maximize", sampler=make_sampler("gp", 0, families=5, trials=12)
    )
    for params in grown(study, joint, 5):
        joint.check_params(params)


def test_an_unknown_sampler_is_named_with_the_nearest() -> None:
    with pytest.raises(AutosdError, match=r"no sampler named 'tpee'.*Did you mean 'tpe'"):
        make_sampler("tpee", 0, **ROOMY)
    with pytest.raises(AutosdError, match="there are: gp, nsga2, qmc, random, tpe"):
        samplers.limits("cmaes")


def test_every_sampler_but_the_default_says_its_limits() -> None:
    assert samplers.limits("tpe") == ""
    assert all(samplers.limits(name).startswith(name) for name in SAMPLERS if name != "tpe")


def test_the_random_start_is_short_in_a_short_study() -> None:
    assert [startup_trials(7, trials) for trials in (3, 40, 48, 200)] == [0, 10, 12, 14]
    assert startup_trials(2, 200) == 10


@pytest.mark.parametrize("trials", [1, 3])
def test_the_shortest_study_can_be_sampled(joint: Space, trials: int) -> None:
    for name in ("tpe", "nsga2", "gp"):
        sampler = make_sampler(name, 0, families=5, trials=trials)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        assert len(grown(study, joint, trials)) == trials


def test_the_same_seed_draws_the_same_and_a_resumed_run_does_not_repeat_itself(
    joint: Space, tmp_path: Path
) -> None:
    first, again = (grown(study_with("tpe", seed=7), joint, 6) for _ in range(2))
    assert first == again
    storage = store.open_storage(address.storage_url(tmp_path))
    begun = study_with("tpe", seed=7, storage=storage, study_name="s")
    assert grown(begun, joint, 6) == first
    sampler = make_sampler("tpe", 7, counted=ledger.counts(begun).counted, **ROOMY)
    resumed = optuna.load_study(study_name="s", storage=storage, sampler=sampler)
    later = grown(resumed, joint, 6)
    assert not [params for params in later if params in first]


def many(count: int) -> list[FrozenTrial]:
    """Finished trials whose value falls and rises again."""
    distribution = optuna.distributions.FloatDistribution(0.0, 1.0)
    return [
        create_trial(
            params={"x": (number % 97) / 97},
            distributions={"x": distribution},
            value=abs(number - count / 2),
            state=TrialState.PRUNED if number % 3 == 0 else TrialState.COMPLETE,
            intermediate_values={1: abs(number - count / 2)},
        )
        for number in range(count)
    ]


def test_a_long_study_is_seen_through_its_newest_and_best_trials() -> None:
    study = optuna.create_study(direction="maximize", sampler=WindowSampler(Recorder(), window=20))
    study.add_trials(many(100))
    running = study.ask()
    running.suggest_float("x", 0.0, 1.0)
    assert isinstance(study.sampler, WindowSampler)
    seen = study.sampler.inner.seen
    assert {number for number in seen if number >= 82} == {*range(82, 101)}
    assert {number for number in seen if number < 82} == {1, 2}


def test_the_best_are_the_smallest_where_the_objective_is_minimised() -> None:
    study = optuna.create_study(direction="minimize")
    study.add_trials(many(100))
    kept = folded(study, NewestAndBest, 20).trials()
    assert [trial.number for trial in kept] == [49, 50, *range(82, 100)]


def test_trials_that_end_out_of_order_are_shown_as_if_in_order() -> None:
    found = many(60)
    for number, trial in enumerate(found):
        trial.number = number
    random.Random(0).shuffle(found)
    shown = NewestAndBest(False, 20)
    for count, trial in enumerate(found, 1):
        shown.update(trial)
        ended = sorted(found[:count], key=lambda one: one.number)
        older, newest = ended[:-18], ended[-18:]
        older.sort(key=lambda one: (one.state is TrialState.COMPLETE, one.value))
        expected = sorted(one.number for one in older[-2:] + newest)
        assert [one.number for one in shown.trials()] == expected


class Recorder(optuna.samplers.RandomSampler):
    """Notes which trials it is shown."""

    def sample_independent(self, study: Any, trial: Any, name: Any, distribution: Any) -> Any:
        self.seen = {each.number for each in study.get_trials(deepcopy=False)}
        assert study.direction is optuna.study.StudyDirection.MAXIMIZE
        return super().sample_independent(study, trial, name, distribution)


def test_tpe_works_behind_the_window(joint: Space) -> None:
    sampler = make_sampler("tpe", 0, **ROOMY)
    assert isinstance(sampler, WindowSampler)
    sampler.window = 30
    study = optuna.create_study(direction="maximize", sampler=sampler)
    drawn = grown(study, joint, 60)
    early = statistics.fmean(params["optimizer.lr"] for params in drawn[:12])
    late = statistics.fmean(params["optimizer.lr"] for params in drawn[40:])
    assert early < 0.15
    assert late > 0.18


# Prior trials.


def test_prior_trials_lie_in_range_and_near_the_published_default(joint: Space) -> None:
    stream = random.Random(0)
    for family in joint.families:
        for _ in range(50):
            joint.check_params(priors.near_default(joint, family, stream))
    drawn = [priors.near_default(joint, "masd", stream)["masd.mask_ratio"] for _ in range(400)]
    # Truncated normal around 0.15 with standard deviation 0.15 x 0.75, cut at 0.
    assert 0.13 < statistics.fmean(drawn) < 0.19
    assert 0.06 < statistics.pstdev(drawn) < 0.1125
    weights = [priors.near_default(joint, "masd", stream)["masd.kd_weight"] for _ in range(400)]
    logs = [math.log(weight) for weight in weights]
    assert statistics.fmean(logs) == pytest.approx(math.log(1.5), abs=0.15)


def test_the_probability_of_a_prior_trial_falls_from_one_half() -> None:
    assert priors.probability(5, 5) == 0.5
    assert priors.probability(30, 5) == pytest.approx(0.5 / math.e)
    assert priors.probability(205, 5) < 0.001


def test_prior_trials_are_enqueued_with_their_origin_about_as_often_as_said(joint: Space) -> None:
    study = study_with("random")
    ledger.enqueue_defaults(study, joint)
    for _ in range(60):
        priors.enqueue_prior(study, joint, seed=3)
        grown(study, joint, 1)
    origins = [trial.user_attrs["origin"] for trial in study.trials]
    defaults = len(joint.families)
    assert origins[:defaults] == ["default"] * defaults
    expected = sum(priors.probability(number, defaults) for number in range(defaults, 60))
    assert abs(origins.count("prior") - expected) < 7
    assert set(origins[defaults:]) == {"prior", "search"}
    assert len(study.trials) == 60


def test_nothing_is_enqueued_while_a_trial_waits(study: optuna.Study, joint: Space) -> None:
    ledger.enqueue_defaults(study, joint)
    assert not any(priors.enqueue_prior(study, joint, seed) for seed in range(20))
    assert len(study.trials) == len(joint.families)


def test_the_draw_of_a_prior_trial_follows_from_seed_and_number(joint: Space) -> None:
    def drawn(seed: int) -> list[dict[str, Any]]:
        study = study_with("random", seed=1)
        for _ in range(20):
            priors.enqueue_prior(study, joint, seed)
            grown(study, joint, 1)
        return [trial.params for trial in study.trials if trial.user_attrs["origin"] == "prior"]

    assert drawn(1) == drawn(1) != drawn(2)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_family_with_the_best_value_is_drawn_most(joint: Space, direction: str) -> None:
    study = optuna.create_study(direction=direction)
    for family in joint.families:
        study.enqueue_trial(joint.default_params(family))
        trial, _ = ledger.ask(study, joint, BASE)
        best, other = (0.9, 0.5) if direction == "maximize" else (0.5, 0.9)
        study.tell(trial, best if family == "masd" else other)
    drawn = [priors._draw_family(study, joint, random.Random(number)) for number in range(300)]
    share = {family: drawn.count(family) / 300 for family in joint.families}
    assert share["masd"] > 0.5
    assert all(share[family] > 0.03 for family in joint.families)


def test_families_without_a_knob_have_no_prior_trials(read: Any) -> None:
    space = read("strategies: {cross_entropy: , masd: }")
    stream = random.Random(0)
    study = optuna.create_study()
    assert {priors._draw_family(study, space, stream) for _ in range(20)} == {"masd"}


def test_a_sampler_that_repeats_itself_is_interrupted_by_a_random_draw(
    study: optuna.Study, read: Any
) -> None:
    space = read("strategies: {cross_entropy: , masd: }")
    for _ in range(4):
        ledger.enqueue(study, space, {"strategy": "cross_entropy"}, "search")
        trial, _ = ledger.ask(study, space, BASE)
        first = ledger.first_like(study, trial)
        if first is None:
            ledger.tell_complete(study, trial, 0.9)
        else:
            ledger.tell_duplicate(study, trial, first)
    assert ledger.census(study).repeats == priors.PATIENCE
    assert priors.break_repeats(study, space, 0)
    assert not priors.break_repeats(study, space, 0)
    assert study.trials[-1].user_attrs["origin"] == "search"


@settings(max_examples=40, deadline=None)
@given(
    low=st.floats(0.001, 10.0),
    width=st.floats(0.0, 100.0),
    place=st.floats(0.0, 1.0),
    kind=st.sampled_from(["uniform", "log_uniform", "integers"]),
    seed=st.integers(0, 99),
)
def test_no_draw_leaves_its_range(
    low: float, width: float, place: float, kind: str, seed: int
) -> None:
    bounds: list[Any] = [low, low + width]
    default: Any = min(low + place * width, low + width)
    if kind == "integers":
        bounds, default = [int(low), int(low + width)], int(default)
    knob = {kind: bounds, "default": default}
    space = Space.parse({"families": {"a": {"members": ["a"], "knobs": {"a.x": knob}}}})
    stream = random.Random(seed)
    for params in (priors.near_default(space, "a", stream), priors.at_random(space, stream)):
        space.check_params(params)

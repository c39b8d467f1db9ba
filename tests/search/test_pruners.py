"""T7: rules A and B by hand, protection, reopening, and a small simulation."""

import math
import random
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from autosd.errors import AutosdError
from autosd.search import address, ledger, store
from autosd.search.mirror import mirrored
from autosd.search.pruners import PRUNERS, Decision, FamilyPruner, decide, make_pruner

FAMILIES = CategoricalDistribution(("fast", "slow"))


def finished(
    family: str, curve: Sequence[float], pruned: bool = False, **attrs: Any
) -> FrozenTrial:
    """A finished trial with a curve over epochs 1, 2, ..."""
    return create_trial(
        state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
        value=curve[-1],
        params={"strategy": family},
        distributions={"strategy": FAMILIES},
        intermediate_values=dict(enumerate(curve, start=1)),
        user_attrs=attrs,
    )


def study_of(*trials: FrozenTrial, direction: str = "maximize", **options: Any) -> optuna.Study:
    study = optuna.create_study(direction=direction, **options)
    study.add_trials(trials)
    return study


def running(study: optuna.Study, family: str, curve: Sequence[float], **attrs: Any) -> Any:
    """A running trial with a curve so far."""
    study.enqueue_trial({"strategy": family}, user_attrs=attrs)
    trial = study.ask()
    trial.suggest_categorical("strategy", FAMILIES.choices)
    for epoch, value in enumerate(curve, start=1):
        trial.report(value, epoch)
    return trial


def decision(
    study: optuna.Study, family: str, curve: Sequence[float], pruner: FamilyPruner, **attrs: Any
) -> Decision | None:
    study.pruner = pruner
    return decide(study, running(study, family, curve, **attrs))


INSIDE = FamilyPruner(10, inside=50.0, across=None)
ACROSS = FamilyPruner(10, inside=None, across=50.0)
LEVELS = (0.2, 0.4, 0.6)


def level(value: float, epochs: int = 10) -> list[float]:
    return [value] * epochs


def test_rule_a_prunes_below_the_median_of_its_own_family_at_the_same_epoch() -> None:
    study = study_of(*(finished("slow", level(value)) for value in LEVELS))
    study.add_trial(finished("fast", level(0.9)))
    assert decision(study, "slow", level(0.4, 3), INSIDE) is None
    found = decision(study, "slow", level(0.39, 3), INSIDE)
    assert found == Decision("family", 3, 0.39, 0.4, pytest.approx(0.39))
    assert found.facts() == {
        "pruned_by": "family",
        "pruned_at": 3,
        "projected": pytest.approx(0.39),
        "needed": 0.4,
        "why": "pruned by family at epoch 3: 0.3900 where 0.4000 was needed",
    }


def test_rule_a_compares_the_best_so_far_and_not_the_last_epoch() -> None:
    study = study_of(*(finished("slow", level(value)) for value in LEVELS))
    assert decision(study, "slow", [0.5, 0.1, 0.1, 0.1, 0.1], INSIDE) is None
    assert decision(study, "slow", [0.1, 0.1, 0.1, 0.1, 0.1], INSIDE) is not None


def test_rule_a_needs_three_of_the_family_that_reached_the_epoch() -> None:
    study = study_of(finished("slow", level(0.4)), finished("slow", level(0.5)))
    study.add_trials([finished("fast", level(0.9)) for _ in range(5)])
    assert decision(study, "slow", level(0.1, 4), INSIDE) is None
    study.add_trial(finished("slow", level(0.6, 3), pruned=True))
    assert decision(study, "slow", level(0.1, 4), INSIDE) is None
    assert decision(study, "slow", level(0.1, 3), INSIDE) is not None


def test_rule_b_compares_projected_finals_across_families() -> None:
    slow = [0.1, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    study = study_of(
        finished("slow", slow),
        finished("slow", [value * 0.9 for value in slow]),
        *(finished("fast", level(value)) for value in (0.6, 0.7)),
    )
    # The family gains 0.9 / 0.2 = 4.5 from epoch 3 on; the median of 0.9, 0.81, 0.6, 0.7 is 0.755.
    assert decision(study, "slow", [0.1, 0.17, 0.17], ACROSS) is None
    found = decision(study, "slow", [0.1, 0.16, 0.16], ACROSS)
    assert found is not None
    assert (found.by, found.at) == ("projection", 3)
    assert found.projected == found.value == pytest.approx(0.72)
    assert found.needed == pytest.approx(0.755)


def test_rule_b_takes_the_most_optimistic_gain_of_two_complete_trials() -> None:
    study = study_of(finished("slow", [0.2] * 9 + [0.4]), *(finished("fast", level(0.8)),) * 3)
    assert decision(study, "slow", level(0.2, 3), ACROSS) is None
    study.add_trial(finished("slow", [0.2] * 9 + [0.9]))
    assert decision(study, "slow", level(0.2, 3), ACROSS) is None
    assert decision(study, "slow", level(0.17, 3), ACROSS) is not None


def test_rule_b_uses_the_best_of_the_last_three_epochs() -> None:
    study = study_of(*(finished("slow", level(0.5)) for _ in range(3)))
    assert decision(study, "slow", [0.1, 0.5, 0.1, 0.1], ACROSS) is None
    assert decision(study, "slow", [0.5, 0.1, 0.1, 0.1], ACROSS) is not None


def test_projections_of_pruned_trials_count_in_the_median() -> None:
    complete = [finished("slow", level(value)) for value in (0.5, 0.6)]
    study = study_of(*complete)
    assert decision(study, "slow", level(0.5, 3), ACROSS) is not None
    study.add_trials([finished("fast", level(0.1, 3), pruned=True, projected=0.2)] * 4)
    assert decision(study, "slow", level(0.5, 3), ACROSS) is None


def test_either_rule_prunes_and_protected_trials_never_are() -> None:
    study = study_of(*(finished("slow", level(value)) for value in LEVELS))
    both = make_pruner("family", 10)
    assert decision(study, "slow", level(0.1, 3), both) is not None
    assert decision(study, "slow", level(0.1, 3), both, protected=True) is None


def full(study: optuna.Study, value: float) -> None:
    """A trial that runs under the pruner to its end."""
    trial = running(study, "slow", [])
    for epoch in range(1, 11):
        trial.report(value, epoch)
        decide(study, trial)
    study.tell(trial, value)


def stopped_at(study: optuna.Study, value: float, **attrs: Any) -> Decision | None:
    """Where a trial with this constant value is stopped."""
    trial = running(study, "slow", [], **attrs)
    for epoch in range(1, 10):
        trial.report(value, epoch)
        if found := decide(study, trial):
            return found
    return None


@pytest.mark.parametrize("name", sorted(PRUNERS))
def test_no_pruner_stops_a_protected_trial(name: str) -> None:
    study = study_of(pruner=make_pruner(name, 10))
    for _ in range(9):
        full(study, 0.9)
    assert stopped_at(study, 0.1, protected=True) is None
    found = [stopped_at(study, 0.1) for _ in range(9)]
    assert all(each is None for each in found) == (name == "none")


@pytest.mark.parametrize(("epochs", "first"), [(3, None), (10, 3), (30, 5), (31, 6)])
def test_it_decides_from_the_warm_up_on_and_never_at_the_last_epoch(
    epochs: int, first: int | None
) -> None:
    study = study_of(*(finished("slow", level(value, epochs)) for value in LEVELS))
    pruner = FamilyPruner(epochs)
    decided = [
        epoch
        for epoch in range(1, epochs + 1)
        if decision(study, "slow", level(0.1, epoch), pruner) is not None
    ]
    assert decided == ([] if first is None else list(range(first, epochs)))


def test_a_third_of_a_family_completes_before_more_of_it_is_pruned() -> None:
    study = study_of(finished("slow", level(0.5)), finished("slow", level(0.5)))
    study.add_trials([finished("slow", level(0.5, 4), pruned=True)] * 4)
    assert decision(study, "slow", level(0.1, 3), INSIDE) is not None
    study.add_trial(finished("slow", level(0.5, 4), pruned=True))
    assert decision(study, "slow", level(0.1, 3), INSIDE) is None


def test_duplicates_and_values_that_are_no_numbers_weigh_nothing() -> None:
    study = study_of(*(finished("slow", level(0.2)) for _ in range(3)))
    study.add_trials([finished("slow", level(0.9), duplicate_of=0)] * 9)
    study.add_trials([finished("slow", [0.1, 0.1, math.nan], pruned=True)] * 2)
    assert decision(study, "slow", level(0.2, 3), INSIDE) is None


def test_a_smaller_nll_is_better() -> None:
    study = study_of(
        *(finished("slow", [2.0] * 9 + [value]) for value in (0.5, 1.0, 1.5)),
        direction="minimize",
    )
    assert decision(study, "slow", level(2.0, 3), INSIDE) is None
    assert decision(study, "slow", level(2.1, 3), INSIDE) == Decision(
        "family", 3, 2.1, 2.0, pytest.approx(0.525)
    )
    # The most optimistic gain is 0.5 / 2.0, the median of the finals 1.0.
    assert decision(study, "slow", level(3.9, 3), ACROSS) is None
    found = decision(study, "slow", level(4.1, 3), ACROSS)
    assert found is not None
    assert (found.projected, found.needed) == (pytest.approx(1.025), 1.0)


@pytest.mark.parametrize("values", [(0.0, 0.0), (0.0, 0.5)])
def test_a_value_of_zero_projects_to_nothing_impossible(values: tuple[float, float]) -> None:
    before, last = values
    study = study_of(*(finished("slow", [before] * 9 + [last]) for _ in range(3)))
    assert decision(study, "slow", level(0.0, 3), ACROSS) is None
    assert decision(study, "slow", level(0.1, 3), ACROSS) is None


def test_decisions_are_the_same_after_reopening_the_storage(tmp_path: Path) -> None:
    url = address.storage_url(tmp_path)
    study = study_of(
        *(finished("slow", level(value)) for value in LEVELS),
        finished("fast", level(0.3, 4), pruned=True, projected=0.35),
        storage=store.open_storage(url),
        study_name="s",
        pruner=make_pruner("family", 10),
    )
    number = running(study, "slow", [0.3, 0.3, 0.3]).number
    again = optuna.load_study(
        study_name="s", storage=store.open_storage(url), pruner=make_pruner("family", 10)
    )
    for each in (study, again):
        assert each.pruner.decide(each, each.trials[number]) == Decision(
            "family", 3, 0.3, 0.4, pytest.approx(0.3)
        )
        assert each.pruner.prune(each, each.trials[number])


def test_optunas_own_pruners_say_who_and_when() -> None:
    study = study_of(pruner=make_pruner("asha", 10))
    for _ in range(9):
        full(study, 0.9)
    found = stopped_at(study, 0.1)
    assert found is not None
    assert found.facts() == {
        "pruned_by": "asha",
        "pruned_at": 2,
        "projected": None,
        "needed": None,
        "why": "pruned by asha at epoch 2",
    }


@pytest.mark.parametrize("name", sorted(PRUNERS))
@pytest.mark.parametrize("epochs", [1, 2, 30])
def test_every_pruner_works_for_any_number_of_epochs(name: str, epochs: int) -> None:
    study = study_of(*(finished("slow", level(0.9, epochs)) for _ in range(6)))
    study.pruner = make_pruner(name, epochs)
    trial = running(study, "slow", [])
    for epoch in range(1, epochs):
        trial.report(0.1, epoch)
        decide(study, trial)
    study.tell(trial, 0.1)
    assert len(study.trials) == 7


def test_an_unknown_pruner_is_named_with_the_nearest() -> None:
    with pytest.raises(AutosdError, match="Did you mean 'family'"):
        make_pruner("famly", 10)


def simulate(name: str, seed: int, epochs: int = 18, trials: int = 60) -> optuna.Study:
    """A search where the better family is the slower one: it is behind until late.

    One knob in [0, 1] costs up to 0.3; every epoch's value carries noise of 0.004.
    """
    stream = random.Random(seed)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed),
        pruner=make_pruner(name, epochs),
    )
    study.enqueue_trial({"strategy": "fast", "knob": 0.5}, user_attrs={"protected": True})
    study.enqueue_trial({"strategy": "slow", "knob": 0.5}, user_attrs={"protected": True})
    for _ in range(trials):
        trial = study.ask()
        family = trial.suggest_categorical("strategy", FAMILIES.choices)
        knob = trial.suggest_float("knob", 0.0, 1.0)
        top, speed = {"fast": (0.7, 2.0), "slow": (0.8, 5.0)}[family]
        for epoch in range(1, epochs + 1):
            gain = 1 - math.exp(-epoch / speed)
            value = (top - 0.3 * abs(knob - 0.3)) * gain + stream.gauss(0, 0.004)
            trial.report(value, epoch)
            found = decide(study, trial) if epoch < epochs else None
            if found:
                ledger.tell_pruned(study, trial, **found.facts())
                break
        else:
            study.tell(trial, value)
    return study


def complete(study: optuna.Study, family: str) -> list[FrozenTrial]:
    return [
        trial
        for trial in ledger.trials(study, TrialState.COMPLETE)
        if trial.params["strategy"] == family
    ]


def epochs_of(study: optuna.Study) -> int:
    return sum(len(trial.intermediate_values) for trial in study.trials)


def share_stopped(trials: list[FrozenTrial]) -> float:
    return statistics.fmean(trial.state is TrialState.PRUNED for trial in trials)


def test_the_slow_family_lives_and_its_hopeless_trials_do_not() -> None:
    for seed in range(3):
        study = simulate("family", seed)
        slow = [trial for trial in study.trials if trial.params["strategy"] == "slow"]
        far = [trial for trial in slow if abs(trial.params["knob"] - 0.3) > 0.4]
        near = [trial for trial in slow if abs(trial.params["knob"] - 0.3) < 0.05]
        assert study.best_trial.params["strategy"] == "slow"
        assert abs(study.best_trial.params["knob"] - 0.3) < 0.1
        assert share_stopped(far) > 0.5 > 0.35 > share_stopped(near)
        assert 3 * len(complete(study, "slow")) >= len(slow) - 1
        assert epochs_of(study) < 0.6 * 60 * 18


def test_pruning_across_families_starves_the_slow_one() -> None:
    kept = {
        name: statistics.fmean(len(complete(simulate(name, seed), "slow")) for seed in range(3))
        for name in ("family", "median", "asha")
    }
    assert kept["median"] < kept["family"] / 2
    assert kept["asha"] < kept["family"] / 3


def test_attributes_of_pruned_trials_are_numbers_the_dashboard_can_sort() -> None:
    study = simulate("family", 0)
    pruned = ledger.trials(study, TrialState.PRUNED)
    assert {trial.user_attrs["pruned_by"] for trial in pruned} == {"family", "projection"}
    for trial in pruned:
        assert trial.user_attrs["pruned_at"] == trial.last_step
        assert math.isfinite(trial.user_attrs["needed"])
        assert math.isfinite(trial.user_attrs.get("projected", 0.0))


def test_a_mirrored_study_decides_as_one_that_is_read_anew(tmp_path: Path) -> None:
    draw, pruner = random.Random(0), FamilyPruner(6)
    storage = store.open_storage(address.storage_url(tmp_path))
    study = study_of(storage=storage, study_name="s", pruner=pruner)
    kept = mirrored(study, study.sampler, pruner)
    decisions = []
    for _ in range(24):
        trial = kept.ask({"strategy": FAMILIES})
        level, found = draw.random(), None
        for epoch in range(1, 6):
            trial.report(level * (1 - 0.5**epoch) + 0.1 * draw.random(), epoch)
            found = decide(kept, trial)
        assert found == pruner.decide(study, study.trials[trial.number])
        decisions.append(found is not None)
        state = TrialState.COMPLETE if found is None else TrialState.PRUNED
        kept.tell(trial, level if found is None else None, state=state)
    assert 3 < sum(decisions) < 21

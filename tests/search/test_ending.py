"""Patience: a study ends when nothing was gained, and goes on with more of it."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from autosd.search import ending, ledger
from autosd.search.jobs import DONE, WAIT

from . import drive
from .counter import open_desk


def ended(study: optuna.Study, value: float | None, **attrs: object) -> None:
    """Add a trial that has ended: complete with a value, pruned without."""
    state = TrialState.COMPLETE if value is not None else TrialState.PRUNED
    study.add_trial(create_trial(state=state, value=value, user_attrs=attrs))


@pytest.mark.parametrize(
    ("values", "stale"),
    [
        ([], 0),
        ([None, None], 0),
        ([0.5], 0),
        ([0.5, 0.4, 0.6, 0.6, None], 2),
        ([0.5, None, 0.5, 0.4], 3),
    ],
)
def test_trials_since_the_last_better_value_are_counted(study, values, stale):
    for value in values:
        ended(study, value)
    assert ledger.census(study).unimproved == stale


def test_repeats_and_superseded_attempts_do_not_count(study):
    ended(study, 0.5)
    ended(study, 0.4, duplicate_of=0)
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"superseded": True}))
    assert ledger.census(study).unimproved == 0
    study.add_trial(create_trial(state=TrialState.FAIL))
    assert ledger.census(study).unimproved == 1


def test_a_smaller_loss_is_better():
    study = optuna.create_study(direction="minimize")
    for value in (0.5, 0.6, 0.4, 0.45):
        ended(study, value)
    assert ledger.census(study).unimproved == 1


def falling(job_number: int):
    """Every trial is worse than the one before."""
    return lambda epoch: 0.9 - 0.05 * job_number


def test_a_study_ends_by_patience_after_its_defaults_and_says_so_once(tmp_path: Path):
    with open_desk(tmp_path, drive.SPACE, patience=1) as desk:
        for number in range(3):  # published defaults are tried whatever happens
            desk.train(desk.ask(), falling(number))
        assert desk.bridge.ask() is DONE
        assert desk.bridge.ask() is DONE
        assert desk.said == [
            "ended by patience after 3 of 12 trials: the last 2 did not improve the best value; "
            "the finalists follow"
        ]
    with open_desk(tmp_path, drive.SPACE, patience=1) as desk:
        assert desk.bridge.over
    with open_desk(tmp_path, drive.SPACE, patience=3) as desk:
        desk.train(desk.ask(), falling(5))
        assert desk.bridge.ask() is DONE


def test_a_running_trial_may_still_bring_a_better_value(tmp_path: Path):
    with open_desk(tmp_path, drive.SPACE, patience=2) as desk:
        desk.train(desk.ask(), falling(0))
        desk.train(desk.ask(), falling(1))
        last = desk.ask()
        running = desk.ask()
        desk.train(running, falling(2))
        assert desk.bridge.ask() is WAIT
        assert desk.said == []
        desk.train(last, lambda epoch: 0.99)
        desk.ask()
        assert ledger.census(desk.study).unimproved == 0


def test_without_patience_only_the_plan_ends_a_study(study):
    for value in (0.9, *[0.1] * 50):
        ended(study, value)
    assert ending.goes_on(ledger.census(study), 60)
    assert ending.goes_on(ledger.census(study), 60, patience=51)
    assert not ending.goes_on(ledger.census(study), 60, patience=50)
    assert ending.reason(ledger.census(study), 51, patience=50) == ""
    assert ending.goes_on(ledger.census(study), 60)

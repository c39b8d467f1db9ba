"""Trials that ended without a result, tried again because somebody asked for it."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from autosd.recipe import Recipe
from autosd.search import again, census, ledger
from autosd.search.ledger import Counts
from autosd.search.records import records
from autosd.search.space import Space

BASE = Recipe.parse({"data": "digits", "epochs": 10})


def fail(study: optuna.Study, space: Space) -> int:
    """A trial that fails for good; its number."""
    trial, _ = ledger.ask(study, space, BASE)
    assert not ledger.requeue_then_fail(study, trial, "error", "MemoryError: full")
    return trial.number


def diverge(study: optuna.Study, space: Space) -> int:
    trial, _ = ledger.ask(study, space, BASE)
    ledger.tell_diverged(study, trial, 2, "diverged at epoch 2: supervised")
    return trial.number


@pytest.fixture
def ended(study: optuna.Study, joint: Space) -> optuna.Study:
    """Trial 0 complete, 1 failed, 2 diverged."""
    first, _ = ledger.ask(study, joint, BASE)
    ledger.report(study, first, [(1, 0.5)])
    ledger.tell_complete(study, first, 0.5)
    assert (fail(study, joint), diverge(study, joint)) == (1, 2)
    return study


def test_what_failed_is_not_what_diverged(ended):
    assert [one.number for one in again.without_result(ended, ["failed"])] == [1]
    assert [one.number for one in again.without_result(ended, ["diverged"])] == [2]


@pytest.mark.parametrize("number", [1, 2])
def test_a_retried_trial_counts_once_before_and_after(ended, joint, tmp_path, number):
    counted = ledger.counts(ended).counted
    old = ended.trials[number]
    again.try_again(ended, tmp_path, old)
    now = ledger.counts(ended)
    assert (now.counted, now.waiting, now.superseded) == (counted - 1, 1, 1)
    trial, _ = ledger.ask(ended, joint, BASE)
    assert trial.params == old.params
    assert census.lineage(trial) == number
    assert ledger.first_like(ended, trial) is None
    ledger.report(ended, trial, [(1, 0.7)])
    ledger.tell_complete(ended, trial, 0.7)
    assert ledger.counts(ended).counted == counted
    visible = records(ended, joint)
    assert [record.number for record in visible if record.lineage == number] == [trial.number]
    assert [record.lineage for record in visible].count(number) == 1


def test_a_trial_is_put_in_the_queue_once(ended, tmp_path):
    again.try_again(ended, tmp_path, ended.trials[1])
    assert again.without_result(ended, ["failed"]) == []


def test_a_retried_trial_has_all_attempts_before_it(ended, joint, tmp_path):
    again.try_again(ended, tmp_path, ended.trials[1])
    for left in (True, False):
        trial, _ = ledger.ask(ended, joint, BASE)
        assert census.lineage(trial) == 1
        assert ledger.requeue_then_fail(ended, trial, "memory", "again") is left
    assert ledger.counts(ended) == Counts(complete=1, pruned=1, failed=1, diverged=1, superseded=2)


def test_curve_and_checkpoint_of_the_old_attempt_go(ended, tmp_path: Path):
    folder = tmp_path / "trials/0001"
    folder.mkdir(parents=True)
    for name in ("last.pt", "history.jsonl", "error.txt"):
        (folder / name).write_text("old")
    again.try_again(ended, tmp_path, ended.trials[1])
    assert [path.name for path in folder.iterdir()] == ["error.txt"]


def test_a_default_stays_a_protected_default(study, joint, tmp_path):
    ledger.enqueue_defaults(study, joint)
    number = fail(study, joint)
    again.try_again(study, tmp_path, study.trials[number])
    assert ledger.enqueue_defaults(study, joint) == 0
    copy = study.trials[-1]
    assert copy.state is TrialState.WAITING
    assert copy.user_attrs["protected"] is True

"""T2 and the rules of a trial's life, on a real study in a real database."""

import json
import math
from pathlib import Path

import drive
import pytest
from optuna.trial import TrialState

from autosd.search import ledger
from autosd.search.study import close

from .counter import Desk, result, rising


def test_attributes_tell_one_short_fact_each(desk: Desk) -> None:
    desk.train(desk.ask(), rising)
    desk.ask()
    ended, running = desk.trial(0).user_attrs, desk.trial(1).user_attrs
    identity = {"family": "masd", "strategies": "masd", "seed": 0}
    assert running.items() >= identity.items()
    assert (ended["family"], ended["cost"]) == ("cross_entropy", 1.25)
    assert all(len(str(value)) <= 60 for value in ended.values())


def test_complete_trial_has_every_epoch_and_the_last_as_value(desk: Desk) -> None:
    job = desk.ask()
    assert desk.train(job, rising)
    trial = desk.trial(0)
    assert trial.state is TrialState.COMPLETE
    assert list(trial.intermediate_values) == list(range(1, drive.EPOCHS + 1))
    assert trial.value == trial.intermediate_values[drive.EPOCHS] == round(rising(8), 6)
    assert trial.user_attrs["epochs_run"] == drive.EPOCHS
    assert trial.user_attrs["seconds"] == pytest.approx(0.8)
    assert "checkpoint" not in trial.user_attrs
    assert (trial.user_attrs["host"], trial.user_attrs["device"]) == ("here", "cpu")


def test_report_is_committed_before_the_decision(desk: Desk) -> None:
    job = desk.ask()
    desk.bridge.report(job, result(1, rising, [1]))
    assert desk.trial(0).intermediate_values == {1: 0.45}
    assert desk.trial(0).state is TrialState.RUNNING


def test_history_that_the_driver_lacks_is_reported_once(desk: Desk) -> None:
    job = desk.ask()
    desk.bridge.report(job, result(4, rising, [1, 2, 3, 4]))
    desk.bridge.report(job, result(4, rising, [3, 4]))
    assert list(desk.trial(0).intermediate_values) == [1, 2, 3, 4]
    lines = Path(job.folder, "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4]


def test_pruned_trial_has_its_last_value_and_the_reason(desk: Desk) -> None:
    for _ in range(7):
        desk.train(desk.ask(), rising)
    pruned = desk.ask()
    assert not desk.train(pruned, lambda epoch: 0.01 * epoch)
    trial = desk.trial(7)
    assert trial.state is TrialState.PRUNED
    assert trial.value == trial.intermediate_values[trial.last_step]
    assert trial.user_attrs["pruned_at"] == trial.last_step == trial.user_attrs["epochs_run"]
    assert "pruned by" in trial.user_attrs["why"]


def test_protected_trial_is_never_pruned(desk: Desk) -> None:
    jobs = [desk.ask() for _ in range(3)]
    for job in jobs[:2]:
        desk.train(job, rising)
    assert desk.train(jobs[2], lambda epoch: 0.001)


def test_diverged_training_is_pruned_without_a_value(desk: Desk) -> None:
    job = desk.ask()
    desk.bridge.report(job, result(1, rising, [1]))
    desk.fail(job, "diverged", after=1)
    trial = desk.trial(0)
    assert trial.state is TrialState.PRUNED
    assert trial.value is None
    assert trial.user_attrs["ended"] == "diverged"
    assert math.isnan(trial.intermediate_values[2])
    assert ledger.counts(desk.study).counted == 1


def test_metric_that_is_no_number_ends_the_trial_as_diverged(desk: Desk) -> None:
    job = desk.ask()
    assert not desk.train(job, lambda epoch: math.nan if epoch == 3 else 0.5)
    trial = desk.trial(0)
    assert (trial.state, trial.value) == (TrialState.PRUNED, None)
    assert trial.user_attrs["ended"] == "diverged"
    assert trial.last_step == 3


def test_second_reader_sees_what_the_mirror_says(desk: Desk) -> None:
    for _ in range(6):
        desk.train(desk.ask(), rising, epochs=3 if desk.study.trials[2].value else 8)
    desk.bridge.close()
    reader = desk.folder.load()
    for ours, theirs in zip(ledger.trials(desk.study), ledger.trials(reader), strict=True):
        assert ours == theirs
    close(reader)

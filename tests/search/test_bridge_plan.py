"""What a search asks for next, when it ends, and what it keeps; on a real study."""

import json
from pathlib import Path

import drive
import pytest
from optuna.trial import TrialState

from autosd.search import ledger
from autosd.search.jobs import DONE, WAIT, Job
from autosd.search.kept import KEPT_CHECKPOINTS
from autosd.search.meter import Use
from autosd.search.space import Space

from .counter import Desk, open_desk, result, rising


def test_default_of_every_family_comes_first_and_is_protected(desk: Desk) -> None:
    jobs = [desk.ask() for _ in range(3)]
    assert [job.strategies for job in jobs] == [("cross_entropy",), ("masd",), ("toast",)]
    assert all(desk.trial(number).user_attrs["protected"] for number in range(3))


def test_waits_while_running_trials_fill_the_plan_and_ends_after_them(tmp_path: Path) -> None:
    with open_desk(tmp_path, drive.SPACE, trials=3) as desk:
        jobs = [desk.ask() for _ in range(3)]
        assert desk.bridge.ask() is WAIT
        for job in jobs:
            desk.train(job, rising)
        assert desk.bridge.ask() is DONE


def test_failed_last_trial_of_the_plan_is_tried_again(tmp_path: Path) -> None:
    with open_desk(tmp_path, drive.SPACE, trials=3) as desk:
        jobs = [desk.ask() for _ in range(3)]
        desk.fail(jobs[0], "worker")
        assert desk.ask().folder == jobs[0].folder


def test_identical_parameters_never_run_twice(tmp_path: Path) -> None:
    space = Space.parse(
        {
            "families": {
                "cross_entropy": {"members": ["cross_entropy"]},
                "masd": {
                    "members": ["masd"],
                    "knobs": {"masd.num_taps": {"choice": [1, 2], "default": 1}},
                },
            }
        }
    )
    with open_desk(tmp_path, space) as desk:
        ran = []
        while isinstance(job := desk.bridge.ask(), Job):
            ran.append(json.dumps(job.recipe, sort_keys=True))
            desk.train(job, rising)
        assert len(ran) == len(set(ran)) == 3
        copies = [t for t in ledger.trials(desk.study) if "duplicate_of" in t.user_attrs]
        assert copies
        for copy in copies:
            first = desk.trial(copy.user_attrs["duplicate_of"])
            assert (copy.state, copy.value) == (first.state, first.value)
            assert copy.intermediate_values == first.intermediate_values
        assert ledger.counts(desk.study).counted == 3
        assert desk.bridge.ask() is DONE
        assert len(desk.said) == 1
        assert desk.said[0].startswith("the space is exhausted after 3 of 12 trials")


def test_repeats_of_a_failed_trial_exhaust_the_space_for_good(tmp_path: Path) -> None:
    """What this session counts is what the next one reads from the storage."""
    space = Space.parse({"families": {"cross_entropy": {"members": ["cross_entropy"]}}})
    with open_desk(tmp_path, space) as desk:
        desk.fail(desk.ask(), "error")
        assert desk.bridge.ask() is DONE
        assert ledger.census(desk.study).exhausted
    with open_desk(tmp_path, space) as desk:
        assert desk.bridge.over


def test_repeat_of_a_running_trial_waits_for_its_end(tmp_path: Path) -> None:
    space = Space.parse({"families": {"cross_entropy": {"members": ["cross_entropy"]}}})
    with open_desk(tmp_path, space) as desk:
        job = desk.ask()
        answers = [desk.bridge.ask() for _ in range(5)]
        assert answers == [WAIT] * 5
        assert len(ledger.trials(desk.study)) == 2
        desk.train(job, rising)
        assert desk.bridge.ask() is DONE


def test_no_trial_begins_after_the_time_budget_and_running_ones_are_kept(tmp_path: Path) -> None:
    with open_desk(tmp_path, drive.SPACE, time_budget=3600.0) as desk:
        job = desk.ask()
        assert desk.bridge.report(job, result(1, rising, [1]))
        desk.meter.before = Use(seconds=3600.0)
        sent = result(2, rising, [2])
        assert not desk.bridge.report(job, sent)
        desk.bridge.complete(job, sent, None)
        assert desk.bridge.ask() is DONE
        first = desk.trial(0)
        assert (first.state, first.user_attrs["ended"]) == (TrialState.FAIL, "interrupted")
        assert list(first.intermediate_values) == [1, 2]
        assert ledger.counts(desk.study).waiting == 3
        assert len([line for line in desk.said if "time budget" in line]) == 1


def test_checkpoints_are_kept_for_the_best_few_only(tmp_path: Path) -> None:
    with open_desk(tmp_path, drive.SPACE, trials=9) as desk:
        for level in range(9):
            job = desk.ask()
            Path(job.folder, "last.pt").touch()
            desk.train(job, lambda epoch, top=level: 0.9 + 0.001 * top)
        complete = [t for t in ledger.trials(desk.study) if t.state is TrialState.COMPLETE]
        best = sorted(complete, key=lambda t: t.value or 0, reverse=True)[:KEPT_CHECKPOINTS]
        kept = {path.parent.name for path in (desk.folder.path / "trials").glob("*/last.pt")}
        assert kept == {f"{t.number:04d}" for t in best}


def test_checkpoints_that_a_kill_left_are_removed_and_those_in_use_kept(tmp_path: Path) -> None:
    with open_desk(tmp_path, drive.SPACE) as desk:
        done, diverged, interrupted = (desk.ask() for _ in range(3))
        desk.train(done, rising)
        desk.fail(diverged, "diverged")
        for job in (done, diverged, interrupted):
            Path(job.folder, "last.pt").touch()
    with open_desk(tmp_path, drive.SPACE) as desk:
        kept = sorted((desk.folder.path / "trials").glob("*/last.pt"))
    assert [str(path.parent) for path in kept] == [done.folder, interrupted.folder]


def test_use_of_slots_adds_up_over_sessions(tmp_path: Path) -> None:
    for _ in range(2):
        with open_desk(tmp_path, drive.SPACE) as desk:
            job = desk.ask()
            desk.bridge.report(job, result(1, rising, [1], seconds=5.0))
            desk.bridge.close()
    use = Use.of(desk.study.user_attrs)
    assert use.busy == pytest.approx(10.0)
    assert use.slots == pytest.approx(2 * (5.0 + 5.0), rel=0.2)
    assert use.share == pytest.approx(0.5, rel=0.2)

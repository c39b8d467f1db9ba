"""T9: what fails, who is blamed, and who is tried again; on a real study."""

from pathlib import Path
from typing import Any

import drive
import pytest
from optuna.trial import TrialState

from autosd.errors import EngineLost
from autosd.search import census, inline, ledger
from autosd.search.faults import POLICIES, Kind
from autosd.search.jobs import WAIT, failure

from .counter import Desk, open_desk, result, rising


def test_error_of_the_recipe_is_not_tried_again(desk: Desk) -> None:
    job = desk.ask()
    desk.fail(job, "error")
    trial = desk.trial(0)
    assert (trial.state, trial.user_attrs["superseded"]) == (TrialState.FAIL, False)
    assert (trial.user_attrs["ended"], trial.user_attrs["why"]) == ("error", "error of a test")
    assert ledger.counts(desk.study).failed == 1
    assert Path(job.folder, "error.txt").read_text() == (
        "trial 0: error: error of a test\n\nTraceback\n"
    )


def test_out_of_memory_is_tried_once_more_alone_and_then_stays(desk: Desk) -> None:
    beside = desk.ask()
    desk.fail(desk.ask(), "memory")
    assert "tried again with nothing beside it" in desk.said[0]
    later = [desk.ask()]  # the default that waited before it
    assert not any(job.alone for job in (beside, *later))
    assert desk.bridge.ask() is WAIT
    assert ledger.counts(desk.study).running == 2
    desk.train(beside, rising)
    assert desk.bridge.ask() is WAIT
    desk.train(later[0], rising)
    again = desk.ask()
    assert (again.folder[-4:], again.alone) == ("0001", True)
    assert desk.bridge.ask() is WAIT
    desk.fail(again, "memory")
    assert ledger.counts(desk.study).failed == 1
    assert not desk.ask().alone
    assert Path(again.folder, "error.txt").read_text().count("memory of a test") == 2


def test_killed_worker_is_tried_thrice_and_then_stays(desk: Desk) -> None:
    for left in (2, 1, 0):
        job = desk.ask()
        while not job.folder.endswith("trials/0000"):
            desk.train(job, rising)
            job = desk.ask()
        desk.bridge.complete(job, None, failure("worker", "the worker process died"))
        assert bool(ledger.counts(desk.study).failed) is not bool(left)
    attempts = [t for t in ledger.trials(desk.study) if census.lineage(t) == 0]
    assert [t.user_attrs.get("attempt", 1) for t in attempts] == [1, 2, 3]


@pytest.mark.parametrize("kind", ["disk", "data", "node"])
def test_study_stops_where_everything_fails_by_the_place_and_nothing_counts(
    tmp_path: Path, kind: Kind
) -> None:
    for _ in range(4):  # whoever begins it again before the place is mended changes nothing
        with open_desk(tmp_path, drive.SPACE) as desk:
            desk.fail(desk.ask(), kind)
            desk.fail(desk.ask(), kind)
            with pytest.raises(EngineLost, match=f"3 attempts in a row.*{kind} of a test"):
                desk.fail(desk.ask(), kind)
            now = ledger.counts(desk.study)
            assert (now.counted, now.running, now.waiting) == (0, 0, 3)
    with open_desk(tmp_path, drive.SPACE) as desk:
        job = desk.ask()
        for _ in range(2):
            assert desk.trial(job.number or 0).user_attrs["attempt"] == 1
            desk.train(job, rising)
            job = desk.ask()


def test_place_that_fails_now_and_then_is_blamed_on_the_trial_it_hits_each_time(
    desk: Desk,
) -> None:
    """Another one goes on beside it, so it is something about this one."""
    beside, failed = desk.ask(), 0
    while not ledger.counts(desk.study).failed:
        job = desk.ask()
        if job.folder.endswith("trials/0001"):
            failed += 1
            desk.bridge.report(beside, result(failed, rising, [failed]))
            desk.fail(job, "disk")
        else:
            desk.train(job, rising)
    assert failed == POLICIES["disk"].attempts


def test_study_stops_where_the_workers_of_many_trials_die_in_a_row(desk: Desk) -> None:
    desk.fail(desk.ask(), "worker")
    desk.fail(desk.ask(), "worker")
    with pytest.raises(EngineLost, match="3 attempts in a row"):
        desk.fail(desk.ask(), "worker")
    assert ledger.counts(desk.study).counted == 0


def test_fault_that_comes_again_is_tried_twice(desk: Desk) -> None:
    desk.fail(desk.ask(), "hung")
    first = desk.trial(0)
    assert (first.state, first.user_attrs["superseded"]) == (TrialState.FAIL, True)
    others = [desk.ask(), desk.ask()]
    again = desk.ask()
    assert again.folder.endswith("trials/0000")
    desk.fail(again, "hung")
    last = desk.trial(again.number or 0)
    assert (last.state, last.user_attrs["superseded"]) == (TrialState.FAIL, False)
    assert last.user_attrs["why"] == "hung of a test"
    assert ledger.counts(desk.study).failed == 1
    assert "tried again" in desk.said[0]
    assert len({job.key for job in (*others, again)}) == 3


def test_interruption_never_counts_against_a_trial(desk: Desk) -> None:
    for _ in range(4):
        job = desk.ask()
        while not job.folder.endswith("trials/0000"):
            desk.train(job, rising)
            job = desk.ask()
        desk.bridge.complete(job, None, failure("interrupted", "stopped as asked"))
    attempts = [t for t in ledger.trials(desk.study) if census.lineage(t) == 0]
    assert [t.user_attrs.get("attempt", 1) for t in attempts] == [1] * 5
    assert attempts[-1].state is TrialState.WAITING


def test_worker_killed_outright_costs_an_attempt(desk: Desk) -> None:
    desk.bridge.complete(desk.ask(), None, failure("worker", "the worker process died"))
    assert ledger.counts(desk.study).superseded == 1
    copy = next(t for t in ledger.trials(desk.study) if t.user_attrs.get("retry_of") == 0)
    assert copy.user_attrs["attempt"] == 2


def test_what_runs_is_handed_back_on_the_way_out(desk: Desk) -> None:
    jobs = [desk.ask(), desk.ask()]
    desk.bridge.report(jobs[0], result(1, rising, [1]))
    desk.bridge.close()
    now = ledger.counts(desk.study)
    assert (now.running, now.waiting, now.superseded, now.counted) == (0, 3, 2, 0)


class NoMoreRoom(Exception):
    """Stands for what a full disk raises."""


def test_storage_that_fails_ends_the_run_and_leaves_nothing_running(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database refuses the sixth report; the next session puts all right."""
    storage, calls = desk.study._storage, []
    write = storage._backend.set_trial_intermediate_value

    def refuse(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 6:
            raise NoMoreRoom("database or disk is full")
        write(*arguments)

    monkeypatch.setattr(storage._backend, "set_trial_intermediate_value", refuse)
    with pytest.raises(NoMoreRoom):
        inline.run(desk.bridge, drive.FastWorker())
    now = ledger.counts(desk.study)
    assert (now.running, now.superseded) == (0, 1)

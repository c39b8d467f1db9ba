"""T2, T9 and the rules of a trial's life, on a real study in a real database."""

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from autosd.errors import EngineLost
from autosd.search import census, inline, ledger
from autosd.search.bridge import StudyBridge
from autosd.search.faults import POLICIES, Kind
from autosd.search.jobs import DONE, WAIT, Failure, Job, Result, failure
from autosd.search.kept import KEPT_CHECKPOINTS
from autosd.search.lock import StudyLock
from autosd.search.meter import Meter, Use
from autosd.search.space import Space
from autosd.search.study import StudyFolder, close, lock_path

sys.path.insert(0, str(Path(__file__).parent))
import drive

Curve = Callable[[int], float]


@dataclass
class Desk:
    """A study with a bridge, and what a worker would send."""

    folder: StudyFolder
    study: optuna.Study
    bridge: StudyBridge
    meter: Meter
    said: list[str] = field(default_factory=list)

    def trial(self, number: int) -> FrozenTrial:
        """A trial as a second reader of the database sees it."""
        study = self.folder.load()
        try:
            return ledger.trials(study)[number]
        finally:
            close(study)

    def ask(self) -> Job:
        """A job; the bridge must have one."""
        answer = self.bridge.ask()
        assert isinstance(answer, Job)
        return answer

    def train(self, job: Job, curve: Curve, epochs: int = drive.EPOCHS) -> bool:
        """Report epoch after epoch as an engine does; whether it came to the last."""
        for epoch in range(1, epochs + 1):
            sent = result(epoch, curve, [epoch])
            if epoch == drive.EPOCHS:
                self.bridge.complete(job, {**sent, "done": True, "result": {}}, None)
                return True
            if not self.bridge.report(job, sent):
                self.bridge.complete(job, sent, None)
                return False
        return False

    def fail(self, job: Job, kind: str, after: int = 0) -> None:
        """End a job by a failure that its worker reports."""
        why: Failure = failure(kind, f"{kind} of a test", "Traceback")  # type: ignore[arg-type]
        sent = {**result(after, lambda epoch: 0.5, []), "done": True, "failure": why}
        self.bridge.complete(job, sent, None)


def result(epoch: int, curve: Curve, epochs: list[int], seconds: float = 0.1) -> Result:
    """What a worker sends after `epoch`, with the records of `epochs`."""
    work = {"declared": {"step": 1.25}}
    history = [{"epoch": e, "evaluated": {"val": {"top1": curve(e)}}, "work": work} for e in epochs]
    return {
        "epoch": epoch,
        "history": history,
        "done": False,
        "result": None,
        "failure": None,
        "seconds": seconds,
        "worker": {"pid": 1, "host": "here", "device": "cpu"},
    }


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """An empty study of three families with its lock held."""
    with open_desk(tmp_path, drive.SPACE) as desk:
        yield desk


@contextmanager
def open_desk(root: Path, space: Space, trials: int = 12, **search: Any) -> Iterator[Desk]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with StudyLock(lock_path(root, "s")) as lock:
        folder = StudyFolder.prepare(root, drive.definition(trials), space)
        study = drive.opened(folder)
        ledger.sweep(study)
        ledger.enqueue_defaults(study, space)
        meter = Meter(2, Use.of(study.user_attrs))
        desk = Desk(folder, study, None, meter)  # type: ignore[arg-type]

        class Listener:
            def progress(self, progress: object) -> None:
                pass

            def say(self, line: str) -> None:
                desk.said.append(line)

            lost = say

        about = replace(drive.search(folder, study, lock), **search)
        desk.bridge = StudyBridge(about, meter, Listener())
        try:
            yield desk
        finally:
            close(study)


def rising(epoch: int) -> float:
    return 0.9 * (1 - 0.5**epoch)


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


def test_second_reader_sees_what_the_mirror_says(desk: Desk) -> None:
    for _ in range(6):
        desk.train(desk.ask(), rising, epochs=3 if desk.study.trials[2].value else 8)
    desk.bridge.close()
    reader = desk.folder.load()
    for ours, theirs in zip(ledger.trials(desk.study), ledger.trials(reader), strict=True):
        assert ours == theirs
    close(reader)


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
